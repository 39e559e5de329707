package merge

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"firemode/crdt"

	"github.com/pocketbase/dbx"
)

// A HistoryEntry is one operation on a path.
type HistoryEntry struct {
	N           int64           `json:"n"`
	Dot         string          `json:"dot"`
	Kind        string          `json:"kind"`            // put, rem, inc or ins
	Value       json.RawMessage `json:"value,omitempty"` // of a put or ins; the step of an inc
	Seen        []string        `json:"seen,omitempty"`  // what its author had on screen
	Live        bool            `json:"live"`            // the value stands now
	UserID      string          `json:"user_id"`         // empty: the server itself
	Device      string          `json:"device,omitempty"`
	Time        string          `json:"time"`     // by the author's clock, RFC 3339
	Received    string          `json:"received"` // by the server's clock, RFC 3339
	Late        bool            `json:"late,omitempty"`
	Quarantined bool            `json:"quarantined,omitempty"` // and not admitted
	Admitted    bool            `json:"admitted,omitempty"`    // out of quarantine
	ClockOff    bool            `json:"clock_off,omitempty"`   // the two clocks differ by more than 5 minutes
	Redacted    bool            `json:"redacted,omitempty"`    // the value was erased
	Reason      string          `json:"reason,omitempty"`      // that its author gave
}

// History returns the newest operations on a path before a server position, newest first, at
// most limit of them and never more than 1,001, a page and one to tell that there are others;
// limit 0 means 1,000, before 0 the end of the log. path is as in a Change. Errors: ErrNoSession, *InvalidError.
func (s *Service) History(ctx context.Context, sessionID, path string, before int64, limit int) ([]HistoryEntry, error) {
	if limit <= 0 {
		limit = readRowsMax
	}
	limit = min(limit, readRowsMax+1)
	p, err := documentPath(path)
	if err != nil {
		return nil, &InvalidError{Pointer: "/path", Detail: err.Error(), Err: err}
	}
	live := map[string]bool{}
	var why reasons
	var held []crdt.Dot // in quarantine
	at, err := s.view(ctx, sessionID, func(d *document) {
		for _, e := range append(d.state.Values(p), d.state.List(p)...) {
			live[e.Dot.String()] = true
		}
		why, held = reasonsOf(d.state), d.state.Quarantined()
	})
	if err != nil {
		return nil, err
	}
	upTo := at.n
	if before > 0 {
		upTo = min(upTo, before-1)
	}
	// Keys stand in one order in a canonical line, so an operation on the path holds this
	// text. A value may hold it too: the parsed path decides.
	rows, err := s.app.ConcurrentDB().NewQuery(`SELECT o.n, o.recv, o.q, o.line, a.user, a.device FROM crdt_ops o JOIN crdt_actors a ON a.id = o.actor
		WHERE o.doc = {:doc} AND o.n <= {:n} AND instr(CAST(o.line AS TEXT), {:path}) > 0 ORDER BY o.n DESC`).WithContext(ctx).
		Bind(dbx.Params{"doc": at.id, "n": upTo, "path": `"p":"` + p + `"`}).Rows()
	if err != nil {
		return nil, fmt.Errorf("read history: %w", err)
	}
	defer rows.Close()
	list := []HistoryEntry{}
	for rows.Next() && len(list) < limit {
		var e HistoryEntry
		var received, flags int64
		var line []byte
		if err := rows.Scan(&e.N, &received, &flags, &line, &e.UserID, &e.Device); err != nil {
			return nil, fmt.Errorf("read history: %w", err)
		}
		op, err := parseStored(flags, nil, line)
		if err != nil {
			return nil, fmt.Errorf("%w: position %d: %w", ErrLogDamaged, e.N, err)
		}
		if op.Path != p {
			continue
		}
		e.Dot, e.Kind, e.Seen = op.Dot.String(), op.Kind.String(), dotTexts(op.Seen)
		e.Live, e.Reason = live[e.Dot], why.of(op.Dot)
		e.Time, e.Received = timeText(op.Time.Wall()), timeText(time.UnixMilli(received))
		e.Device = shownDevice(e.Device)
		e.Late, e.Redacted, e.Value = flags&flagLate != 0, flags&flagRedacted != 0, valueOf(&op)
		if flags&flagQuarantined != 0 {
			_, e.Quarantined = slices.BinarySearchFunc(held, op.Dot, crdt.Dot.Compare)
			e.Admitted = !e.Quarantined
		}
		e.ClockOff = time.UnixMilli(received).Sub(op.Time.Wall()).Abs() > crdt.MaxSkewDefault
		list = append(list, e)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read history: %w", err)
	}
	return list, nil
}

// valueOf is what an operation wrote: the value of a put or ins, the step of an inc.
func valueOf(op *crdt.Op) json.RawMessage {
	switch op.Kind {
	case crdt.Put, crdt.Ins:
		return crdt.RenderJSON(op.Val)
	case crdt.Inc:
		return fmt.Appendf(nil, "%d", op.N)
	}
	return nil
}
