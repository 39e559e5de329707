package simulation

import (
	"bytes"
	"encoding/hex"
	"maps"
	"slices"

	"firemode/crdt"
	"firemode/merge"
)

// ledger is the log as the world has seen it grow; it checks each row as it comes.
type ledger struct {
	session string
	epoch   int
	rows    []merge.Row
	ops     []crdt.Op
	index   map[crdt.Dot]int
	chains  map[string][32]byte
	seqs    map[string]uint64
}

func (l *ledger) reset(session string) {
	*l = ledger{session: session, index: map[crdt.Dot]int{}, chains: map[string][32]byte{}, seqs: map[string]uint64{}}
}

func (l *ledger) n() int64 { return int64(len(l.rows)) }

func (l *ledger) add(r merge.Row) crdt.Op {
	op := parseRow(r)
	if r.N != l.n()+1 {
		fail("I5: position %d follows %d", r.N, l.n())
	}
	if _, taken := l.index[op.Dot]; taken {
		fail("I2: %s stands twice", op.Dot)
	}
	if op.Seq != l.seqs[op.Actor]+1 {
		fail("I5: %s follows %d", op.Dot, l.seqs[op.Actor])
	}
	for _, dot := range append(slices.Clone(op.Seen), op.Ref) {
		if _, held := l.index[dot]; dot.Seq != 0 && !held {
			fail("I5: %s names %s, which does not precede it", op.Dot, dot)
		}
	}
	if op.Seq == 1 {
		l.chains[op.Actor] = crdt.ChainStart(l.session, op.Actor)
	}
	l.chains[op.Actor] = crdt.ChainSum(l.chains[op.Actor], op.Sum())
	l.seqs[op.Actor], l.index[op.Dot] = op.Seq, len(l.rows)
	l.rows, l.ops = append(l.rows, r), append(l.ops, op)
	return op
}

// holds reports whether the log has op, byte for byte.
func (l *ledger) holds(op *crdt.Op) bool {
	i, held := l.index[op.Dot]
	return held && l.ops[i].Sum() == op.Sum()
}

// promise is an operation that some device was told is in the log.
type promise struct {
	op  crdt.Op
	act int
	// Why the log may lack it after a restore: nobody has the bytes any more, or its author
	// could not send them as they were.
	gone    bool
	excused bool
}

// oracle knows what the world was promised.
type oracle struct {
	promises map[[32]byte]*promise
	order    []*promise // as they were made, for messages that do not depend on a map
	lines    map[crdt.Dot][][32]byte
	actOf    map[[32]byte]int
	origins  map[string]int
	saw      map[[32]byte]map[crdt.Dot][32]byte // by operation, what its author held under the names in it
	goneActs map[int]bool
	restored bool // a restored server lacked something
}

func (o *oracle) init() {
	*o = oracle{
		promises: map[[32]byte]*promise{}, lines: map[crdt.Dot][][32]byte{}, actOf: map[[32]byte]int{},
		origins: map[string]int{}, saw: map[[32]byte]map[crdt.Dot][32]byte{}, goneActs: map[int]bool{},
	}
}

// made notes that op is the doing of a numbered act, and what its author had seen.
func (w *world) made(d *device, op crdt.Op, act int) {
	w.oracle.lines[op.Dot] = append(w.oracle.lines[op.Dot], op.Sum())
	w.oracle.actOf[op.Sum()] = act
	w.oracle.origins[op.OriginHash()] = act
	saw := map[crdt.Dot][32]byte{}
	for _, dot := range op.Seen {
		if seen := d.find(dot); seen != nil {
			saw[dot] = seen.Sum()
		}
	}
	w.oracle.saw[op.Sum()] = saw
}

// again corrects what made has noted for an operation issued again: what its author has
// seen is what the original's author has.
func (w *world) again(d *device, original crdt.Op, renamed map[crdt.Dot]crdt.Dot) {
	claim := d.find(renamed[original.Dot])
	saw, before := w.oracle.saw[claim.Sum()], w.oracle.saw[original.Sum()]
	for _, dot := range original.Seen {
		if _, own := renamed[dot]; !own {
			saw[dot] = before[dot]
		}
	}
}

