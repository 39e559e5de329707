package powercut

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"

	"firemode/crdt"
	"firemode/internal/sqlite"
	"firemode/merge"

	"github.com/pocketbase/dbx"
	"github.com/pocketbase/pocketbase/core"
)

// A verdict is what was found in a directory after a cut.
type verdict struct {
	acked int      // operations acknowledged before the cut
	lost  int      // of these, those that are not in the log with the same bytes
	wrong []string // whatever else is not as it should be
}

// wrongMax is enough to see what is wrong.
const wrongMax = 10

func (v *verdict) add(format string, args ...any) {
	if len(v.wrong) < wrongMax {
		v.wrong = append(v.wrong, fmt.Sprintf(format, args...))
	}
}

// check opens dir with the product's own code, as after the restart, and holds it against
// what the tablets know when the power was cut at that moment.
func (w *world) check(dir string, cut int) (v verdict) {
	app, err := open(dir, sqlite.Connect)
	if err != nil {
		v.add("%v", err)
		return v
	}
	defer func() {
		if err := closeApp(app); err != nil {
			v.add("close: %v", err)
		}
	}()
	if err := w.examine(app, cut, &v); err != nil {
		v.add("read what was kept: %v", err)
	}
	return v
}

func (w *world) examine(app core.App, cut int, v *verdict) error {
	for name, db := range map[string]dbx.Builder{"data.db": app.DB(), "auxiliary.db": app.AuxDB()} {
		var answer string
		if err := db.NewQuery("PRAGMA integrity_check").Row(&answer); err != nil || answer != "ok" {
			v.add("integrity of %s: got %.200s (%v), want ok", name, answer, err)
		}
	}
	logged, err := readLog(app, v)
	if err != nil {
		return err
	}
	w.compareLog(logged, cut, v)
	if err := w.compareAudit(app, logged, v); err != nil {
		return err
	}
	if err := w.verify(app, logged, false, v); err != nil {
		return err
	}
	if v.lost == 0 && len(v.wrong) == 0 {
		if err := w.resume(app, cut); err != nil {
			v.add("go on after the cut: %v", err)
		}
	}
	return nil
}

// logRow is a row of the operation log.
type logRow struct {
	n    int64
	line []byte
}

type position struct {
	session, actor string
	seq            uint64
}

// readLog reads the whole log and checks that positions are dense, that each operation has
// one row, and that the mirror's outbox has one entry for each row, which is in one run, and
// one for its erasure.
func readLog(app core.App, v *verdict) (map[position]logRow, error) {
	rows, err := app.DB().NewQuery(`WITH runs AS MATERIALIZED (SELECT pk ->> 0 AS doc, pk ->> 1 AS actor, pk ->> 2 AS first, pk ->> 3 AS last
			FROM (SELECT '[' || replace(pk, '/', ',') || ']' AS pk FROM _pgsync_log WHERE coll = 'crdt_ops' AND op = 7))
		SELECT d.key, d.n, o.n, a.key, o.seq, o.line,
			(SELECT count(*) FROM runs r WHERE r.doc = o.doc AND r.actor = o.actor AND o.seq BETWEEN r.first AND r.last),
			o.q & 32 <> 0, (SELECT count(*) FROM _pgsync_log WHERE coll = 'crdt_ops' AND op = 2 AND pk = o.doc || '/' || o.n)
		FROM crdt_ops o LEFT JOIN crdt_docs d ON d.id = o.doc LEFT JOIN crdt_actors a ON a.id = o.actor ORDER BY o.doc, o.n`).Rows()
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	logged, last, end := map[position]logRow{}, map[string]int64{}, map[string]int64{}
	for rows.Next() {
		var p position
		var r logRow
		var docN, outbox, carried int64
		var erased bool
		if err := rows.Scan(&p.session, &docN, &r.n, &p.actor, &p.seq, &r.line, &outbox, &erased, &carried); err != nil {
			return nil, err
		}
		if last[p.session]++; r.n != last[p.session] {
			v.add("position: got %d, want %d", r.n, last[p.session])
		}
		if _, twice := logged[p]; twice {
			v.add("%s.%d is in the log twice", p.actor, p.seq)
		}
		if outbox != 1 {
			v.add("%s.%d has %d entries in the outbox, want 1", p.actor, p.seq, outbox)
		}
		if erased != (carried == 1) {
			v.add("%s.%d, erased: %t, has %d entries of its erasure in the outbox", p.actor, p.seq, erased, carried)
		}
		end[p.session] = docN
		logged[p] = r
	}
	for session, n := range last {
		if end[session] != n {
			v.add("document: got position %d, want %d", end[session], n)
		}
	}
	return logged, rows.Err()
}

// compareLog holds the log against the requests: what was acknowledged is there, no request
// is there by half, and nothing is there that nobody had sent.
func (w *world) compareLog(logged map[position]logRow, cut int, v *verdict) {
	known := 0
	for _, a := range w.acts {
		kept := 0
		for i, line := range a.req.Lines {
			at := position{a.req.SessionID, a.req.Actor, a.first + uint64(i)}
			r, ok := logged[at]
			if ok {
				known++
			}
			if e, erased := w.erased[at]; erased && ok {
				line = w.expected(e, line, logged, cut, v)
				if _, ordered := logged[e.by]; ordered {
					known++
				}
			}
			same := ok && bytes.Equal(r.line, line)
			if ok && !same {
				v.add("%s.%d has other bytes than were sent", a.req.Actor, a.first+uint64(i))
			}
			if same {
				kept++
			}
			if a.acked <= cut {
				v.acked++
				if !same {
					v.lost++
				}
			}
		}
		if kept != 0 && kept != len(a.req.Lines) {
			v.add("%d of %d operations of a request were kept", kept, len(a.req.Lines))
		}
		if kept != 0 && a.begun > cut {
			v.add("%s.%d was sent after the cut", a.req.Actor, a.first)
		}
	}
	if known != len(logged) {
		v.add("the log has %d operations, of which tablets have made %d", len(logged), known)
	}
}

