package simulation

import (
	"maps"
	"slices"

	"firemode/crdt"
)

// meet is another epoch than before: the server came back from a backup.
func (w *world) meet(d *device, epoch int) {
	first := d.epoch < 0
	d.epoch, d.denied = epoch, false
	if first || w.broken.noRefill {
		d.rows = d.rows[:0:0]
		w.redraw(d)
		return
	}
	if d.former == nil {
		d.former, d.strange = map[crdt.Dot][32]byte{}, map[crdt.Dot]bool{}
	}
	for _, row := range d.rows {
		op := parseRow(row)
		d.former[op.Dot] = op.Sum()
	}
	d.rows = nil
	if !w.broken.hasty {
		d.met = map[crdt.Dot]bool{}
	}
	for _, h := range d.own {
		h.acked, h.stop, h.blocked = 0, 0, false
	}
	w.redraw(d)
}

// estranged is a name that d has used for something else: a server that came back from a
// backup forgot it, and another self of its author used it again. What d has recorded must
// not replace what d has never seen.
func (w *world) estranged(d *device, dot crdt.Dot) {
	d.strange[dot] = true
	for _, actor := range slices.Sorted(maps.Keys(d.own)) {
		h := d.own[actor]
		if slices.ContainsFunc(h.ops[h.acked:], func(op crdt.Op) bool { return slices.Contains(op.Seen, dot) || op.Ref == dot }) {
			w.renew(d, actor, &refusal{code: "strange", dot: dot})
		}
	}
}

// renew gives d a new actor id, if actor is the one it writes under, and issues again what
// the log is not known to hold of actor's operations.
func (w *world) renew(d *device, actor string, why *refusal) {
	h := w.history(d, actor)
	again := slices.Clone(h.ops[h.acked:])
	w.reissued(d, actor, again, why)
	h.cut(h.acked)
	if actor == d.actor {
		d.actor = w.newActor(d.user)
	}
	w.redraw(d)
	reached, renamed := rebuilt(d.rows), map[crdt.Dot]crdt.Dot{}
	for _, op := range again {
		claim, worth := op.Reissue(crdt.Dot{}, d.clock.Next(), func(dot crdt.Dot) (crdt.Dot, bool) {
			if name, is := renamed[dot]; is {
				return name, true
			}
			return dot, reached.Has(dot) && !d.strange[dot]
		})
		act := w.oracle.origins[claim.Origin]
		if w.broken.noOrigin {
			claim.Origin = ""
		}
		if !worth {
			w.oracle.goneActs[act] = true // a removal of what never arrived, or an erased value
			if worded(&op) {
				w.counts["removals of nothing"]++
			}
			continue
		}
		renamed[op.Dot] = w.record(d, claim, act)
		w.again(d, op, renamed)
	}
}
