package merge

import (
	"crypto/rand"
	"database/sql"
	"encoding/base32"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/pocketbase/dbx"
	"github.com/pocketbase/pocketbase/core"
)

// deviceMaxBytes bounds the name of a device.
const deviceMaxBytes = 128

// resultsPrefix marks the devices in whose name the server itself makes operations out of
// simple changes. A device that syncs numbers its own operations; if both used one actor
// they would fork.
const resultsPrefix = "results:"

// resultsDevice is the device in whose name the server writes what somebody does on one of
// theirs. It names the epoch: two logs that were one before a restore never continue under one
// actor, so that either can be imported into the other.
func (s *Service) resultsDevice(device string) string { return resultsPrefix + s.epoch + ":" + device }

// shownDevice is what people call a stored device.
func shownDevice(stored string) string {
	device, results := strings.CutPrefix(stored, resultsPrefix)
	if _, name, named := strings.Cut(device, ":"); results && named {
		return name
	}
	return device
}

// actorRow is one row of crdt_actors.
type actorRow struct {
	id      int64
	key     string
	user    string
	device  string
	revoked bool
}

// ActorFor returns the actor id that (user, device) writes under, issuing one at first use.
// A revoked one is not returned again. tx MUST be a transaction. A device whose storage was
// restored or copied asks for NewActor. A bad device name is ErrInvalid.
func ActorFor(tx core.App, userID, device string) (key string, err error) {
	if err := checkDevice(device); err != nil {
		return "", err
	}
	a, err := actorFor(queryOf(tx), userID, device)
	return a.key, err
}

// NewActor issues a further actor id to (user, device): after a fork the device continues
// under it. ActorFor returns it from then on. tx MUST be a transaction.
func NewActor(tx core.App, userID, device string) (key string, err error) {
	if err := checkDevice(device); err != nil {
		return "", err
	}
	a, err := issueActor(queryOf(tx), userID, device)
	return a.key, err
}

// RevokeActor marks an actor id as revoked, as for a lost tablet: what it still sends is
// stored and quarantined. It reports whether the id was valid before. tx MUST be a
// transaction.
func RevokeActor(tx core.App, key string) (bool, error) {
	res, err := tx.NonconcurrentDB().NewQuery(`UPDATE crdt_actors SET revoked = 1 WHERE key = {:key} AND revoked = 0`).
		Bind(dbx.Params{"key": key}).Execute()
	if err != nil {
		return false, fmt.Errorf("revoke actor: %w", err)
	}
	n, err := res.RowsAffected()
	return n > 0, err
}

func checkDevice(device string) error {
	reason := ""
	switch {
	case device == "" || len(device) > deviceMaxBytes:
		reason = fmt.Sprintf("1 to %d bytes", deviceMaxBytes)
	case !utf8.ValidString(device) || strings.IndexByte(device, 0) >= 0:
		reason = "not text"
	case strings.HasPrefix(device, resultsPrefix):
		reason = "the prefix " + resultsPrefix + " is reserved"
	default:
		return nil
	}
	return &InvalidError{Pointer: "/device", Detail: "bad device name: " + reason}
}

// query makes a statement with its parameters bound, prepared or not.
type query func(sql string, params dbx.Params) *dbx.Query

func queryOf(tx core.App) query {
	return func(sql string, params dbx.Params) *dbx.Query { return tx.NonconcurrentDB().NewQuery(sql).Bind(params) }
}

func actorFor(q query, userID, device string) (actorRow, error) {
	a := actorRow{user: userID, device: device}
	err := q(`SELECT id, key FROM crdt_actors WHERE user = {:user} AND device = {:device} AND revoked = 0 ORDER BY id DESC LIMIT 1`,
		dbx.Params{"user": userID, "device": device}).Row(&a.id, &a.key)
	switch {
	case err == nil:
		return a, nil
	case errors.Is(err, sql.ErrNoRows):
		return issueActor(q, userID, device)
	}
	return a, fmt.Errorf("find actor: %w", err)
}

// actorEncoding keeps ids in lower case, safe in paths and file names.
var actorEncoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

func issueActor(q query, userID, device string) (actorRow, error) {
	// 60 bits: short, because the id is in every line, and unique by the table's index.
	var random [10]byte
	_, _ = rand.Read(random[:]) // never fails
	a := actorRow{key: actorEncoding.EncodeToString(random[:])[:12], user: userID, device: device}
	err := q(`INSERT INTO crdt_actors (key, user, device) VALUES ({:key}, {:user}, {:device}) RETURNING id`,
		dbx.Params{"key": a.key, "user": userID, "device": device}).Row(&a.id)
	if err != nil {
		return a, fmt.Errorf("issue actor: %w", err)
	}
	return a, nil
}

// ownActor returns the actor with that key if it was issued to the user, else
// ErrForeignActor: whether it exists is nobody else's business.
func (r *round) ownActor(userID, key string) (actorRow, error) {
	a := actorRow{key: key}
	err := r.stmt(`SELECT id, user, device, revoked FROM crdt_actors WHERE key = {:key}`, dbx.Params{"key": key}).
		Row(&a.id, &a.user, &a.device, &a.revoked)
	if errors.Is(err, sql.ErrNoRows) || err == nil && a.user != userID {
		return a, ErrForeignActor
	}
	if err != nil {
		return a, fmt.Errorf("find actor: %w", err)
	}
	return a, nil
}