// expected is the line that an operation which was to be erased has after the cut: without its
// value if, and only if, the redaction is there.
func (w *world) expected(e erasure, line []byte, logged map[position]logRow, cut int, v *verdict) []byte {
	_, ordered := logged[e.by]
	if e.acked <= cut {
		v.acked++
	}
	if !ordered {
		if e.acked <= cut {
			v.lost++
		}
		return line
	}
	if e.begun > cut {
		v.add("%s.%d erases after the cut", e.by.actor, e.by.seq)
	}
	op, err := crdt.ParseOp(line)
	if err != nil {
		v.add("a tablet made what is no operation: %v", err)
	}
	stub, _ := op.Redact()
	return stub
}

// compareAudit holds the audit log against the operation log: one entry for each request
// that is in the log, and no other.
func (w *world) compareAudit(app core.App, logged map[position]logRow, v *verdict) error {
	var entries []struct {
		Session string `db:"resource_id"`
		Values  string `db:"new_values"`
	}
	if err := app.DB().NewQuery(`SELECT resource_id, new_values FROM audit_log WHERE action = 'merge'`).All(&entries); err != nil {
		return err
	}
	got := map[string]int{}
	for _, e := range entries {
		var values struct {
			Actor, First, Last, Chain string
			Count, N                  int64
		}
		if err := json.Unmarshal([]byte(e.Values), &values); err != nil {
			return fmt.Errorf("read audit entry: %w", err)
		}
		got[fmt.Sprint(e.Session, values)]++
	}
	want := 0
	for _, a := range w.acts {
		last := a.first + uint64(len(a.req.Lines)) - 1
		r, ok := logged[position{a.req.SessionID, a.req.Actor, last}]
		if !ok {
			continue
		}
		want++
		dot := func(seq uint64) string { return crdt.Dot{Actor: a.req.Actor, Seq: seq}.String() }
		key := fmt.Sprint(a.req.SessionID, struct {
			Actor, First, Last, Chain string
			Count, N                  int64
		}{a.req.Actor, dot(a.first), dot(last), hex.EncodeToString(a.req.Head[:]), int64(len(a.req.Lines)), r.n})
		if got[key] != 1 {
			v.add("%s has %d audit entries, want 1", dot(last), got[key])
		}
	}
	if want != len(entries) {
		v.add("audit entries: got %d, want %d", len(entries), want)
	}
	var dense bool
	if err := app.DB().NewQuery(`SELECT count(*) = coalesce(max(seq), 0) FROM audit_log`).Row(&dense); err != nil {
		return err
	}
	if !dense {
		v.add("the audit log has gaps")
	}
	return nil
}

// verify runs the product's own check over each session, which holds heads, chains and the
// record against the log. When caughtUp, the record of a large session is no longer behind.
func (w *world) verify(app core.App, logged map[position]logRow, caughtUp bool, v *verdict) error {
	s := merge.New(app, merge.Config{})
	for i, session := range w.sessions {
		r, err := s.Verify(context.Background(), session)
		if err != nil {
			return fmt.Errorf("verify: %w", err)
		}
		if r.Finding != nil {
			v.add("verify: %+v", *r.Finding)
		}
		ops := int64(0)
		for p := range logged {
			if p.session == session {
				ops++
			}
		}
		var seq int64
		if err := app.DB().NewQuery("SELECT server_seq FROM test_sessions WHERE id = {:id}").Bind(dbx.Params{"id": session}).Row(&seq); err != nil {
			return err
		}
		if r.Ops != ops || i == 0 && seq != ops || caughtUp && seq != ops {
			v.add("session: %d operations verified and the record at %d, want %d", r.Ops, seq, ops)
		}
	}
	return nil
}

// resume starts the service on what was found. Each tablet sends its last acknowledged
// request again, as if the answer had been lost, and what comes after it.
func (w *world) resume(app core.App, cut int) error {
	s := merge.New(app, merge.Config{})
	if err := s.Start(context.Background()); err != nil {
		return err
	}
	defer s.Stop()
	// The marker beside the database is no part of what was synced: without it the log has
	// a new epoch, at which devices ask what it lacks.
	if s.Epoch() == w.epoch {
		return fmt.Errorf("the epoch is the old one")
	}
	acts := map[string][]act{}
	for _, a := range w.acts {
		acts[a.req.Actor] = append(acts[a.req.Actor], a)
	}
	for actor, own := range acts {
		slices.SortFunc(own, func(a, b act) int { return int(a.first) - int(b.first) })
		next := slices.IndexFunc(own, func(a act) bool { return a.acked > cut })
		if next < 0 {
			next = len(own)
		}
		if next == 0 {
			continue // it may not even have its name
		}
		for _, a := range own[next-1 : min(next+1, len(own))] {
			if err := send(s, a.req); err != nil {
				return fmt.Errorf("%s sends again: %w", actor, err)
			}
		}
	}
	s.Stop()
	var v verdict
	logged, err := readLog(app, &v)
	if err != nil {
		return err
	}
	if err := w.verify(app, logged, true, &v); err != nil {
		return err
	}
	if len(v.wrong) > 0 {
		return fmt.Errorf("then: %v", v.wrong)
	}
	return nil
}
