package api

import (
	"bytes"
	"net/http"
	"slices"
	"strconv"
	"time"

	"firemode/collections"
	"firemode/merge"

	"github.com/danielgtaylor/huma/v2"
	"github.com/pocketbase/dbx"
	"github.com/pocketbase/pocketbase/core"
	"github.com/pocketbase/pocketbase/tools/types"
)

// SessionItem is a test session in a list: everything but its document.
type SessionItem struct {
	SessionID   string    `json:"session_id"`
	ID          string    `json:"id" doc:"The same as session_id"`
	BuildingID  string    `json:"building_id"`
	SessionName string    `json:"session_name"`
	Status      string    `json:"status" enum:"active,in_review,locked"`
	ServerSeq   int64     `json:"server_seq" doc:"Number of the document's newest operation"`
	CreatedBy   *string   `json:"created_by"`
	CreatedAt   time.Time `json:"created_at"`
	UpdatedAt   time.Time `json:"updated_at"`
}

// session is a test session with its merged document.
type session struct {
	SessionItem
	VectorClock object `json:"vector_clock" doc:"Operations held per actor"`
	SessionData object `json:"session_data" doc:"The merged document; every concurrent value is in $entries"`
	SignOff     string `json:"sign_off" enum:"none,current,outdated" doc:"outdated: something was recorded after the newest sign-off, an addendum that asks for a new one"`
}

func sessionItemView(r *core.Record) (SessionItem, error) {
	return SessionItem{
		SessionID: r.Id, ID: r.Id, BuildingID: r.GetString(collections.FieldBuildingID),
		SessionName: r.GetString(collections.FieldSessionName), Status: r.GetString(collections.FieldStatus),
		ServerSeq: int64(r.GetInt(collections.FieldServerSeq)), CreatedBy: textOf(r, collections.FieldCreatedBy),
		CreatedAt: momentOf(r, collections.FieldCreatedAt), UpdatedAt: momentOf(r, collections.FieldUpdatedAt),
	}, nil
}

// catchUp puts into r what the merge service has acknowledged since it was written: the
// record of a large document is rewritten about once a second.
func (c *call) catchUp(r *core.Record) error {
	newer, err := c.Merge.Newer(c.ctx(), r.Id, int64(r.GetInt(collections.FieldServerSeq)))
	if err != nil || newer == nil {
		return err
	}
	r.SetRaw(collections.FieldSessionData, types.JSONRaw(newer.Data))
	r.SetRaw(collections.FieldVectorClock, types.JSONRaw(newer.VectorClock))
	r.SetRaw(collections.FieldServerSeq, float64(newer.ServerSeq))
	return nil
}

func (c *call) sessionView(r *core.Record) (session, error) {
	item, err := sessionItemView(r)
	if err != nil {
		return session{}, err
	}
	view := session{
		SessionItem: item,
		VectorClock: object{rawOf(r, collections.FieldVectorClock)},
		SessionData: object{rawOf(r, collections.FieldSessionData)},
		SignOff:     "none",
	}
	if !bytes.Contains(view.SessionData.RawMessage, []byte(`"signoffs":`)) {
		return view, nil // most sessions; spares a look at the log
	}
	signed, err := c.Merge.SignOffs(c.ctx(), r.Id)
	if err == nil && len(signed) > 0 {
		view.SignOff = "outdated"
		if slices.ContainsFunc(signed, func(o merge.SignOff) bool { return o.Current }) {
			view.SignOff = "current"
		}
	}
	return view, err
}

// sessionTag is the validator of a session: the record and its document move
// apart, so it names both.
func sessionTag(r *core.Record) string {
	return `"` + strconv.Itoa(r.GetInt(collections.FieldServerSeq)) + "-" +
		strconv.FormatInt(momentOf(r, collections.FieldUpdatedAt).UnixMilli(), 36) + `"`
}

// sessionColumns leaves the documents out of lists: one may be megabytes.
var sessionColumns = []string{
	collections.FieldID, collections.FieldBuildingID, collections.FieldSessionName, collections.FieldStatus,
	collections.FieldServerSeq, collections.FieldCreatedBy, collections.FieldCreatedAt, collections.FieldUpdatedAt,
}

