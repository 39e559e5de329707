package api

import (
	"net/http"

	"firemode/collections"
	"firemode/crdt"
	"firemode/merge"

	"github.com/danielgtaylor/huma/v2"
)

func (s *service) bindSignOffs(api huma.API) {
	tags := []string{"sessions"}
	register(api, huma.Operation{
		OperationID: "get-session-state", Method: http.MethodGet, Path: "/v1/tests/sessions/{id}/state", Tags: tags,
		Summary:     "Get the exact state of a document",
		Description: "Position, version vector and digest, to sign what is on screen and to compare a device with the server.",
	}, (*call).getState)
	register(api, huma.Operation{
		OperationID: "list-sign-offs", Method: http.MethodGet, Path: "/v1/tests/sessions/{id}/sign-offs", Tags: tags,
		Summary:     "List who has signed which state, newest first",
		Description: "current is false once something was recorded after the state that was signed: an addendum, which asks for a new sign-off.",
	}, (*call).listSignOffs)
	register(api, huma.Operation{
		OperationID: "sign-session", Method: http.MethodPost, Path: "/v1/tests/sessions/{id}/sign", Tags: tags, DefaultStatus: http.StatusOK,
		Summary: "Sign the state of a document",
		Description: "Signs one exact state: server_seq and digest as the state operation gave them. 409 with code state: something was recorded meanwhile; " +
			"data holds the present position and digest. Inspectors and managers of the session, officers of its organisation and its owner sign, each as what they are.",
	}, (*call).sign)
}

// documentState is one exact state of a document.
type documentState struct {
	SessionID   string             `json:"session_id"`
	ServerSeq   int64              `json:"server_seq"`
	VectorClock crdt.VersionVector `json:"vector_clock"`
	Digest      string             `json:"digest" doc:"SHA-256 of the document's canonical text, hexadecimal"`
	Schema      string             `json:"schema" doc:"The reading rules, name/version"`
}

func (c *call) getState(in *IDPath) (*one[documentState], error) {
	if err := c.mayView(in.ID); err != nil {
		return nil, err
	}
	state, err := c.Merge.State(c.ctx(), in.ID)
	return &one[documentState]{Body: documentState(state)}, err
}

// signOff is somebody's declaration about one state.
type signOff struct {
	Role      string `json:"role"`
	UserID    string `json:"user_id"`
	Device    string `json:"device,omitempty"`
	Statement string `json:"statement"`
	Upto      int64  `json:"upto" doc:"Position of the state that was signed"`
	Digest    string `json:"digest" doc:"Of that state"`
	Schema    string `json:"schema,omitempty" doc:"The reading rules it was read under"`
	Dot       string `json:"dot" doc:"The operation (actor.seq)"`
	Time      string `json:"time" doc:"By the author's clock"`
	Received  string `json:"received" doc:"By the server's clock"`
	Current   bool   `json:"current" doc:"Nothing was recorded since"`
}

func (c *call) listSignOffs(in *IDPath) (*one[whole[signOff]], error) {
	if err := c.mayView(in.ID); err != nil {
		return nil, err
	}
	list, err := c.Merge.SignOffs(c.ctx(), in.ID)
	out := whole[signOff]{Data: make([]signOff, len(list))}
	for i, o := range list {
		out.Data[i] = signOff(o)
	}
	return &one[whole[signOff]]{Body: out}, err
}

type signInput struct {
	IDPath
	KeyInput
	Body struct {
		ServerSeq int64  `json:"server_seq" minimum:"0" doc:"Of the state that is signed"`
		Digest    string `json:"digest" pattern:"^[0-9A-Fa-f]{64}$" doc:"Of the state that is signed"`
		Statement string `json:"statement" minLength:"1" maxLength:"4000" doc:"What is declared" example:"Tested as recorded."`
		Device    string `json:"device,omitempty" maxLength:"100" doc:"Names the client's installation"`
	}
}

func (c *call) sign(in *signInput) (*output[resultsAnswer], error) {
	if err := c.maySign(in.ID); err != nil {
		return nil, err
	}
	return mergeAct(c, in.IdempotencyKey, func(b *merge.Batch) (*reply[resultsAnswer], error) {
		done, err := b.Sign(merge.SignRequest{
			SessionID: in.ID, UserID: c.auth().Id, Device: in.Body.Device, Role: c.auth().GetString(collections.FieldRole),
			Statement: in.Body.Statement, Upto: in.Body.ServerSeq, Digest: in.Body.Digest,
		})
		return &reply[resultsAnswer]{status: http.StatusOK, body: c.resultsView(done)}, err
	})
}

// maySign admits people who answer for a session with their name: programs, auditors and
// administrators do not.
func (c *call) maySign(sessionID string) error {
	if err := c.mayView(sessionID); err != nil {
		return err
	}
	if c.auth().IsSuperuser() {
		return forbidden()
	}
	switch c.auth().GetString(collections.FieldRole) {
	case collections.RoleInspector, collections.RoleManager, collections.RoleOfficer, collections.RoleOwner:
		return nil
	}
	return forbidden()
}
