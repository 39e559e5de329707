package crdt

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"strings"
)

// LoadSnapshot reads what AppendSnapshot wrote. Bytes that are damaged, of another version
// or not a state are refused with ErrSnapshot. The document keeps a copy of the values in
// one piece for as long as one of them is live.
func LoadSnapshot(raw []byte) (*Doc, error) {
	body := len(raw) - sha256.Size
	if body < len(snapshotMagic) || !bytes.HasPrefix(raw, []byte(snapshotMagic)) {
		return nil, ErrSnapshot
	}
	if sum := sha256.Sum256(raw[:body]); !bytes.Equal(sum[:], raw[body:]) {
		return nil, ErrSnapshot
	}
	r := snapshotReader{s: string(raw[len(snapshotMagic):body]), d: New()}
	r.actors()
	r.cells()
	r.counters()
	r.lists()
	r.quarantined()
	r.claims()
	if r.bad || r.s != "" {
		return nil, ErrSnapshot
	}
	return r.d, nil
}

// snapshotReader consumes s. After the first fault bad is set and every read gives zero, so
// that loops end and only LoadSnapshot has to look.
type snapshotReader struct {
	s     string
	d     *Doc
	names []string
	bad   bool
}

func (r *snapshotReader) fail() { r.bad, r.s = true, "" }

func (r *snapshotReader) uvarint() uint64 {
	head := r.s[:min(len(r.s), binary.MaxVarintLen64)]
	n, size := binary.Uvarint([]byte(head))
	if size <= 0 {
		r.fail()
		return 0
	}
	r.s = r.s[size:]
	return n
}

// count reads a number of things that take at least size bytes each, so that a damaged count
// cannot ask for memory the snapshot does not back.
func (r *snapshotReader) count(size int) int {
	n := r.uvarint()
	if n > uint64(len(r.s)/size) {
		r.fail()
		return 0
	}
	return int(n)
}

func (r *snapshotReader) take(n int) string {
	if n > len(r.s) {
		r.fail()
		return ""
	}
	s := r.s[:n]
	r.s = r.s[n:]
	return s
}

func (r *snapshotReader) text() string { return r.take(r.count(1)) }

func (r *snapshotReader) flag() bool {
	s := r.take(1)
	if s != "\x00" && s != "\x01" {
		r.fail()
	}
	return s == "\x01"
}

func (r *snapshotReader) path() string {
	path := r.text()
	if !ValidPath(path) {
		r.fail()
	}
	return path
}

// dot reads the name of an operation that is held.
func (r *snapshotReader) dot() Dot {
	i, seq := r.uvarint(), r.uvarint()
	if i >= uint64(len(r.names)) {
		r.fail()
		return Dot{}
	}
	dot := Dot{Actor: r.names[i], Seq: seq}
	if !r.d.Has(dot) {
		r.fail()
	}
	return dot
}

func (r *snapshotReader) dots() []Dot {
	n := r.count(2)
	if n == 0 {
		return nil
	}
	dots := make([]Dot, n)
	for i := range dots {
		dots[i] = r.dot()
	}
	return dots
}

func (r *snapshotReader) entry() Entry {
	e := Entry{Dot: r.dot()}
	if t := r.take(8); len(t) == 8 {
		e.Time = Time(binary.BigEndian.Uint64([]byte(t)))
	}
	e.Val = r.text()
	p := scanner{s: e.Val}
	if !IsRedacted(e.Val) && (p.value(1) != "" || p.i != len(e.Val)) {
		r.fail()
	}
	return e
}

func (r *snapshotReader) op() Op {
	line := []byte(r.text())
	o, err := ParseOp(line)
	if err != nil {
		// The whole sum of an erased operation's line is not kept; a document uses its print.
		if o, err = ParseRedacted(line, [sha256.Size]byte{}); err == nil && r.d.Has(o.Dot) {
			copy(o.sum[:], r.d.actors[o.Actor].prints[o.Seq-1][:])
		}
	}
	if err != nil || !r.d.Has(o.Dot) || r.d.actors[o.Actor].prints[o.Seq-1] != o.print() || len(r.d.missing(&o)) > 0 {
		r.fail()
	}
	return o
}

