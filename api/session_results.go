package api

import (
	"encoding/json"
	"net/http"
	"time"

	"firemode/crdt"
	"firemode/merge"

	"github.com/danielgtaylor/huma/v2"
)

func (s *service) bindResults(api huma.API) {
	register(api, huma.Operation{
		OperationID: "post-results", Method: http.MethodPost, Path: "/v1/tests/sessions/{id}/results", Tags: []string{"sessions"},
		DefaultStatus: http.StatusOK, MaxBodyBytes: resultsMaxBytes,
		Summary: "Record results",
		Description: "Simple changes, which become operations of the caller: set, inc, append, remove. A set replaces the values that its author " +
			"saw: those named in seen, or covered by vector_clock; without either it stands beside what is there, as a conflict. " +
			"Numbers keep their digits. Needs an idempotency key, in the header or in the body.",
	}, (*call).postResults)
}

// A change is one simple change of a document.
type change struct {
	Op    string          `json:"op" enum:"set,inc,append,remove"`
	Path  string          `json:"path" minLength:"1" maxLength:"1024" doc:"A JSON Pointer, or a document path" example:"/items/FE-001/result"`
	Value json.RawMessage `json:"value,omitempty" doc:"Any JSON; the step of an inc"`
	Seen  []string        `json:"seen,omitempty" maxItems:"4096" doc:"Operations (actor.seq) whose values the author had on screen"`
}

type resultsInput struct {
	IDPath
	KeyInput
	Body struct {
		Changes        []change             `json:"changes" minItems:"1" maxItems:"1000" nullable:"false"`
		VectorClock    map[string]clockStep `json:"vector_clock,omitempty" doc:"What the author had on screen; send back what the last answer held"`
		IdempotencyKey string               `json:"idempotency_key,omitempty" maxLength:"255" doc:"The same as the header, for clients that cannot set one"`
		Device         string               `json:"device,omitempty" maxLength:"100" doc:"Names the client's installation"`
		Reason         string               `json:"reason,omitempty" maxLength:"2000" doc:"Why; kept in the document, its history and the audit log"`
	}
}

// clockStep is a number of operations.
type clockStep uint64

// Schema implements huma.SchemaProvider: above 2^53 JSON readers differ.
func (clockStep) Schema(huma.Registry) *huma.Schema {
	zero, most := 0.0, float64(crdt.IntMax)
	return &huma.Schema{Type: huma.TypeInteger, Minimum: &zero, Maximum: &most}
}

// resultsAnswer says what is stored.
type resultsAnswer struct {
	SessionID   string             `json:"session_id"`
	Status      string             `json:"status" enum:"processed"`
	VectorClock map[string]uint64  `json:"vector_clock" doc:"The request's clock and the new operations: what the caller may send as vector_clock next. It leaves out earlier operations that the request's clock did not cover; read the session to see them"`
	ProcessedAt time.Time          `json:"processed_at"`
	ServerSeq   int64              `json:"server_seq"`
	Conflicts   []documentConflict `json:"conflicts" doc:"Fields of this request that hold more than one value"`
	Ops         []string           `json:"ops" doc:"The operation (actor.seq) that each change became"`
	Late        bool               `json:"late" doc:"The session is locked: the results show as an addendum"`
}

// documentConflict is a field with more than one distinct live value.
type documentConflict struct {
	Path    string          `json:"path"`
	Policy  string          `json:"policy" doc:"How the shown value is chosen"`
	Value   json.RawMessage `json:"value" doc:"What is shown; null when nothing is"`
	Count   int             `json:"count" doc:"Live values; entries may hold fewer"`
	Entries []conflictEntry `json:"entries"`
}

type conflictEntry struct {
	Value    json.RawMessage `json:"value"`
	Dot      string          `json:"dot" doc:"The operation (actor.seq) that wrote it"`
	Time     string          `json:"time" doc:"By the author's clock"`
	Seen     []string        `json:"seen,omitempty" doc:"What its author had on screen"`
	UserID   string          `json:"user_id,omitempty"`
	Device   string          `json:"device,omitempty"`
	Received string          `json:"received,omitempty" doc:"By the server's clock"`
	Late     bool            `json:"late,omitempty"`
}

func conflictViews(in []merge.Conflict) []documentConflict {
	out := make([]documentConflict, len(in))
	for i, c := range in {
		out[i] = documentConflict{Path: c.Path, Policy: string(c.Policy), Value: c.Value, Count: c.Count, Entries: make([]conflictEntry, len(c.Entries))}
		for j, e := range c.Entries {
			out[i].Entries[j] = conflictEntry(e)
		}
	}
	return out
}

// key settles the two places of the idempotency key.
func (in *resultsInput) key() (string, error) {
	header, body := in.IdempotencyKey, in.Body.IdempotencyKey
	switch {
	case header == "" && body == "":
		return "", newProblem(http.StatusUnprocessableEntity, "An idempotency key is needed.",
			FieldError{Pointer: "/Idempotency-Key", In: "header", Detail: "is missing"})
	case header != "" && body != "" && header != body:
		return "", invalid("/idempotency_key", "differs from the Idempotency-Key header")
	case header == "":
		return body, nil
	}
	return header, nil
}

func (c *call) postResults(in *resultsInput) (*output[resultsAnswer], error) {
	key, err := in.key()
	if err != nil {
		return nil, err
	}
	if err := c.mayAddTo(in.ID); err != nil {
		return nil, err
	}
	req := merge.ChangeRequest{SessionID: in.ID, UserID: c.auth().Id, Device: in.Body.Device, Reason: in.Body.Reason}
	for _, ch := range in.Body.Changes {
		req.Changes = append(req.Changes, merge.Change(ch))
	}
	if in.Body.VectorClock != nil {
		req.Clock = crdt.VersionVector{}
		for actor, n := range in.Body.VectorClock {
			req.Clock[actor] = uint64(n)
		}
	}
	return mergeAct(c, key, func(b *merge.Batch) (*reply[resultsAnswer], error) {
		done, err := b.Change(req)
		return &reply[resultsAnswer]{status: http.StatusOK, body: c.resultsView(done)}, err
	})
}

func (c *call) resultsView(done merge.Result) resultsAnswer {
	return resultsAnswer{
		SessionID: done.SessionID, Status: "processed", VectorClock: done.VectorClock, ProcessedAt: c.Now().UTC(),
		ServerSeq: done.ServerSeq, Conflicts: conflictViews(done.Conflicts), Ops: done.Ops, Late: done.Late,
	}
}
