package api

import (
	"net/http"
	"time"

	"firemode/audit"
	"firemode/collections"
	"firemode/merge"

	"github.com/danielgtaylor/huma/v2"
)

func (s *service) bindActors(api huma.API) {
	tags := []string{"sessions"}
	register(api, huma.Operation{
		OperationID: "issue-actor", Method: http.MethodPost, Path: "/v1/tests/actors", Tags: tags, DefaultStatus: http.StatusOK,
		Summary:     "Get the actor id under which a device numbers its operations",
		Description: "The same device gets the same id until it asks for a new one, as it must after a fork or when its storage was restored.",
	}, (*call).issueActor)
	register(api, huma.Operation{
		OperationID: "list-actors", Method: http.MethodGet, Path: "/v1/tests/actors", Tags: tags,
		Summary:     "List actor ids, newest first",
		Description: "Your own; officers and managers see those of their organisation, administrators all. Without a page limit: at most 1,000.",
	}, (*call).listActors)
	register(api, huma.Operation{
		OperationID: "revoke-actor", Method: http.MethodPost, Path: "/v1/tests/actors/{actor}/revoke", Tags: tags, DefaultStatus: http.StatusOK,
		Summary: "Revoke an actor id, as for a lost tablet",
		Description: "What the device still sends is stored and quarantined: nothing it recorded is lost, and nothing of it takes effect. " +
			"Your own; officers and managers revoke those of their organisation, administrators any.",
	}, (*call).revokeActor)
}

type issueActorInput struct {
	KeyInput
	Body struct {
		Device string `json:"device" minLength:"1" maxLength:"128" doc:"Names the installation; chosen once by it"`
		Fresh  bool   `json:"fresh,omitempty" doc:"Ask for a further id"`
	}
}

type issuedActor struct {
	Actor  string `json:"actor"`
	Device string `json:"device"`
}

func (c *call) issueActor(in *issueActorInput) (*output[issuedActor], error) {
	if c.readOnlySuperuser() {
		return nil, forbidden()
	}
	return mutate(c, in.IdempotencyKey, func(c *call) (*reply[issuedActor], error) {
		issue := merge.ActorFor
		if in.Body.Fresh {
			issue = merge.NewActor
		}
		actor, err := issue(c.app, c.auth().Id, in.Body.Device)
		return &reply[issuedActor]{status: http.StatusOK, body: issuedActor{Actor: actor, Device: in.Body.Device}}, err
	})
}

// actor is an id that was issued to somebody's device.
type actor struct {
	Actor   string `json:"actor"`
	UserID  string `json:"user_id"`
	Device  string `json:"device" doc:"Empty for simple changes of a client that named none"`
	Revoked bool   `json:"revoked"`
}

func (c *call) listActors(in *struct{}) (*one[whole[actor]], error) {
	filter := merge.ActorFilter{UserID: c.auth().Id}
	switch {
	case c.auth().IsSuperuser():
		filter = merge.ActorFilter{}
	case c.isStaff():
		filter = merge.ActorFilter{OrganisationID: c.auth().GetString(collections.FieldOrganisationID)}
	}
	list, err := c.Merge.Actors(c.ctx(), filter)
	out := whole[actor]{Data: make([]actor, len(list))}
	for i, a := range list {
		out.Data[i] = actor(a)
	}
	return &one[whole[actor]]{Body: out}, err
}

type revokeActorInput struct {
	Actor string `path:"actor" maxLength:"32" doc:"The actor id" example:"kq3v7m2p5xwa"`
	KeyInput
	Body struct {
		Reason string `json:"reason" minLength:"1" maxLength:"2000" doc:"Kept in the audit log"`
	}
}

type revokedActor struct {
	Actor     string    `json:"actor"`
	RevokedAt time.Time `json:"revoked_at"`
}

func (c *call) revokeActor(in *revokeActorInput) (*output[revokedActor], error) {
	if c.readOnlySuperuser() {
		return nil, forbidden()
	}
	return mutate(c, in.IdempotencyKey, func(c *call) (*reply[revokedActor], error) {
		owner, err := merge.ActorOwner(c.app, in.Actor)
		if err != nil {
			return nil, err // an unknown one is a 404
		}
		if owner != c.auth().Id && !c.auth().IsSuperuser() {
			if _, err := c.tokenOwner(owner); err != nil {
				return nil, err
			}
		}
		fresh, err := merge.RevokeActor(c.app, in.Actor)
		if err != nil {
			return nil, err
		}
		if fresh {
			_, err = audit.Append(c.app, audit.Entry{
				Action: "revoke", ResourceType: collections.TableCRDTActors, ResourceID: in.Actor,
				New: map[string]any{"user_id": owner, "reason": in.Body.Reason},
			})
		}
		return &reply[revokedActor]{status: http.StatusOK, body: revokedActor{Actor: in.Actor, RevokedAt: c.Now().UTC()}}, err
	})
}
