package pgsync

import (
	"context"
	"fmt"
	"slices"

	"github.com/google/uuid"
)

// apply carries the log from the session's position through the entry at `through`, the end of a source transaction,
// as one PostgreSQL transaction. When a row is refused, the same span is applied again row group by row group and the
// refused ones go to quarantine.
func (s *session) apply(ctx context.Context, src *source, through int64) error {
	nonce, at, err := src.at(ctx, through)
	if err != nil {
		return err
	}
	to := Pos{Epoch: s.pos.Epoch, Seq: through, Nonce: nonce}
	return s.withSalvage(ctx, to, at, func(x *txn) error { return x.applyLog(ctx, src) })
}

// withSalvage runs body in a transaction that moves the position to `to`, and once more in salvage mode when the
// database refused a row.
func (s *session) withSalvage(ctx context.Context, to Pos, cutAt int64, body func(x *txn) error) error {
	err := s.attempt(ctx, to, cutAt, false, body)
	if classify(err) == classData && !s.conn.IsClosed() {
		err = s.attempt(ctx, to, cutAt, true, body)
	}
	return err
}

func (s *session) attempt(ctx context.Context, to Pos, cutAt int64, salvaging bool, body func(x *txn) error) error {
	x := s.begin(to, cutAt)
	x.salvaging = salvaging
	err := body(x)
	if err == nil && x.reshaped {
		// With the change itself, so that nobody sees the time between. What goes wrong here, upkeep tries again.
		if err = x.flush(ctx); err == nil {
			_, err = x.renewReports(ctx)
		}
	}
	if err == nil {
		err = x.commit(ctx)
	}
	if err != nil {
		x.rollback(ctx)
		return err
	}
	if x.quarantined > 0 || x.release {
		return s.countQuarantined(ctx)
	}
	return nil
}

// applyLog reads the span in pieces, so that memory stays bounded however large a source transaction was.
func (x *txn) applyLog(ctx context.Context, src *source) error {
	for next := x.from.Seq; next < x.to.Seq; {
		entries, err := src.entries(ctx, next, x.to.Seq)
		if err != nil {
			return err
		}
		if len(entries) == 0 {
			return &holdError{holdGap, fmt.Sprintf("log entry %d is missing", next+1)}
		}
		for i, e := range entries {
			if e.seq != next+1+int64(i) {
				return &holdError{holdGap, fmt.Sprintf("log entry %d is missing", next+1+int64(i))}
			}
		}
		if next > x.from.Seq {
			if err := x.flush(ctx); err != nil {
				return err
			}
		}
		if err := x.applyEntries(ctx, src, entries); err != nil {
			return err
		}
		next = entries[len(entries)-1].seq
		if next == x.to.Seq && entries[len(entries)-1].nonce != x.to.Nonce {
			return fmt.Errorf("%w: the log changed while it was read", errSource)
		}
	}
	return nil
}

// applyEntries folds runs of row entries to the newest per row and applies what stands between them in order.
func (x *txn) applyEntries(ctx context.Context, src *source, entries []entry) error {
	start := 0
	for i := 0; i <= len(entries); i++ {
		if i < len(entries) && (entries[i].op <= opDelete || entries[i].op == opAppended) {
			continue
		}
		rows, err := x.expand(ctx, src, entries[start:i])
		if err != nil {
			return err
		}
		if err := x.applyRows(ctx, rows); err != nil {
			return err
		}
		x.passBare(entries[start:i])
		x.redactLeaks(entries[start:i])
		if i < len(entries) {
			if err := x.applyMarker(ctx, entries[i]); err != nil {
				return err
			}
		}
		start = i + 1
	}
	x.journal(entries)
	return nil
}

// redactLeaks takes out of entries, before they go into the journal, what a sealed column must not let out.
func (x *txn) redactLeaks(entries []entry) {
	for i := range entries {
		e := &entries[i]
		if t := x.reg.table(e.coll); t != nil && e.img != nil && t.leaks(e.img) {
			e.img = redact(t, e.img)
		}
	}
}

// expand puts the rows of runs into a run of row entries, which it returns as it is when there is none.
func (x *txn) expand(ctx context.Context, src *source, entries []entry) ([]entry, error) {
	if !slices.ContainsFunc(entries, func(e entry) bool { return e.op == opAppended }) {
		return entries, nil
	}
	out := make([]entry, 0, 2*len(entries))
	for i := range entries {
		e := &entries[i]
		t := x.reg.table(e.coll)
		if e.op != opAppended || t == nil { // applyRows reports the table
			out = append(out, *e)
			continue
		}
		rows, err := src.expand(ctx, t, e)
		if err != nil {
			return nil, err
		}
		out = append(out, rows...)
	}
	return out, nil
}

func (x *txn) applyRows(ctx context.Context, run []entry) error {
	type row struct{ coll, pk string }
	newest := make(map[row]int, len(run))
	for i, e := range run {
		newest[row{e.coll, e.pk}] = i
	}
	changes := make([]*change, 0, len(newest))
	for i := range run {
		e := &run[i]
		t := x.reg.table(e.coll)
		if t == nil {
			return &holdError{holdLog, fmt.Sprintf("log entry %d belongs to a table the mirror was not told of", e.seq)}
		}
		if newest[row{e.coll, e.pk}] == i && !e.bare() {
			changes = append(changes, newChange(t, e.pk, e.op, e.seq, e.at, e.img))
		}
	}
	if len(changes) == 0 {
		return nil
	}
	return x.write(ctx, changes)
}