// witnessed checks that an operation replaces what its author had on screen, and not another
// that has come by the same name: a server that came back from a backup has forgotten a name,
// and another self of its author has used it again. A blind device cannot know: its author may
// not read, and what it sends waits in quarantine for somebody who looks at it.
func (w *world) witnessed(op *crdt.Op, blind bool) {
	for _, dot := range op.Seen {
		seen, known := w.oracle.saw[op.Sum()][dot]
		if known && w.ledger.ops[w.ledger.index[dot]].Sum() == seen {
			continue
		}
		if !blind {
			fail("I4: %s replaces %s, which its author has not seen", op.Dot, dot)
		}
		w.counts["blind devices that name another operation than they have seen"]++
	}
}

// told is a device learning that the log holds op.
func (w *world) told(d *device, op *crdt.Op, epoch int) {
	if epoch == w.ledger.epoch && !w.ledger.holds(op) {
		fail("I1: %s was told that the log holds %s, which it does not", d.name, op.Dot)
	}
	if w.oracle.promises[op.Sum()] == nil {
		p := &promise{op: *op, act: w.oracle.actOf[op.Sum()]}
		w.oracle.promises[op.Sum()] = p
		w.oracle.order = append(w.oracle.order, p)
	}
}

// survey notes, after something was forgotten, what nobody has any more.
func (w *world) survey() {
	held, acts := map[[32]byte]bool{}, map[int]bool{}
	for i := range w.ledger.ops {
		acts[w.oracle.actOf[w.ledger.ops[i].Sum()]] = true
	}
	for _, d := range w.devices {
		for _, h := range d.own {
			for i := range h.ops {
				if worded(&h.ops[i]) {
					held[h.ops[i].Sum()], acts[w.oracle.actOf[h.ops[i].Sum()]] = true, true
				}
			}
		}
	}
	for _, p := range w.oracle.order {
		if !w.ledger.holds(&p.op) && !held[p.op.Sum()] {
			p.gone = true
		}
		if !acts[p.act] {
			w.oracle.goneActs[p.act] = true
		}
	}
}

// reissued is a device giving up the bytes of operations. For those that the server has lost
// after it had acknowledged them the device needs a reason.
func (w *world) reissued(d *device, actor string, ops []crdt.Op, why *refusal) {
	w.counts["reissue after "+why.code]++
	w.note("  %s issues %d operations of %s again: %s", d.name, len(ops), actor, why.code)
	var given []*promise
	for i := range ops {
		if p := w.oracle.promises[ops[i].Sum()]; p != nil && !w.ledger.holds(&ops[i]) {
			given = append(given, p)
		}
	}
	if len(given) == 0 {
		return
	}
	switch why.code {
	case "fork":
		// Two histories of one actor: one of them has to give way. Or an earlier self has
		// written more than this one knows of.
		all := w.dotsOf(actor)
		if uint64(len(all)) <= d.own[actor].len() && !slices.ContainsFunc(all, func(dot crdt.Dot) bool { return len(w.oracle.lines[dot]) > 1 }) {
			fail("I1: %s gives up acknowledged operations of %s, which has one history", d.name, actor)
		}
	case "strange":
		if len(w.oracle.lines[why.dot]) < 2 {
			fail("I1: %s takes %s for another than it is", d.name, why.dot)
		}
	case "foreign":
		if w.known[actor] {
			fail("I1: the server does not know %s, which it has issued", actor)
		}
	case "erased":
		if worded(&ops[0]) {
			fail("I1: %s gives up %s, which it could send", d.name, why.dot)
		}
	case "stuck":
		if w.someoneHas(why.dot) {
			fail("stuck: %s waits for %s, which its author has and did not send", d.name, why.dot)
		}
	}
	for _, p := range given {
		p.excused = true
	}
}

func (w *world) dotsOf(actor string) (list []crdt.Dot) {
	for seq := uint64(1); len(w.oracle.lines[crdt.Dot{Actor: actor, Seq: seq}]) > 0; seq++ {
		list = append(list, crdt.Dot{Actor: actor, Seq: seq})
	}
	return list
}

func digestOf(doc *crdt.Doc) string {
	sum := doc.Digest()
	return hex.EncodeToString(sum[:])
}

