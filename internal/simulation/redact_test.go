package simulation

import (
	"crypto/sha256"
	"encoding/hex"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"firemode/crdt"
	"firemode/merge"
)

// officer redacts, without a device.
const officer = "officer"

// appoint gives the officer an actor id, a new one in each epoch of the server.
func (w *world) appoint() {
	actor := "officer-" + strconv.FormatUint(w.seed, 36) + "-" + strconv.Itoa(w.ledger.epoch)
	w.owner[actor], w.known[actor] = officer, true
	w.server.issue(officer, actor)
}

func redacts(op *crdt.Op) bool { return op.Kind == crdt.Put && op.Path == merge.RedactedPath }

// erasable reports whether the row holds a value that may be erased.
func erasable(r merge.Row, op *crdt.Op) bool {
	return r.Redacted == "" && op.Val != "" && !admits(op) && !redacts(op)
}

// stub is the row without the value of its operation.
func stub(r merge.Row) (merge.Row, crdt.Op) {
	op := parseRow(r)
	sum := op.Sum()
	line, left := op.Redact()
	r.Line, r.Redacted = line, hex.EncodeToString(sum[:])
	return r, left
}

// parseRow reads a row of the log.
func parseRow(r merge.Row) crdt.Op {
	if r.Redacted == "" {
		return mustParse(r.Line)
	}
	sum, err := hex.DecodeString(r.Redacted)
	if err != nil || len(sum) != sha256.Size {
		fail("the hash of an erased row is none: %q", r.Redacted)
	}
	op, err := crdt.ParseRedacted(r.Line, [sha256.Size]byte(sum))
	if err != nil {
		fail("an erased row is none: %v", err)
	}
	return op
}

// redact lets an officer erase one or two values of the log.
func (w *world) redact(r *rand.Rand) {
	var values []crdt.Dot
	for i, row := range w.ledger.rows {
		if op := &w.ledger.ops[i]; erasable(row, op) {
			values = append(values, op.Dot)
		}
	}
	if len(values) == 0 {
		return
	}
	var list []crdt.Dot
	for range 1 + r.IntN(2) {
		if dot := values[r.IntN(len(values))]; !slices.Contains(list, dot) {
			list = append(list, dot)
		}
	}
	w.note("  %v", list)
	w.server.redact(list)
	rows := w.server.log(w.ledger.n())
	if len(rows) != 1 {
		fail("a redaction made %d rows", len(rows))
	}
	op := mustParse(rows[0].Line)
	if !redacts(&op) || rows[0].Quarantined || w.owner[op.Actor] != officer {
		fail("position %d is no redaction by an officer", rows[0].N)
	}
	for _, dot := range list {
		if !slices.Contains(op.Seen, dot) {
			fail("erased: the redaction does not name %s", dot)
		}
	}
	w.acts++
	w.oracle.lines[op.Dot] = append(w.oracle.lines[op.Dot], op.Sum())
	w.oracle.actOf[op.Sum()] = w.acts
	w.ledger.add(rows[0])
	for _, dot := range op.Seen {
		i := w.ledger.index[dot]
		w.ledger.rows[i], w.ledger.ops[i] = stub(w.ledger.rows[i])
	}
	w.erased()
}

// erased checks that an act that was erased has no value in the log, under whatever name, and
// that no other act has lost its value. It knows the acts by what people did, not by origins.
func (w *world) erased() {
	l := &w.ledger
	acts := map[int]bool{}
	for i, r := range l.rows {
		if !r.Quarantined && redacts(&l.ops[i]) {
			for _, dot := range l.ops[i].Seen {
				acts[w.oracle.actOf[l.ops[l.index[dot]].Sum()]] = true
			}
		}
	}
	for i, r := range l.rows {
		act := acts[w.oracle.actOf[l.ops[i].Sum()]]
		if act && erasable(r, &l.ops[i]) {
			fail("erased: %s holds the value of an act that was erased under another name", l.ops[i].Dot)
		}
		if !act && r.Redacted != "" {
			fail("erased: %s lost its value and no redaction names it", l.ops[i].Dot)
		}
	}
}

// erase takes the value of an operation out of a tablet's storage. Requests on their way keep
// the lines that they were made of.
func (d *device) erase(dot crdt.Dot) {
	for i, r := range d.rows {
		if r.Redacted == "" && parseRow(r).Dot == dot {
			d.rows = slices.Clone(d.rows)
			d.rows[i], _ = stub(r)
		}
	}
	if h := d.own[dot.Actor]; h != nil && dot.Seq <= h.len() {
		i := dot.Seq - 1
		h.lines, h.ops = slices.Clone(h.lines), slices.Clone(h.ops)
		h.lines[i], h.ops[i] = h.ops[i].Redact()
	}
}

