package api

import (
	"encoding/json"
	"fmt"
	"net/http"

	"firemode/merge"

	"github.com/danielgtaylor/huma/v2"
	"github.com/pocketbase/dbx"
)

func (s *service) bindQuarantine(api huma.API) {
	tags := []string{"sessions"}
	register(api, huma.Operation{
		OperationID: "list-quarantine", Method: http.MethodGet, Path: "/v1/tests/sessions/{id}/quarantine", Tags: tags,
		Summary:     "List the operations that are kept without effect",
		Description: "What a revoked device or somebody whose right had ended still delivered, oldest first, at most 1,000. For those who may read the session.",
	}, (*call).listQuarantine)
	register(api, huma.Operation{
		OperationID: "admit-operations", Method: http.MethodPost, Path: "/v1/tests/sessions/{id}/quarantine/admit", Tags: tags, DefaultStatus: http.StatusOK,
		Summary: "Give quarantined operations their effect",
		Description: "Written into the log as an operation at notes/admitted, so that every device learns of it in order. " +
			"For managers and officers, and not for operations of one's own.",
	}, (*call).admit)
}

// quarantinedOp is an operation without effect.
type quarantinedOp struct {
	N        int64           `json:"n"`
	Dot      string          `json:"dot" doc:"The operation (actor.seq)"`
	Kind     string          `json:"kind" enum:"put,rem,inc,ins"`
	Path     string          `json:"path"`
	Value    json.RawMessage `json:"value,omitempty"`
	Seen     []string        `json:"seen,omitempty"`
	UserID   string          `json:"user_id"`
	Device   string          `json:"device,omitempty"`
	Time     string          `json:"time" doc:"By the author's clock"`
	Received string          `json:"received" doc:"By the server's clock"`
	Causes   []string        `json:"causes" doc:"Why: revoked_device, lapsed_right, reserved_path"`
}

type quarantineInput struct {
	IDPath
	Limit  int    `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"Most operations in one page"`
	Cursor string `query:"cursor" maxLength:"512" doc:"next_cursor of the page before; empty for the first page"`
}

func (c *call) listQuarantine(in *quarantineInput) (*pageOutput[quarantinedOp], error) {
	if err := c.mayView(in.ID); err != nil {
		return nil, err
	}
	page, after, err := rowPage("quarantine", in.Cursor, in.ID)
	if err != nil {
		return nil, err
	}
	list, err := c.Merge.Quarantine(c.ctx(), in.ID, after, in.Limit+1)
	if err != nil {
		return nil, err
	}
	next := ""
	if len(list) > in.Limit {
		list = list[:in.Limit]
		next = page(list[in.Limit-1].N)
	}
	return pageOf(list, next, func(q merge.QuarantinedOp) (quarantinedOp, error) { return quarantinedOp(q), nil })
}

type admitInput struct {
	IDPath
	KeyInput
	Body struct {
		Dots   []string `json:"dots" minItems:"1" maxItems:"1000" nullable:"false" doc:"The operations (actor.seq)"`
		Reason string   `json:"reason" minLength:"1" maxLength:"2000" doc:"Kept in the document"`
		Device string   `json:"device,omitempty" maxLength:"100" doc:"Names the client's installation"`
	}
}

func (c *call) admit(in *admitInput) (*output[resultsAnswer], error) {
	if err := c.mayManage(in.ID); err != nil {
		return nil, err
	}
	return mergeAct(c, in.IdempotencyKey, func(b *merge.Batch) (*reply[resultsAnswer], error) {
		done, err := b.Admit(merge.AdmitRequest{SessionID: in.ID, UserID: c.auth().Id, Device: in.Body.Device, Dots: in.Body.Dots, Reason: in.Body.Reason})
		return &reply[resultsAnswer]{status: http.StatusOK, body: c.resultsView(done)}, err
	})
}

// admitSync decides what becomes of a device's operations and whether it may read others'.
// Nobody's evidence is refused for a right that ended after it was recorded.
func (c *call) admitSync(sessionID string, req *merge.SyncRequest) (mayRead bool, err error) {
	if len(req.Lines) == 0 {
		return true, c.mayView(sessionID)
	}
	refusal := c.mayAddTo(sessionID)
	if refusal == nil {
		return true, nil
	}
	once, err := c.couldOnce(sessionID)
	if err != nil {
		return false, err
	}
	if !once {
		return false, refusal
	}
	req.Lapsed = true
	return c.mayView(sessionID) == nil, nil
}

// couldOnce reports whether the caller has, or had at some time, a grant for the session's
// building, or has written to the session before.
func (c *call) couldOnce(sessionID string) (once bool, err error) {
	err = c.app.DB().NewQuery(`SELECT EXISTS (SELECT 1 FROM building_grants g JOIN test_sessions s ON s.building_id = g.building_id
			WHERE s.id = {:session} AND g.user_id = {:user} AND g.starts_at <= {:now})
		OR EXISTS (SELECT 1 FROM crdt_heads h JOIN crdt_docs d ON d.id = h.doc JOIN crdt_actors a ON a.id = h.actor
			WHERE d.key = {:session} AND a.user = {:user})`).WithContext(c.ctx()).
		Bind(dbx.Params{"session": sessionID, "user": c.auth().Id, "now": stamp(c.Now())}).Row(&once)
	if err != nil {
		return false, fmt.Errorf("look for an earlier right: %w", err)
	}
	return once, nil
}
