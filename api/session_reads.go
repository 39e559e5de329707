package api

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"

	"firemode/collections"
	"firemode/merge"

	"github.com/danielgtaylor/huma/v2"
	"github.com/pocketbase/dbx"
	"github.com/pocketbase/pocketbase/core"
)

// bundleEvidenceMax bounds the evidence named in an offline bundle: a visit has
// some dozens.
const bundleEvidenceMax = 1000

func (s *service) bindSessionReads(api huma.API) {
	tags := []string{"sessions"}
	get := func(id, path, summary string) huma.Operation {
		return huma.Operation{OperationID: id, Method: http.MethodGet, Path: "/v1/tests/sessions/{id}" + path, Tags: tags, Summary: summary}
	}
	ops := get("list-ops", "/ops", "List the operations of a document after a position")
	ops.Errors = []int{http.StatusConflict}
	ops.Description = "409 with code restored: the log does not go as far as after; the server was restored from a backup."
	register(api, ops, (*call).listOps)
	register(api, get("list-conflicts", "/conflicts", "List the fields that hold more than one value, with who wrote each"), (*call).listConflicts)
	register(api, get("get-history", "/history", "List what was written to one field, newest first"), (*call).history)
	register(api, get("get-offline-bundle", "/offline-bundle", "Get everything a device needs to work without network"), (*call).bundle)
	register(api, get("get-offline_bundle", "/offline_bundle", "The same as offline-bundle"), (*call).bundle)
}

type listOpsInput struct {
	IDPath
	After int64 `query:"after" minimum:"0" doc:"Server position of the last operation you hold"`
	Limit int   `query:"limit" minimum:"1" maximum:"1000" default:"1000"`
}

type opRow struct {
	N           int64           `json:"n" doc:"Server position, dense from 1"`
	Received    int64           `json:"recv" doc:"Unix milliseconds by the server's clock"`
	Quarantined bool            `json:"quarantined,omitempty"`
	Late        bool            `json:"late,omitempty" doc:"Arrived when the session was locked"`
	Redacted    string          `json:"redacted,omitempty" doc:"The value was erased: SHA-256 of the line as its author wrote it, over which the chain runs"`
	Op          json.RawMessage `json:"op" doc:"The operation, byte for byte as its author wrote it"`
}

type opsAnswer struct {
	Data    []opRow `json:"data"`
	Epoch   string  `json:"epoch" doc:"Changes when the server was restored from a backup: positions seen before mean nothing any more"`
	After   int64   `json:"after" doc:"Send this as after to go on"`
	HasMore bool    `json:"has_more"`
}

func (c *call) listOps(in *listOpsInput) (*one[opsAnswer], error) {
	if err := c.mayView(in.ID); err != nil {
		return nil, err
	}
	if err := c.checkCursor(in.ID, "", in.After); err != nil {
		return nil, err
	}
	rows, err := c.Merge.Ops(c.ctx(), in.ID, in.After, in.Limit)
	if err != nil {
		return nil, err
	}
	out := opsAnswer{Data: make([]opRow, len(rows)), Epoch: c.Merge.Epoch(), After: in.After, HasMore: len(rows) == in.Limit}
	for i, r := range rows {
		out.Data[i] = opRow{N: r.N, Received: r.Received, Quarantined: r.Quarantined, Late: r.Late, Redacted: r.Redacted, Op: r.Line}
		out.After = r.N
	}
	return &one[opsAnswer]{Body: out}, nil
}

// A whole list in one answer: it is bounded by the document.
type whole[T any] struct {
	Data []T `json:"data"`
}

type conflictsInput struct {
	IDPath
	Path   string `query:"path" maxLength:"256" doc:"Only fields whose document path begins with this"`
	Policy string `query:"policy" enum:"worst,mv,lww,any,min,max" doc:"Only fields that are read by this policy"`
	UserID string `query:"user_id" maxLength:"36" doc:"Only fields to which this user wrote one of the values"`
}

func (in *conflictsInput) admits(c merge.Conflict) bool {
	wrote := func(e merge.ConflictEntry) bool { return e.UserID == in.UserID }
	return strings.HasPrefix(c.Path, in.Path) && (in.Policy == "" || string(c.Policy) == in.Policy) &&
		(in.UserID == "" || slices.ContainsFunc(c.Entries, wrote))
}

func (c *call) listConflicts(in *conflictsInput) (*one[whole[documentConflict]], error) {
	if err := c.mayView(in.ID); err != nil {
		return nil, err
	}
	list, err := c.Merge.Conflicts(c.ctx(), in.ID)
	list = slices.DeleteFunc(list, func(c merge.Conflict) bool { return !in.admits(c) })
	return &one[whole[documentConflict]]{Body: whole[documentConflict]{Data: conflictViews(list)}}, err
}

type historyInput struct {
	IDPath
	Path   string `query:"path" required:"true" minLength:"1" maxLength:"1024" doc:"A JSON Pointer, or a document path"`
	Limit  int    `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"Most entries in one page"`
	Cursor string `query:"cursor" maxLength:"512" doc:"next_cursor of the page before; empty for the first page"`
}

