package api

import (
	"encoding/json"
	"fmt"
	"net/http"

	"firemode/collections"
	"firemode/merge"

	"github.com/danielgtaylor/huma/v2"
	"github.com/pocketbase/dbx"
)

func (s *service) bindDecisions(api huma.API) {
	tags := []string{"sessions"}
	register(api, huma.Operation{
		OperationID: "resolve-conflict", Method: http.MethodPost, Path: "/v1/tests/sessions/{id}/conflicts/resolve", Tags: tags, DefaultStatus: http.StatusOK,
		MaxBodyBytes: resultsMaxBytes, Summary: "Decide a field that holds more than one value",
		Description: "Replaces the values named in seen by one: value, or that of the operation named in choose. It is an ordinary result with a reason; " +
			"nothing is removed from the history. A value that arrived meanwhile was not seen and stands on: conflicts in the answer shows it. " +
			"409 with code settled: none of the values stands any more. For those who may record results, and for officers.",
	}, (*call).resolveConflict)
	move := func(id, summary, description, to string) {
		register(api, huma.Operation{
			OperationID: id + "-session", Method: http.MethodPost, Path: "/v1/tests/sessions/{id}/" + id, Tags: tags, DefaultStatus: http.StatusOK,
			Summary: summary, Description: description + " 409 with code status: the session is not in the state before.",
		}, func(c *call, in *moveInput) (*output[movedSession], error) { return c.moveSession(in, to) })
	}
	move("review", "Say that the work is done", "active becomes in_review. For those who may record results, and for officers.", collections.SessionInReview)
	move("reopen", "Send a session back to work", "in_review becomes active. For managers and officers.", collections.SessionActive)
	move("lock", "Close a session", "in_review becomes locked, for good. Its present state must be signed, else 409 with code not_signed. "+
		"A locked session still takes operations: they are marked late and ask for a new sign-off. For managers and officers.", collections.SessionLocked)
}

type resolveInput struct {
	IDPath
	KeyInput
	Body struct {
		Path   string          `json:"path" minLength:"1" maxLength:"1024" doc:"A JSON Pointer, or a document path" example:"/items/FE-001/result"`
		Value  json.RawMessage `json:"value,omitempty" doc:"What the field is to hold; or choose"`
		Choose string          `json:"choose,omitempty" maxLength:"64" doc:"The operation (actor.seq) whose value it is to keep; or value"`
		Seen   []string        `json:"seen" minItems:"1" maxItems:"4096" nullable:"false" doc:"Operations (actor.seq) whose values the decider had on screen"`
		Reason string          `json:"reason" minLength:"1" maxLength:"2000" doc:"Kept in the document, its history and the audit log"`
		Device string          `json:"device,omitempty" maxLength:"100" doc:"Names the client's installation"`
	}
}

func (c *call) resolveConflict(in *resolveInput) (*output[resultsAnswer], error) {
	if err := c.mayDecide(in.ID); err != nil {
		return nil, err
	}
	return mergeAct(c, in.IdempotencyKey, func(b *merge.Batch) (*reply[resultsAnswer], error) {
		done, err := b.Resolve(merge.ResolveRequest{
			SessionID: in.ID, UserID: c.auth().Id, Device: in.Body.Device, Path: in.Body.Path,
			Value: in.Body.Value, Choose: in.Body.Choose, Seen: in.Body.Seen, Reason: in.Body.Reason,
		})
		return &reply[resultsAnswer]{status: http.StatusOK, body: c.resultsView(done)}, err
	})
}

type moveInput struct {
	IDPath
	KeyInput
	Body struct {
		Reason string `json:"reason,omitempty" maxLength:"2000" doc:"Kept in the audit log"`
	}
}

// movedSession says where a session stands now.
type movedSession struct {
	SessionID string `json:"session_id"`
	From      string `json:"from" enum:"active,in_review,locked"`
	Status    string `json:"status" enum:"active,in_review,locked"`
}

func (c *call) moveSession(in *moveInput, to string) (*output[movedSession], error) {
	may := c.mayManage
	if to == collections.SessionInReview {
		may = c.mayDecide
	}
	if err := may(in.ID); err != nil {
		return nil, err
	}
	return mergeAct(c, in.IdempotencyKey, func(b *merge.Batch) (*reply[movedSession], error) {
		from, err := b.Move(merge.MoveRequest{SessionID: in.ID, To: to, Reason: in.Body.Reason})
		return &reply[movedSession]{status: http.StatusOK, body: movedSession{SessionID: in.ID, From: from, Status: to}}, err
	})
}

// mayDecide admits those who may record results of the session, and officers of its
// organisation.
func (c *call) mayDecide(sessionID string) error {
	if err := c.mayAddTo(sessionID); err == nil || c.mayManage(sessionID) != nil {
		return err
	}
	return nil
}

// mayManage admits managers and officers of the building's organisation, and
// administrators.
func (c *call) mayManage(sessionID string) error {
	if err := c.mayView(sessionID); err != nil {
		return err
	}
	// The record itself would bring the whole document with it.
	var buildingID string
	err := c.app.DB().Select(collections.FieldBuildingID).From(collections.TestSessions).
		Where(dbx.HashExp{collections.FieldID: sessionID}).WithContext(c.ctx()).Row(&buildingID)
	if err != nil {
		return fmt.Errorf("find session: %w", err)
	}
	building, err := c.app.FindRecordById(collections.Buildings, buildingID)
	if err != nil {
		return fmt.Errorf("find the session's building: %w", err)
	}
	return c.mayWrite(building, nil)
}