const printLen = len(print{})

func (r *snapshotReader) actors() {
	n := r.count(1 + printLen)
	r.d.actors = make(map[string]*actor, n)
	for range n {
		name := r.text()
		prints := make([]print, r.count(printLen))
		for i := range prints {
			copy(prints[i][:], r.take(printLen))
		}
		if !ValidActor(name) || r.d.actors[name] != nil || len(prints) == 0 {
			r.fail()
			return
		}
		name = strings.Clone(name)
		r.d.actors[name] = &actor{name: name, prints: prints}
		r.names = append(r.names, name)
		r.d.ops += len(prints)
	}
}

func (r *snapshotReader) cells() {
	n := r.count(3)
	r.d.cells, r.d.contested = make(map[string]*cell, n), map[string]*cell{}
	pool := make([]cell, n) // one piece: cells of a loaded document mostly live together
	for i := range n {
		path, live := r.path(), r.count(11)
		if live == 0 || r.d.cells[path] != nil {
			r.fail()
			return
		}
		c := &pool[i]
		c.path, c.live = path, c.first[:0]
		if live > 1 {
			c.live = make([]Entry, 0, live)
		}
		for range live {
			c.live = append(c.live, r.entry())
		}
		r.d.cells[path] = c
		r.d.settle(c, 0)
	}
}

func (r *snapshotReader) counters() {
	n := r.count(3)
	for range n {
		path := r.path()
		sum, size := binary.Varint([]byte(r.s[:min(len(r.s), binary.MaxVarintLen64)]))
		if size <= 0 {
			r.fail()
			return
		}
		r.s = r.s[size:]
		steps := int(min(r.uvarint(), uint64(r.d.ops)+1))
		if steps == 0 || steps > r.d.ops || r.d.counters[path] != nil {
			r.fail()
			return
		}
		r.d.count(path, sum, steps)
	}
}

func (r *snapshotReader) lists() {
	for range r.count(2) {
		path, n := r.path(), r.count(13)
		if n == 0 || r.d.lists[path] != nil {
			r.fail()
			return
		}
		for range n {
			o := Op{Path: path}
			e := r.entry()
			if r.flag() {
				o.Ref = r.dot()
			}
			prior := absent{replaced: r.flag(), replacers: r.dots()}
			l := r.d.lists[path]
			if r.bad || l != nil && l.byDot[e.Dot] != nil {
				r.fail()
				return
			}
			r.d.insert(&o, e, nil)
			el := r.d.lists[path].byDot[e.Dot]
			el.hidden, el.hiders = prior.replaced, prior.replacers
		}
	}
}

func (r *snapshotReader) quarantined() {
	for range r.count(3) {
		o := r.op()
		q := &absent{op: o, replaced: r.flag(), replacers: r.dots()}
		if r.bad || r.d.quarantined[o.Dot] != nil {
			r.fail()
			return
		}
		r.d.withhold(&o)
		r.d.quarantined[o.Dot] = q
	}
}

func (r *snapshotReader) claims() {
	if !r.flag() {
		return
	}
	c := r.d.newClaims()
	r.d.claims = c
	counted := map[Dot]bool{}
	for range r.count(1) {
		o := r.op()
		if r.bad || o.Origin == "" || counted[o.Dot] || !r.inEffect(&o) {
			r.fail()
			return
		}
		counted[o.Dot] = true
		origin := originPrint(o.Origin)
		c.counted[origin] = append(c.counted[origin], &o)
	}
	for range r.count(12) {
		s := &shadow{path: r.path(), entry: r.entry(), replacers: r.dots()}
		if r.bad || len(s.replacers) == 0 || c.shadows[s.entry.Dot] != nil {
			r.fail()
			return
		}
		c.shadows[s.entry.Dot] = s
	}
}

// inEffect reports whether withdrawing a claim would find what it did.
func (r *snapshotReader) inEffect(o *Op) bool {
	switch o.Kind {
	case Inc:
		return r.d.counters[o.Path] != nil
	case Ins:
		l := r.d.lists[o.Path]
		return l != nil && l.byDot[o.Dot] != nil
	}
	return true
}