type historyEntry struct {
	N           int64           `json:"n"`
	Dot         string          `json:"dot"`
	Kind        string          `json:"kind" enum:"put,rem,inc,ins"`
	Value       json.RawMessage `json:"value,omitempty"`
	Seen        []string        `json:"seen,omitempty"`
	Live        bool            `json:"live" doc:"The value stands now"`
	UserID      string          `json:"user_id" doc:"Empty: the server itself"`
	Device      string          `json:"device,omitempty"`
	Time        string          `json:"time" doc:"By the author's clock"`
	Received    string          `json:"received" doc:"By the server's clock"`
	Late        bool            `json:"late,omitempty"`
	Quarantined bool            `json:"quarantined,omitempty" doc:"Kept without effect"`
	Admitted    bool            `json:"admitted,omitempty" doc:"Was in quarantine"`
	ClockOff    bool            `json:"clock_off,omitempty" doc:"The author's clock and the server's differ by more than 5 minutes"`
	Redacted    bool            `json:"redacted,omitempty" doc:"The value was erased"`
	Reason      string          `json:"reason,omitempty" doc:"That its author gave"`
}

func (c *call) history(in *historyInput) (*pageOutput[historyEntry], error) {
	if err := c.mayView(in.ID); err != nil {
		return nil, err
	}
	page, before, err := rowPage("history", in.Cursor, in.ID, in.Path)
	if err != nil {
		return nil, err
	}
	list, err := c.Merge.History(c.ctx(), in.ID, in.Path, before, in.Limit+1)
	if err != nil {
		return nil, err
	}
	next := ""
	if len(list) > in.Limit {
		list = list[:in.Limit]
		next = page(list[in.Limit-1].N)
	}
	return pageOf(list, next, func(e merge.HistoryEntry) (historyEntry, error) { return historyEntry(e), nil })
}

// bundle is a session with all that a device shows beside it.
type bundle struct {
	Session     session        `json:"session"`
	Building    *building      `json:"building" doc:"Null when the building was deleted"`
	Evidence    []evidenceItem `json:"evidence" doc:"Without the bytes; newest first, at most 1,000"`
	GeneratedAt time.Time      `json:"generated_at"`
}

func (c *call) bundle(in *IDPath) (*one[bundle], error) {
	r, err := c.find(collections.TestSessions, in.ID)
	if err != nil {
		return nil, err
	}
	if err := c.catchUp(r); err != nil {
		return nil, err
	}
	out := bundle{GeneratedAt: c.Now().UTC(), Evidence: []evidenceItem{}}
	if out.Session, err = c.sessionView(r); err != nil {
		return nil, err
	}
	if b, err := c.find(collections.Buildings, r.GetString(collections.FieldBuildingID)); err == nil {
		view, err := c.buildingView(b)
		if err != nil {
			return nil, err
		}
		out.Building = &view
	}
	records, _, err := c.list(PageInput{Limit: bundleEvidenceMax}, listing{
		collection: collections.Evidence, name: "bundle", order: newestFirst,
		where: []dbx.Expression{dbx.HashExp{column(collections.Evidence, collections.FieldSessionID): in.ID}},
	})
	if err != nil {
		return nil, err
	}
	for _, e := range records {
		view, err := evidenceView(e)
		if err != nil {
			return nil, err
		}
		out.Evidence = append(out.Evidence, view)
	}
	return &one[bundle]{ETag: sessionTag(r), Body: out}, nil
}

// mayView refuses with 404 unless the caller may see the test session. It reads
// no document: one may be megabytes.
func (c *call) mayView(sessionID string) error {
	r, err := c.sessionStub(sessionID)
	if err != nil {
		return err
	}
	if c.auth().IsSuperuser() {
		var n int
		if err := c.app.DB().Select("(1)").From(collections.TestSessions).Where(dbx.HashExp{collections.FieldID: sessionID}).Limit(1).Row(&n); err != nil {
			return err // no row is a 404
		}
		return nil
	}
	ok, err := c.app.CanAccessRecord(r, c.info(nil), r.Collection().ViewRule)
	if err != nil {
		return err
	}
	if !ok {
		return notFound()
	}
	return nil
}

// mayAddTo refuses with 404 what the caller may not see and with 403 what they
// may see but not write to.
func (c *call) mayAddTo(sessionID string) error {
	key := c.principal() + " " + sessionID
	remembered, age := c.access.holds(key, c.Now())
	if remembered {
		return nil
	}
	r, err := c.sessionStub(sessionID)
	if err != nil {
		return err
	}
	refusal := c.mayWrite(r, nil)
	if refusal == nil && !c.auth().IsSuperuser() {
		// The create rule holds for sessions that are there and seen only.
		c.access.keep(key, age, c.Now())
		return nil
	}
	if err := c.mayView(sessionID); err != nil {
		return err
	}
	return refusal
}

// sessionStub is a session of which only the id is known. Access rules need no
// more: the database looks at the stored row.
func (c *call) sessionStub(id string) (*core.Record, error) {
	collection, err := c.app.FindCachedCollectionByNameOrId(collections.TestSessions)
	if err != nil {
		return nil, err
	}
	r := core.NewRecord(collection)
	r.Id = id
	return r, nil
}
