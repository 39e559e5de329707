package merge

import (
	"context"
	"fmt"

	"github.com/pocketbase/dbx"
	"github.com/pocketbase/pocketbase/core"
)

// actorsMax bounds a list of actors.
const actorsMax = 1000

// An Actor is an id that was issued to a user's device.
type Actor struct {
	Actor   string `db:"key"`
	UserID  string `db:"user"`
	Device  string `db:"device"` // "" for simple changes of a client that named none
	Revoked bool   `db:"revoked"`
}

// An ActorFilter chooses actors; an empty member admits all.
type ActorFilter struct{ UserID, OrganisationID string }

// Actors returns the newest actors that filter admits, newest first, at most 1,000.
func (s *Service) Actors(ctx context.Context, filter ActorFilter) ([]Actor, error) {
	list := []Actor{}
	err := s.app.ConcurrentDB().NewQuery(`SELECT key, user, device, revoked FROM crdt_actors
		WHERE ({:user} = '' OR user = {:user})
		AND ({:organisation} = '' OR user IN (SELECT id FROM users WHERE organisation_id = {:organisation}))
		ORDER BY id DESC LIMIT {:limit}`).WithContext(ctx).
		Bind(dbx.Params{"user": filter.UserID, "organisation": filter.OrganisationID, "limit": actorsMax}).All(&list)
	if err != nil {
		return nil, fmt.Errorf("list actors: %w", err)
	}
	for i := range list {
		list[i].Device = shownDevice(list[i].Device)
	}
	return list, nil
}

// Authors returns who has written to a session and where the history of each ends, by id:
// at most as many as a document may have. Errors: ErrNoSession.
func (s *Service) Authors(ctx context.Context, sessionID string) ([]LogActor, error) {
	at, err := s.position(ctx, sessionID)
	if err != nil {
		return nil, err
	}
	list := []LogActor{}
	err = s.app.ConcurrentDB().NewQuery(`SELECT a.key AS actor, a.user, a.device, a.revoked, h.seq, lower(hex(h.chain)) AS chain
		FROM crdt_heads h JOIN crdt_actors a ON a.id = h.actor WHERE h.doc = {:doc} ORDER BY a.key`).WithContext(ctx).
		Bind(dbx.Params{"doc": at.id}).All(&list)
	if err != nil {
		return nil, fmt.Errorf("list authors: %w", err)
	}
	for i := range list {
		list[i].Device = shownDevice(list[i].Device)
	}
	return list, nil
}

// ActorOwner returns the user that an actor id was issued to; an unknown id is
// sql.ErrNoRows.
func ActorOwner(tx core.App, key string) (userID string, err error) {
	err = tx.DB().NewQuery(`SELECT user FROM crdt_actors WHERE key = {:key}`).Bind(dbx.Params{"key": key}).Row(&userID)
	return userID, err
}