// worded reports whether the operation still has what its line said: else it cannot be sent.
func worded(op *crdt.Op) bool { return !crdt.IsRedacted(op.Val) }

// unsayable issues again what follows an erased operation that would be the next to send: a
// restored server may have forgotten it, and nobody can say it any more. Who can read looks
// first whether the log has it.
func (w *world) unsayable(d *device, n int64) {
	if !d.denied && d.cursor() != n {
		return
	}
	for _, actor := range d.waiting() {
		if h := d.own[actor]; h != nil && h.acked < h.len() && !worded(&h.ops[h.acked]) {
			w.renew(d, actor, &refusal{code: "erased", dot: h.ops[h.acked].Dot})
		}
	}
}

// forgotten checks that a tablet that has heard everything has kept no erased value.
func (w *world) forgotten(d *device) {
	if diff := diffRows(w.ledger.rows, d.rows); diff != "" {
		fail("erased: %s has other rows than the log: %s", d.name, diff)
	}
	for _, h := range d.own {
		for i := range h.ops {
			if at, held := w.ledger.index[h.ops[i].Dot]; held && w.ledger.rows[at].Redacted != "" && worded(&h.ops[i]) {
				fail("erased: %s has kept the value of %s", d.name, h.ops[i].Dot)
			}
		}
	}
}

// redact is the model's: the same acts under other names go with what was named.
func (m *model) redact(list []crdt.Dot) {
	var all []crdt.Dot
	named := map[crdt.Dot]crdt.Op{}
	for _, r := range m.disk.rows {
		if op := parseRow(r); slices.Contains(list, op.Dot) {
			named[op.Dot] = op
		}
	}
	for _, r := range m.disk.rows {
		op := parseRow(r)
		for _, dot := range list {
			if other := named[dot]; erasable(r, &op) && m.repeats(&op, &other) && !slices.Contains(list, op.Dot) && !slices.Contains(all, op.Dot) {
				all = append(all, op.Dot)
			}
		}
	}
	all = append(all, list...)
	slices.SortFunc(all, func(a, b crdt.Dot) int { return strings.Compare(a.String(), b.String()) })
	actor := m.officer
	op := crdt.Op{
		Dot: crdt.Dot{Actor: actor, Seq: m.doc.Held(actor) + 1}, Time: m.clock.Next(),
		Kind: crdt.Put, Path: merge.RedactedPath, Val: `{"reason":"a name"}`, Seen: all,
	}
	line, _, err := op.Encode()
	if err != nil {
		fail("the model made what it cannot encode: %v", err)
	}
	m.commit([]merge.Row{{N: m.position() + 1, Received: *m.now, Late: m.disk.locked, Line: line}})
}

// repeats reports whether o and p are one act of one person, said again under another name.
func (m *model) repeats(o, p *crdt.Op) bool {
	return o.Kind == p.Kind && o.Path == p.Path && crdt.Redacted(o.Val) == crdt.Redacted(p.Val) && o.OriginHash() == p.OriginHash() &&
		m.disk.actors[o.Actor].user == m.disk.actors[p.Actor].user
}

// comesBack reports whether an act was erased that comes now.
func (m *model) comesBack(r merge.Row, op *crdt.Op) bool {
	return !m.forgetful && erasable(r, op) && slices.ContainsFunc(m.disk.rows, func(other merge.Row) bool {
		erased := parseRow(other)
		return other.Redacted != "" && m.repeats(op, &erased)
	})
}

// heed makes a tablet's storage follow the log: what a row says, or is, erased, is erased; and
// what a restored server holds again, since it has forgotten the redaction, is there again.
func (d *device) heed(row merge.Row, op *crdt.Op) {
	h := d.own[op.Actor]
	switch {
	case row.Redacted != "":
		d.erase(op.Dot)
		if d.view.Has(op.Dot) {
			if err := d.view.Redact(op.Dot); err != nil {
				fail("I5: position %d: %v", row.N, err)
			}
		}
	case redacts(op) && !row.Quarantined:
		for _, dot := range op.Seen {
			d.erase(dot)
		}
	case h != nil && op.Seq <= h.len() && !worded(&h.ops[op.Seq-1]):
		h.lines, h.ops = slices.Clone(h.lines), slices.Clone(h.ops)
		h.lines[op.Seq-1], h.ops[op.Seq-1] = row.Line, *op
		d.behind = true
	}
}
