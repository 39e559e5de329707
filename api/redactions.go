package api

import (
	"net/http"

	"firemode/collections"
	"firemode/merge"

	"github.com/danielgtaylor/huma/v2"
)

func (s *service) bindRedactions(api huma.API) {
	register(api, huma.Operation{
		OperationID: "redact-operations", Method: http.MethodPost, Path: "/v1/tests/sessions/{id}/redactions", Tags: []string{"sessions"}, DefaultStatus: http.StatusOK,
		Summary: "Erase recorded values for good",
		Description: "For what the law wants erased, such as a name in a remark. The values go from the log, the document, its snapshots and the mirror; who wrote them, when, where and having seen what stays, " +
			"and so does the hash of the original line, so that the log still verifies. {\"$redacted\":\"…\"} stands in their place. The act is an operation at notes/redacted and has an audit entry, which counts the values. " +
			"What its author issued again under other names goes with it, and is stored without its value when it comes later. " +
			"Sign-offs, admissions and redactions are not erased. It cannot be taken back. 409 with code legal_hold: evidence of the session is under legal hold. For officers.",
	}, (*call).redact)
}

type redactInput struct {
	IDPath
	KeyInput
	Body struct {
		Dots   []string `json:"dots" minItems:"1" maxItems:"100" nullable:"false" doc:"The operations (actor.seq) whose values are to be erased"`
		Reason string   `json:"reason" minLength:"1" maxLength:"2000" doc:"Kept in the document and the audit log: it must not repeat what is erased"`
		Device string   `json:"device,omitempty" maxLength:"100" doc:"Names the client's installation"`
	}
}

func (c *call) redact(in *redactInput) (*output[resultsAnswer], error) {
	if err := c.mayManage(in.ID); err != nil {
		return nil, err
	}
	if !c.auth().IsSuperuser() && c.auth().GetString(collections.FieldRole) != collections.RoleOfficer {
		return nil, forbidden()
	}
	return mergeAct(c, in.IdempotencyKey, func(b *merge.Batch) (*reply[resultsAnswer], error) {
		done, err := b.Redact(merge.RedactRequest{SessionID: in.ID, UserID: c.auth().Id, Device: in.Body.Device, Dots: in.Body.Dots, Reason: in.Body.Reason})
		return &reply[resultsAnswer]{status: http.StatusOK, body: c.resultsView(done)}, err
	})
}
