package hooks

import (
	"database/sql"
	"errors"
	"fmt"
	"time"

	"firemode/audit"
	"firemode/collections"

	"github.com/pocketbase/dbx"
	"github.com/pocketbase/pocketbase/core"
	"github.com/pocketbase/pocketbase/tools/types"
)

// freshFor is how long the list in memory may go unread before each check asks
// the database instead: the poll failed several times in a row.
const freshFor = 5 * pollInterval

// errListUnreadable reports that nobody can say whether a token is revoked.
var errListUnreadable = errors.New("the revocation list cannot be read")

// A Revocation ends one token before its time.
type Revocation struct {
	JTI    string // required
	UserID string // required: the token's owner
	Reason string // "logout", …; at most 255 bytes
	By     string // id of who revokes; empty for the system
	// ExpiresAt is the token's own expiry. Zero, when it is not known, keeps the
	// entry for as long as any token may live.
	ExpiresAt time.Time
}

// Revoke puts one token on the list. It takes effect when tx commits: at once
// in this process, within two seconds in others. Revoking a token twice is no
// error.
func (t *Tokens) Revoke(tx core.App, r Revocation) error {
	return tx.RunInTransaction(func(tx core.App) error {
		listed, err := isListed(tx, r.JTI)
		if err != nil || listed {
			return err
		}
		list, err := tx.FindCachedCollectionByNameOrId(collections.RevokedTokens)
		if err != nil {
			return fmt.Errorf("find the revocation list: %w", err)
		}
		now := t.now().UTC()
		if r.ExpiresAt.IsZero() {
			r.ExpiresAt = now.Add(tokenMaxTTL)
		}
		row := core.NewRecord(list)
		row.Load(map[string]any{
			collections.FieldTokenJTI: r.JTI, collections.FieldUserID: r.UserID, collections.FieldReason: r.Reason,
			collections.FieldRevokedBy: r.By, collections.FieldRevokedAt: now, collections.FieldExpiresAt: r.ExpiresAt.UTC(),
		})
		if err := tx.Save(row); err != nil {
			return fmt.Errorf("revoke token: %w", err)
		}
		return nil
	})
}

// RevokeAll ends every token of user, file tokens and open realtime streams
// included. It takes effect when tx commits. Tokens issued afterwards are good.
func (t *Tokens) RevokeAll(tx core.App, user *core.Record, reason, by string) error {
	return tx.RunInTransaction(func(tx core.App) error {
		t.outdate(user)
		if err := tx.Save(user); err != nil {
			return fmt.Errorf("revoke all tokens: %w", err)
		}
		_, err := audit.Append(tx, audit.Entry{
			Action: "revoke_all_tokens", ResourceType: user.Collection().Name, ResourceID: user.Id,
			New: map[string]any{collections.FieldReason: reason, collections.FieldRevokedBy: by},
		})
		return err
	})
}

// outdate changes user so that, once saved, none of its tokens is good any
// more. The new token key ends those of a login that runs at this moment and
// would still pass by its time.
func (t *Tokens) outdate(user *core.Record) {
	if user.Collection().Fields.GetByName(collections.FieldTokensValidAfter) != nil {
		user.Set(collections.FieldTokensValidAfter, t.now().UTC())
	}
	user.RefreshTokenKey()
}

// checkRevoked judges a token by the list.
func (t *Tokens) checkRevoked(app core.App, info TokenInfo) error {
	if t.fresh.Load() < t.now().Add(-freshFor).UnixNano() {
		for _, id := range []string{info.JTI, info.ParentJTI} {
			if id == "" {
				continue
			}
			if listed, err := isListed(app, id); err != nil {
				return errors.Join(errListUnreadable, err)
			} else if listed {
				return errTokenRevoked
			}
		}
		return nil
	}
	t.mu.RLock()
	defer t.mu.RUnlock()
	_, self := t.revoked[info.JTI]
	_, parent := t.revoked[info.ParentJTI] // the empty id is never on the list
	if self || parent {
		return errTokenRevoked
	}
	return nil
}

func isListed(app core.App, jti string) (bool, error) {
	var one int
	err := app.DB().Select("(1)").From(collections.RevokedTokens).Where(dbx.HashExp{collections.FieldTokenJTI: jti}).Limit(1).Row(&one)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read the revocation list: %w", err)
	}
	return true, nil
}

func (t *Tokens) add(jti string, expires time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.revoked[jti] = expires
}

type listRow struct {
	RowID   int64          `db:"n"`
	JTI     string         `db:"token_jti"`
	Expires types.DateTime `db:"expires_at"`
}

// readNew takes rows into memory that were added since the last call, whoever
// wrote them. Row ids only ever grow: sweep keeps the newest row, and nothing
// else deletes. SQLite has one writer, so they grow in the order of commits.
func (t *Tokens) readNew(app core.App) error {
	started := t.now()
	var newest int64
	err := app.DB().Select("COALESCE(MAX(rowid), 0)").From(collections.RevokedTokens).Row(&newest)
	if err != nil {
		return fmt.Errorf("read the revocation list: %w", err)
	}
	t.mu.RLock()
	last := t.lastRow
	t.mu.RUnlock()
	if newest < last {
		last = 0 // an administrator emptied the table; its numbers begin anew
	}
	var rows []listRow
	err = app.DB().Select("rowid AS n", collections.FieldTokenJTI, collections.FieldExpiresAt).From(collections.RevokedTokens).
		Where(dbx.NewExp("rowid > {:last}", dbx.Params{"last": last})).OrderBy("rowid").All(&rows)
	if err != nil {
		return fmt.Errorf("read the revocation list: %w", err)
	}
	t.mu.Lock()
	t.lastRow = last
	for _, row := range rows {
		t.revoked[row.JTI] = row.Expires.Time()
		t.lastRow = row.RowID
	}
	t.mu.Unlock()
	t.fresh.Store(started.UnixNano())
	return nil
}

// sweep forgets tokens that have expired by themselves, in memory and on disk.
func (t *Tokens) sweep(app core.App) error {
	now := t.now().UTC()
	t.mu.Lock()
	for jti, expires := range t.revoked {
		if !expires.After(now) {
			delete(t.revoked, jti)
		}
	}
	t.mu.Unlock()
	at, err := types.ParseDateTime(now)
	if err != nil {
		return fmt.Errorf("sweep the revocation list: %w", err)
	}
	// The newest row stays, so that its number is not given out again.
	_, err = app.NonconcurrentDB().Delete(collections.RevokedTokens, dbx.NewExp(
		"[["+collections.FieldExpiresAt+"]] <= {:now} AND rowid < (SELECT MAX(rowid) FROM {{"+collections.RevokedTokens+"}})",
		dbx.Params{"now": at.String()})).Execute()
	if err != nil {
		return fmt.Errorf("sweep the revocation list: %w", err)
	}
	return nil
}