// applyMarker follows a schema change or a mark at its place in the log.
func (x *txn) applyMarker(ctx context.Context, e entry) error {
	if err := x.flush(ctx); err != nil {
		return err
	}
	state := x.reg[e.coll]
	switch e.op {
	case opBarrier:
		next, err := decodeTable(string(e.img))
		if err != nil {
			return &holdError{holdLog, fmt.Sprintf("barrier %d: %v", e.seq, err)}
		}
		if next.Coll != e.coll {
			return &holdError{holdLog, fmt.Sprintf("barrier %d is about another table", e.seq)}
		}
		return x.reshape(ctx, state, next, e.seq)
	case opDropped:
		return x.drop(ctx, e.coll, e.seq)
	case opResync:
		if state.table == nil {
			return nil
		}
		mark, err := readMark(e.img)
		if err != nil {
			return &holdError{holdLog, fmt.Sprintf("log entry %d: %v", e.seq, err)}
		}
		if mark.Drop {
			if err := x.empty(ctx, state.table); err != nil {
				return err
			}
		}
		x.setResync(e.coll, ptr(""))
		x.startRun(e.coll, mark, e.seq)
		return nil
	}
	return &holdError{holdLog, fmt.Sprintf("log entry %d has the unknown operation %d", e.seq, e.op)}
}

// drop sets the table of a deleted collection aside.
func (x *txn) drop(ctx context.Context, coll string, seq int64) error {
	t := x.reg.table(coll)
	if t == nil {
		return nil
	}
	if err := x.dropReaders(ctx, t); err != nil {
		return err
	}
	err := x.longer(ctx, func(ctx context.Context) error {
		if past := t.history(); past != nil {
			if err := setTableAside(ctx, x.s.conn, past, seq); err != nil {
				return err
			}
		}
		return setTableAside(ctx, x.s.conn, t, seq)
	})
	if err != nil {
		return err
	}
	delete(x.reg, coll)
	x.batch.Queue(sqlForgetShape, x.s.origin, coll)
	x.batch.Queue(sqlAbandonRun, x.s.origin, coll)
	x.batch.Queue("DELETE FROM fm_sync.quarantine WHERE origin = $1 AND coll = $2", x.s.origin, coll)
	return x.flush(ctx)
}

// reshape brings the table to its next shape and remembers it with the position.
func (x *txn) reshape(ctx context.Context, state tableState, next *Table, seq int64) error {
	if err := x.flush(ctx); err != nil {
		return err
	}
	if err := x.dropReaders(ctx, state.table, next); err != nil {
		return err
	}
	var resync bool
	err := x.longer(ctx, func(ctx context.Context) (err error) {
		resync, err = evolve(ctx, x.s.conn, state.table, next, seq)
		return err
	})
	if err != nil {
		return err
	}
	cursor := state.resync
	if resync || state.table == nil {
		// The stored hashes vouch for values that are gone.
		tag, err := x.s.conn.Exec(ctx, "UPDATE "+next.pgName()+" SET _hash = ''::bytea WHERE _origin = $1", x.s.origin)
		if err != nil {
			return err
		}
		resync = resync || tag.RowsAffected() > 0
	}
	if state.table == nil {
		if err := x.countOn(ctx, next); err != nil {
			return err
		}
	}
	if resync {
		cursor = ptr("")
		if state.resync == nil { // else the comparison that is under way begins again, and stays the one that was asked for
			x.startRun(next.Coll, resyncMark{uuid.NewString(), choose(state.table == nil, ModeSnapshot, ModeShape), false}, seq)
		}
	}
	x.reg[next.Coll] = tableState{table: next, resync: cursor}
	x.batch.Queue(sqlSaveShape, x.s.origin, next.Coll, next.encode(), cursor)
	x.s.guardsDue = true
	return nil
}

// countOn begins a new epoch when there are rows or a history of a mirror that was there before this one: whatever comes next
// is newer than they are, and what happened in between was not seen.
func (x *txn) countOn(ctx context.Context, t *Table) error {
	query := "SELECT coalesce(max(_ver), 0) FROM " + t.pgName() + " WHERE _origin = $1"
	if past := t.history(); past != nil {
		query = "SELECT greatest((" + query + "), (SELECT coalesce(max(_ver_to), 0) FROM " + past.pgName() + " WHERE _origin = $1))"
	}
	var newest int64
	if err := x.s.conn.QueryRow(ctx, query, x.s.origin).Scan(&newest); err != nil || newest < x.to.Epoch<<epochShift {
		return err
	}
	x.to.Epoch = newest>>epochShift + 1
	_, err := x.s.conn.Exec(ctx, "UPDATE fm_sync.origin SET epoch = $2 WHERE origin = $1", x.s.origin, x.to.Epoch)
	return err
}

// longer runs schema changes under their own time limit.
func (x *txn) longer(ctx context.Context, change func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, ddlTimeout+idleTimeout)
	defer cancel()
	const limit = `SELECT set_config('statement_timeout', $1, true)`
	if _, err := x.s.conn.Exec(ctx, limit, millis(ddlTimeout)); err != nil {
		return err
	}
	if err := change(ctx); err != nil {
		return err
	}
	_, err := x.s.conn.Exec(ctx, limit, millis(x.s.cfg.Timeout))
	return err
}

func (x *txn) setResync(coll string, cursor *string) {
	state := x.reg[coll]
	state.resync = cursor
	x.reg[coll] = state
	x.batch.Queue(sqlSaveCursor, x.s.origin, coll, cursor)
}

func ptr[T any](v T) *T { return &v }
