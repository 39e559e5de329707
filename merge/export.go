package merge

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/pocketbase/dbx"
)

// Export writes the session's log as it stands at one moment, and returns how many
// operations that are. A log that does not verify is ErrLogDamaged: what goes out can be
// relied on. Errors: ErrNoSession.
func (s *Service) Export(ctx context.Context, sessionID string, out io.Writer) (int64, error) {
	w, at, err := s.walkLog(ctx, sessionID)
	if err != nil {
		return 0, fmt.Errorf("read log: %w", err)
	}
	if w.finding != nil {
		return 0, fmt.Errorf("%w: position %d: %s", ErrLogDamaged, w.finding.N, w.finding.Reason)
	}
	h := LogHeader{V: logFileVersion, SessionID: sessionID, N: w.n, Digest: w.digest(), Actors: []LogActor{}}
	db := s.app.ConcurrentDB()
	for _, key := range slices.Sorted(maps.Keys(w.chains)) {
		chain := w.chains[key]
		a := LogActor{Actor: key, Seq: w.state.Held(key), Chain: hex.EncodeToString(chain[:])}
		err := db.NewQuery(`SELECT user, device, revoked FROM crdt_actors WHERE key = {:key}`).WithContext(ctx).
			Bind(dbx.Params{"key": key}).Row(&a.User, &a.Device, &a.Revoked)
		if err != nil {
			return 0, fmt.Errorf("read actor: %w", err)
		}
		h.Actors = append(h.Actors, a)
	}
	file := newLogWriter(out)
	if err := file.line(h); err != nil {
		return 0, err
	}
	rows, err := db.NewQuery(`SELECT n, recv, q, coalesce(lower(hex(` + sqlErasedHash + `)), ''), line FROM crdt_ops WHERE doc = {:doc} AND n <= {:n} ORDER BY n`).WithContext(ctx).
		Bind(dbx.Params{"doc": at.id, "n": w.n}).Rows()
	if err != nil {
		return 0, fmt.Errorf("read operations: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var r LogRow
		if err := rows.Scan(&r.N, &r.Received, &r.Flags, &r.Hash, (*[]byte)(&r.Line)); err != nil {
			return 0, fmt.Errorf("read operations: %w", err)
		}
		if err := file.row(r); err != nil {
			return 0, fmt.Errorf("write log: %w", err)
		}
	}
	if err := rows.Err(); err != nil {
		return 0, fmt.Errorf("read operations: %w", err)
	}
	return w.n, file.end(w.n)
}