func (s *service) bindSessions(api huma.API) {
	tags := []string{"sessions"}
	register(api, huma.Operation{
		OperationID: "list-sessions", Method: http.MethodGet, Path: "/v1/tests/sessions", Tags: tags,
		Summary: "List the test sessions you may see, newest first", Description: "Without their documents.",
	}, (*call).listSessions)
	register(api, huma.Operation{
		OperationID: "create-session", Method: http.MethodPost, Path: "/v1/tests/sessions", Tags: tags, DefaultStatus: http.StatusCreated,
		Summary: "Create a test session", Description: "Its document starts empty.",
	}, (*call).createSession)
	register(api, huma.Operation{
		OperationID: "get-session", Method: http.MethodGet, Path: "/v1/tests/sessions/{id}", Tags: tags,
		Summary: "Get a test session with its merged document",
	}, (*call).getSession)
	s.bindResults(api)
	s.bindSync(api)
	s.bindSessionReads(api)
	s.bindActors(api)
	s.bindDecisions(api)
	s.bindSignOffs(api)
	s.bindQuarantine(api)
	s.bindRedactions(api)
	s.bindConflicts(api)
}

type listSessionsInput struct {
	PageInput
	Status     []string  `query:"status,explode" enum:"active,in_review,locked" maxItems:"3" doc:"Repeatable"`
	BuildingID string    `query:"building_id" maxLength:"64"`
	DateFrom   time.Time `query:"date_from" doc:"Created at or after this moment (RFC 3339)"`
	DateTo     time.Time `query:"date_to" doc:"Created before this moment (RFC 3339)"`
}

func (c *call) listSessions(in *listSessionsInput) (*pageOutput[SessionItem], error) {
	l := listing{
		collection: collections.TestSessions, name: "sessions", order: newestFirst, columns: sessionColumns,
		filters: []any{in.Status, in.BuildingID, in.DateFrom, in.DateTo},
	}
	column := func(field string) string { return column(collections.TestSessions, field) }
	if len(in.Status) > 0 {
		values := make([]any, len(in.Status))
		for i, status := range in.Status {
			values[i] = status
		}
		l.where = append(l.where, dbx.In(column(collections.FieldStatus), values...))
	}
	if in.BuildingID != "" {
		l.where = append(l.where, dbx.HashExp{column(collections.FieldBuildingID): in.BuildingID})
	}
	if !in.DateFrom.IsZero() {
		l.where = append(l.where, dbx.NewExp("[["+column(collections.FieldCreatedAt)+"]] >= {:date_from}", dbx.Params{"date_from": stamp(in.DateFrom)}))
	}
	if !in.DateTo.IsZero() {
		l.where = append(l.where, dbx.NewExp("[["+column(collections.FieldCreatedAt)+"]] < {:date_to}", dbx.Params{"date_to": stamp(in.DateTo)}))
	}
	records, next, err := c.list(in.PageInput, l)
	if err != nil {
		return nil, err
	}
	return pageOf(records, next, sessionItemView)
}

func (c *call) getSession(in *IDPath) (*one[session], error) {
	r, err := c.find(collections.TestSessions, in.ID)
	if err != nil {
		return nil, err
	}
	if err := c.catchUp(r); err != nil {
		return nil, err
	}
	view, err := c.sessionView(r)
	return &one[session]{ETag: sessionTag(r), Body: view}, err
}

type createSessionInput struct {
	KeyInput
	Body struct {
		BuildingID  string `json:"building_id" minLength:"1" maxLength:"64"`
		SessionName string `json:"session_name,omitempty" maxLength:"255" doc:"Default: the building's name and the day"`
	}
}

func (c *call) createSession(in *createSessionInput) (*output[session], error) {
	return mutate(c, in.IdempotencyKey, func(c *call) (*reply[session], error) {
		b, err := c.find(collections.Buildings, in.Body.BuildingID)
		if err != nil {
			return nil, err
		}
		name := in.Body.SessionName
		if name == "" {
			name = shorten(b.GetString(collections.FieldName), 240) + ", " + c.Now().UTC().Format(time.DateOnly)
		}
		values := map[string]any{
			collections.FieldBuildingID: b.Id, collections.FieldSessionName: name, collections.FieldStatus: collections.SessionActive,
		}
		r, err := newRecord(c.app, collections.TestSessions, values)
		if err != nil {
			return nil, err
		}
		r.Set(collections.FieldCreatedBy, c.userID())
		if err := c.app.Save(r); err != nil {
			return nil, err
		}
		if err := c.mayWrite(r, values); err != nil {
			return nil, err
		}
		view, err := c.sessionView(r)
		return &reply[session]{status: http.StatusCreated, etag: sessionTag(r), body: view}, err
	})
}

// shorten cuts text to at most max bytes, at a character.
func shorten(text string, max int) string {
	if len(text) <= max {
		return text
	}
	for max > 0 && text[max]&0xC0 == 0x80 {
		max--
	}
	return text[:max]
}
