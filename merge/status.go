package merge

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"firemode/audit"
	"firemode/collections"

	"github.com/pocketbase/dbx"
	"github.com/pocketbase/pocketbase/tools/types"
)

// A MoveRequest moves a session to another status.
type MoveRequest struct {
	SessionID string
	To        string // one of collections.Session…
	Reason    string // kept in the audit log; "" for none
}

// A MoveError reports a move that the table of moves does not have.
type MoveError struct{ From, To string }

func (e *MoveError) Error() string {
	return fmt.Sprintf("merge: a session does not move from %s to %s", e.From, e.To)
}

// statusActions name the moves in the audit log, by where they lead.
var statusActions = map[string]string{
	collections.SessionInReview: "review", collections.SessionLocked: "lock", collections.SessionActive: "reopen",
}

// Move changes the status of a session by the table of moves and returns the earlier one.
// Locking needs a sign-off of the present state: ErrNotSigned. Who may move is the caller's
// business. Further errors: ErrNoSession, *MoveError, *InvalidError.
func (b *Batch) Move(req MoveRequest) (from string, err error) {
	d, _, err := b.open(req.SessionID)
	if err != nil {
		return "", err
	}
	if err := checkReason(req.Reason); err != nil {
		return "", err
	}
	if from, err = b.r.statusOf(req.SessionID); err != nil {
		return "", err
	}
	if !slices.Contains(collections.SessionMoves[from], req.To) {
		return from, &MoveError{From: from, To: req.To}
	}
	if req.To == collections.SessionLocked {
		if err := b.signed(d); err != nil {
			return from, err
		}
	}
	if b.moved == nil {
		b.moved = map[string]struct{}{}
	}
	b.moved[req.SessionID] = struct{}{}
	b.r.status[req.SessionID] = req.To
	err = b.r.exec(`UPDATE test_sessions SET status = {:status}, updated_at = {:at} WHERE id = {:id}`, dbx.Params{
		"id": req.SessionID, "status": req.To, "at": b.r.s.config.Now().UTC().Format(types.DefaultDateLayout),
	})
	if err != nil {
		return from, fmt.Errorf("set status: %w", err)
	}
	now := map[string]any{collections.FieldStatus: req.To}
	if reason := strings.TrimSpace(req.Reason); reason != "" {
		now["reason"] = reason
	}
	_, err = audit.Append(b.r.tx, audit.Entry{
		Action: statusActions[req.To], ResourceType: collections.TestSessions, ResourceID: req.SessionID,
		Old: map[string]any{collections.FieldStatus: from}, New: now,
	})
	return from, err
}

// signed returns ErrNotSigned unless a sign-off covers everything that d holds.
func (b *Batch) signed(d *document) error {
	list := signoffsOf(d.state)
	if err := completeSignOffs(context.Background(), b.r.tx.NonconcurrentDB(), d.id, list); err != nil {
		return err
	}
	for _, o := range list {
		if o.Current {
			return nil
		}
	}
	return ErrNotSigned
}