// kept checks the promises in the end.
func (w *world) kept() {
	acts := map[int]bool{}
	for i := range w.ledger.ops {
		acts[w.oracle.actOf[w.ledger.ops[i].Sum()]] = true
	}
	for _, p := range w.oracle.order {
		switch {
		case !w.ledger.holds(&p.op) && !w.oracle.restored:
			fail("I1: %s was acknowledged and is not in the log", p.op.Dot)
		case !w.ledger.holds(&p.op) && !p.gone && !p.excused:
			fail("I1: %s was acknowledged before the restore and was not filled in again", p.op.Dot)
		case !acts[p.act] && !w.oracle.goneActs[p.act]:
			fail("I1: act %d, acknowledged as %s, is not in the log in any form", p.act, p.op.Dot)
		}
	}
}

// counting returns the operations of the log that count, by a direct reading of R9 and R12:
// what is not in quarantine or was admitted, and of an act issued again the original, else
// the claim with the least dot.
func (w *world) counting() map[crdt.Dot]*crdt.Op {
	l := &w.ledger
	effect := map[crdt.Dot]*crdt.Op{}
	for i, r := range l.rows {
		if r.Quarantined {
			continue
		}
		effect[l.ops[i].Dot] = &l.ops[i]
		if admits(&l.ops[i]) {
			for _, dot := range l.ops[i].Seen {
				effect[dot] = &l.ops[l.index[dot]]
			}
		}
	}
	first := map[int]*crdt.Op{} // of each act
	for _, op := range effect {
		act := w.oracle.actOf[op.Sum()]
		other := first[act]
		better := other == nil || op.Origin == "" && other.Origin != "" ||
			(op.Origin == "") == (other.Origin == "") && op.Dot.Compare(other.Dot) < 0
		if better {
			first[act] = op
		}
	}
	w.counts["operations issued again beside their original"] += len(effect) - len(first)
	count := map[crdt.Dot]*crdt.Op{}
	for _, op := range first {
		count[op.Dot] = op
	}
	return count
}

// right holds the server's document against a direct reading of the log: I4, and each act
// once.
func (w *world) right(doc *crdt.Doc) {
	count := w.counting()
	sums, killed, live := map[string]int64{}, map[crdt.Dot]bool{}, 0
	for _, op := range count {
		sums[op.Path] += op.N
		for _, dot := range op.Seen {
			if target := w.ledger.ops[w.ledger.index[dot]]; target.Path == op.Path {
				killed[dot] = true
			}
		}
	}
	elements := 0
	for _, op := range count {
		var entries []crdt.Entry
		switch op.Kind {
		case crdt.Put:
			entries = doc.Values(op.Path)
		case crdt.Ins:
			entries = doc.List(op.Path)
		default:
			continue
		}
		shown := slices.ContainsFunc(entries, func(e crdt.Entry) bool { return e.Dot == op.Dot })
		switch {
		case shown != !killed[op.Dot]:
			fail("I4: the value of %s: shown %t, replaced by an operation that names it %t", op.Dot, shown, killed[op.Dot])
		case shown && op.Kind == crdt.Put:
			live++
		case shown:
			elements++
		}
	}
	if live != doc.Live() || elements != len(doc.List(steps)) {
		fail("I4: %d values and %d elements are live, %d and %d of operations that count", doc.Live(), len(doc.List(steps)), live, elements)
	}
	for _, path := range slices.Sorted(maps.Keys(sums)) {
		if got, _ := doc.Counter(path); got != sums[path] {
			fail("every act counts once: counter %s is %d, the acts add up to %d", path, got, sums[path])
		}
	}
	for i, op := range w.ledger.ops {
		if w.oracle.actOf[op.Sum()] == 0 || !bytes.Equal(w.ledger.rows[i].Line, op.AppendJSON(nil)) {
			fail("I1: position %d holds what nobody recorded", i+1)
		}
	}
}

// someoneHas reports whether a tablet of the author's could send the operation named dot.
func (w *world) someoneHas(dot crdt.Dot) bool {
	return slices.ContainsFunc(w.devices, func(d *device) bool {
		h := d.own[dot.Actor]
		return h != nil && dot.Seq <= h.len() && worded(&h.ops[dot.Seq-1])
	})
}

// snapshotAt checks that a snapshot of the first rows and the rows behind it lead to the
// same document as all rows.
func (w *world) snapshotAt(cut int) {
	raw := rebuilt(w.ledger.rows[:cut]).AppendSnapshot(nil)
	doc, err := crdt.LoadSnapshot(raw)
	if err != nil {
		fail("I3: load snapshot: %v", err)
	}
	extend(doc, w.ledger.rows[cut:])
	w.settled(doc, "a snapshot and its tail")
}
