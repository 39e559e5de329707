package crdt

import (
	"crypto/sha256"
	"encoding/binary"
	"maps"
	"slices"
)

// snapshotMagic names the format. Another version gets another number; a reader that does
// not know it rebuilds from the log, which a snapshot only ever saves time over.
const snapshotMagic = "firemode crdt snapshot 1\n"

// AppendSnapshot appends the whole state, including what quarantined operations and
// operations issued again still need. Equal sets of operations give equal bytes. The last 32
// bytes are the SHA-256 of the rest.
func (d *Doc) AppendSnapshot(b []byte) []byte {
	w := snapshotWriter{b: append(b, snapshotMagic...), index: map[string]uint64{}}
	names := slices.Sorted(maps.Keys(d.actors))
	w.count(len(names))
	for i, name := range names {
		w.index[name] = uint64(i)
		a := d.actors[name]
		w.text(name)
		w.count(len(a.prints))
		for _, p := range a.prints {
			w.b = append(w.b, p[:]...)
		}
	}
	w.count(len(d.cells))
	for _, path := range slices.Sorted(maps.Keys(d.cells)) {
		entries := d.cells[path].inOrder()
		w.text(path)
		w.count(len(entries))
		for _, e := range entries {
			w.entry(e)
		}
	}
	w.count(len(d.counters))
	for _, path := range slices.Sorted(maps.Keys(d.counters)) {
		w.text(path)
		w.b = binary.AppendVarint(w.b, d.counters[path].sum)
		w.count(d.counters[path].steps)
	}
	w.count(len(d.lists))
	for _, path := range slices.Sorted(maps.Keys(d.lists)) {
		w.text(path)
		w.count(len(d.lists[path].byDot))
		for el := range d.lists[path].all() {
			w.entry(el.Entry)
			w.flag(el.ref.Seq != 0)
			if el.ref.Seq != 0 {
				w.dot(el.ref)
			}
			w.flag(el.hidden)
			w.dots(el.hiders)
		}
	}
	w.count(len(d.quarantined))
	for _, dot := range d.Quarantined() {
		q := d.quarantined[dot]
		w.text(string(q.op.AppendJSON(nil)))
		w.flag(q.replaced)
		w.dots(q.replacers)
	}
	w.flag(d.claims != nil)
	if d.claims != nil {
		w.claims(d.claims)
	}
	sum := sha256.Sum256(w.b[len(b):])
	return append(w.b, sum[:]...)
}

type snapshotWriter struct {
	b     []byte
	index map[string]uint64 // actor names are written once
}

func (w *snapshotWriter) count(n int) { w.b = binary.AppendUvarint(w.b, uint64(n)) }

func (w *snapshotWriter) flag(set bool) {
	if set {
		w.b = append(w.b, 1)
	} else {
		w.b = append(w.b, 0)
	}
}

func (w *snapshotWriter) text(s string) {
	w.count(len(s))
	w.b = append(w.b, s...)
}

func (w *snapshotWriter) dot(dot Dot) {
	w.b = binary.AppendUvarint(w.b, w.index[dot.Actor])
	w.b = binary.AppendUvarint(w.b, dot.Seq)
}

func (w *snapshotWriter) dots(dots []Dot) {
	dots = slices.Compact(slices.SortedFunc(slices.Values(dots), Dot.Compare))
	w.count(len(dots))
	for _, dot := range dots {
		w.dot(dot)
	}
}

func (w *snapshotWriter) entry(e Entry) {
	w.dot(e.Dot)
	w.b = binary.BigEndian.AppendUint64(w.b, uint64(e.Time))
	w.text(e.Val)
}

func (w *snapshotWriter) claims(c *claims) {
	var lines []string
	for _, ops := range c.counted {
		for _, o := range ops {
			lines = append(lines, string(o.AppendJSON(nil)))
		}
	}
	slices.Sort(lines)
	w.count(len(lines))
	for _, line := range lines {
		w.text(line)
	}
	shadows := slices.SortedFunc(maps.Values(c.shadows), func(a, b *shadow) int { return a.entry.Dot.Compare(b.entry.Dot) })
	w.count(len(shadows))
	for _, s := range shadows {
		w.text(s.path)
		w.entry(s.entry)
		w.dots(s.replacers)
	}
}
