package simulation

import (
	"bytes"
	"fmt"
	"slices"

	"firemode/crdt"
	"firemode/merge"
)

// request is what a device sends, with what the server knows of its sender at that moment.
type request struct {
	user, actor string
	epoch       int // that the device knows, -1 for none
	since       int64
	prev, head  [32]byte
	lines       [][]byte
	limit       int // rows in the answer

	lapsed, supervisor bool
	blind              bool // the device was told that it may not read
}

// answer is what comes back. Epochs are numbered in the order in which the server had them.
type answer struct {
	epoch   int
	ack     merge.Ack // when lines were sent and stored
	rows    []merge.Row
	n       int64 // the log's position
	refused *refusal
}

// refusal is a request of which nothing was stored.
type refusal struct {
	code string // gap, fork, missing, chain, foreign, restored or denied
	want uint64
	dot  crdt.Dot
}

// server is the one that devices talk to. Every method is called between acts, never at the
// same time as another.
type server interface {
	issue(user, actor string)
	revoke(actor string)
	lock(locked bool)
	redact(list []crdt.Dot)
	sync(req request) answer
	// crash handles a request up to its commit, which never happens, and starts again. It
	// returns the answer that it would have given.
	crash(req request) answer
	restart()
	backup()
	restore() // the last backup, under a new epoch
	log(after int64) []merge.Row
	digest() string
	sound() error // its own opinion of itself
}

// pair is two servers that have to give the same answers.
type pair struct{ a, b server }

func (p pair) both(fn func(server)) { fn(p.a); fn(p.b) }

func (p pair) issue(user, actor string) { p.both(func(s server) { s.issue(user, actor) }) }
func (p pair) revoke(actor string)      { p.both(func(s server) { s.revoke(actor) }) }
func (p pair) lock(locked bool)         { p.both(func(s server) { s.lock(locked) }) }
func (p pair) redact(list []crdt.Dot)   { p.both(func(s server) { s.redact(list) }) }
func (p pair) restart()                 { p.both(server.restart) }
func (p pair) backup()                  { p.both(server.backup) }
func (p pair) restore()                 { p.both(server.restore) }

func (p pair) sync(req request) answer  { return sameAnswer(p.a.sync(req), p.b.sync(req)) }
func (p pair) crash(req request) answer { return sameAnswer(p.a.crash(req), p.b.crash(req)) }

func (p pair) log(after int64) []merge.Row {
	rows := p.a.log(after)
	if diff := diffRows(rows, p.b.log(after)); diff != "" {
		fail("the servers' logs differ: %s", diff)
	}
	return rows
}

func (p pair) digest() string {
	a, b := p.a.digest(), p.b.digest()
	if a != b {
		fail("the servers' digests differ: %s and %s", a, b)
	}
	return a
}

func (p pair) sound() error {
	if err := p.a.sound(); err != nil {
		return err
	}
	return p.b.sound()
}

func sameAnswer(a, b answer) answer {
	switch {
	case (a.refused == nil) != (b.refused == nil) || a.refused != nil && *a.refused != *b.refused:
		fail("the servers' refusals differ: %+v and %+v", a.refused, b.refused)
	case a.ack != b.ack || a.epoch != b.epoch || a.n != b.n:
		fail("the servers' answers differ: %+v and %+v", a, b)
	}
	if diff := diffRows(a.rows, b.rows); diff != "" {
		fail("the servers' rows differ: %s", diff)
	}
	return a
}

// diffRows returns the first difference between two logs, "" when there is none.
func diffRows(a, b []merge.Row) string {
	for i := range min(len(a), len(b)) {
		x, y := a[i], b[i]
		if x.N != y.N || x.Received != y.Received || x.Quarantined != y.Quarantined || x.Late != y.Late || x.Redacted != y.Redacted || !bytes.Equal(x.Line, y.Line) {
			return fmt.Sprintf("%+v and %+v", x, y)
		}
	}
	if len(a) != len(b) {
		return fmt.Sprintf("%d and %d rows", len(a), len(b))
	}
	return ""
}

// apply brings a row of the log into effect, and what it admits or erases.
func apply(doc *crdt.Doc, op *crdt.Op, quarantined bool) error {
	join := doc.Apply
	if quarantined {
		join = doc.ApplyQuarantined
	}
	if added, err := join(op); err != nil || !added {
		return fmt.Errorf("apply %s: added %t: %w", op.Dot, added, err)
	}
	return effects(doc, op, quarantined)
}

// effects are what an admission or a redaction does to what it names.
func effects(doc *crdt.Doc, op *crdt.Op, quarantined bool) (err error) {
	if quarantined || !admits(op) && !redacts(op) {
		return nil
	}
	for _, dot := range op.Seen {
		if admits(op) {
			_, err = doc.Admit(dot)
		} else {
			err = doc.Redact(dot)
		}
		if err != nil {
			return fmt.Errorf("%s names %s: %w", op.Dot, dot, err)
		}
	}
	return nil
}

func admits(op *crdt.Op) bool { return op.Kind == crdt.Put && op.Path == merge.AdmittedPath }

func mustParse(line []byte) crdt.Op {
	op, err := crdt.ParseOp(line)
	if err != nil {
		fail("a line is no operation: %v", err)
	}
	return op
}

// rebuilt is the document that rows lead to.
func rebuilt(rows []merge.Row) *crdt.Doc {
	doc := crdt.New()
	extend(doc, rows)
	return doc
}

func extend(doc *crdt.Doc, rows []merge.Row) {
	for _, r := range rows {
		op := parseRow(r)
		if err := apply(doc, &op, r.Quarantined); err != nil {
			fail("I5: position %d does not follow from those before: %v", r.N, err)
		}
	}
}

// violation is a promise found broken; run recovers it.
type violation struct{ what string }

func fail(format string, args ...any) { panic(violation{fmt.Sprintf(format, args...)}) }

func page(rows []merge.Row, after int64, limit int) []merge.Row {
	if after >= int64(len(rows)) {
		return nil
	}
	rows = rows[after:]
	return slices.Clip(rows[:min(limit, len(rows))])
}
