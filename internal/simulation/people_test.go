package simulation

import (
	"math/rand/v2"
	"slices"
	"strconv"

	"firemode/crdt"
	"firemode/merge"
)

// record writes a new operation of d. seen and the like come from what the view shows.
func (w *world) record(d *device, op crdt.Op, act int) crdt.Dot {
	h := w.history(d, d.actor)
	op.Dot = crdt.Dot{Actor: d.actor, Seq: h.len() + 1}
	if op.Time == 0 {
		op.Time = d.clock.Next()
	}
	line, parsed, err := op.Encode()
	if err != nil {
		fail("a device made what it cannot encode: %v", err)
	}
	w.made(d, parsed, act)
	h.add(line, parsed)
	if _, err := d.view.Apply(&parsed); err != nil {
		d.behind = true
	}
	return op.Dot
}

const (
	cells, counters = 3, 2
	steps           = "steps" // the list
)

// write is one to three acts of d's user.
func (w *world) write(d *device, r *rand.Rand) {
	for range 1 + r.IntN(3) {
		w.acts++
		act := w.acts
		switch p := r.IntN(20); {
		case p < 8:
			path := "items/FE-" + strconv.Itoa(r.IntN(cells)) + "/result"
			w.record(d, crdt.Op{Kind: crdt.Put, Path: path, Val: strconv.Itoa(r.IntN(3)), Seen: someOf(r, dots(d.view.Values(path)))}, act)
		case p < 14:
			path := "heads/" + strconv.Itoa(r.IntN(counters))
			w.record(d, crdt.Op{Kind: crdt.Inc, Path: path, N: int64(1 + r.IntN(9))}, act)
		case p < 17:
			op := crdt.Op{Kind: crdt.Ins, Path: steps, Val: strconv.Itoa(act)}
			if list := d.view.List(steps); len(list) > 0 && r.IntN(4) > 0 {
				op.Ref = list[r.IntN(len(list))].Dot
			}
			w.record(d, op, act)
		default:
			path := "items/FE-" + strconv.Itoa(r.IntN(cells)) + "/result"
			seen := dots(d.view.Values(path))
			if r.IntN(3) == 0 {
				path, seen = steps, dots(d.view.List(steps))
			}
			if seen = someOf(r, seen); len(seen) > 0 {
				w.record(d, crdt.Op{Kind: crdt.Rem, Path: path, Seen: seen}, act)
			}
		}
	}
}

func dots(entries []crdt.Entry) (list []crdt.Dot) {
	for _, e := range entries {
		list = append(list, e.Dot)
	}
	return list
}

// someOf mostly returns all of list, as an honest form does, sometimes a part of it.
func someOf(r *rand.Rand, list []crdt.Dot) []crdt.Dot {
	if r.IntN(4) == 0 {
		return list[:r.IntN(len(list)+1)]
	}
	return list
}

// admit lets a supervisor admit some of what others have in quarantine, as far as d knows.
func (w *world) admit(d *device, r *rand.Rand) {
	seen := slices.DeleteFunc(d.view.Quarantined(), func(dot crdt.Dot) bool { return w.owner[dot.Actor] == d.user })
	if seen = someOf(r, seen); len(seen) == 0 {
		return
	}
	w.acts++
	w.record(d, crdt.Op{Kind: crdt.Put, Path: merge.AdmittedPath, Val: `{"reason":"looked at"}`, Seen: seen}, w.acts)
}
