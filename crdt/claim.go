package crdt

import (
	"encoding/hex"
	"slices"
)

// claims is the bookkeeping for operations issued again (R12). An operation with an origin
// is a claim; at most one operation per act counts, and which one can change when another
// arrives. So what a claim does is kept such that it can be taken back.
type claims struct {
	byPrint map[print]struct{} // every operation held and not quarantined
	counted map[print][]*Op    // by origin: the claims in effect, one per distinct act
	shadows map[Dot]*shadow    // values replaced by claims only
}

// shadow is a value that comes back if all its replacers stop counting.
type shadow struct {
	path      string
	entry     Entry
	replacers []Dot
}

// Claimed reports whether an operation was issued again (R12): from then on an operation may
// change what others do.
func (d *Doc) Claimed() bool { return d.claims != nil }

// admitClaim records an operation that is coming into effect, withdraws the claims it
// supersedes and reports whether it counts itself.
func (d *Doc) admitClaim(o *Op) bool {
	if d.claims == nil {
		d.claims = d.newClaims()
	}
	c := d.claims
	p := o.print()
	c.byPrint[p] = struct{}{}
	for _, superseded := range c.counted[p] {
		d.withdraw(superseded)
	}
	delete(c.counted, p)
	if o.Origin == "" {
		return true
	}
	origin := originPrint(o.Origin)
	if _, held := c.byPrint[origin]; held {
		return false
	}
	rivals := c.counted[origin]
	for i, rival := range rivals {
		if !sameAct(rival, o) {
			continue
		}
		if rival.Dot.Compare(o.Dot) < 0 {
			return false
		}
		d.withdraw(rival)
		rivals = slices.Delete(rivals, i, i+1)
		break
	}
	kept := *o
	c.counted[origin] = append(rivals, &kept)
	return true
}

// newClaims indexes the operations held so far. Most documents never need it.
func (d *Doc) newClaims() *claims {
	c := &claims{byPrint: make(map[print]struct{}, d.ops), counted: map[print][]*Op{}, shadows: map[Dot]*shadow{}}
	for _, a := range d.actors {
		for i, p := range a.prints {
			if _, out := d.quarantined[Dot{Actor: a.name, Seq: uint64(i + 1)}]; !out {
				c.byPrint[p] = struct{}{}
			}
		}
	}
	return c
}

// sameAct reports whether two claims of one origin say the same. Without this check anyone
// could silence an operation issued again by claiming its origin with a lesser dot.
func sameAct(a, b *Op) bool {
	return a.Kind == b.Kind && a.Path == b.Path && sameValue(a.Val, b.Val) && a.N == b.N
}

func originPrint(origin string) (p print) {
	if n, err := hex.Decode(p[:], []byte(origin)); err != nil || n != len(p) {
		panic("crdt: internal error: origin not checked")
	}
	return p
}

// replaceTracked is the replacing half of write where claims or quarantined operations are
// about: what a claim replaces is kept, and what is replaced in quarantine is remembered.
func (d *Doc) replaceTracked(o *Op, c *cell) {
	claim := o.Origin != ""
	if c != nil && !claim {
		c.live = d.without(c.live, o.Seen)
	}
	for _, x := range o.Seen {
		if c != nil && claim {
			if i := indexOf(c.live, x); i >= 0 {
				d.claims.shadows[x] = &shadow{path: o.Path, entry: c.live[i], replacers: []Dot{o.Dot}}
				c.live = removeAt(c.live, i)
				continue
			}
		}
		if d.claims != nil {
			if s := d.claims.shadows[x]; s != nil && s.path == o.Path {
				if claim {
					s.replacers = append(s.replacers, o.Dot)
				} else {
					delete(d.claims.shadows, x)
				}
				continue
			}
		}
		if q := d.quarantined[x]; q != nil && q.replaceableBy(o) {
			if claim {
				q.replacers = append(q.replacers, o.Dot)
			} else {
				q.replaced = true
			}
		}
	}
}

// replaceableBy reports whether o, which names q's dot, replaces its value (R4) or hides its
// element (R6).
func (q *absent) replaceableBy(o *Op) bool {
	return q.op.Path == o.Path && (q.op.Kind == Put || q.op.Kind == Ins && o.Kind == Rem)
}

// replacedBefore reports whether an admitted put was replaced while it was quarantined.
func (d *Doc) replacedBefore(o *Op, e Entry, prior *absent) bool {
	if prior == nil {
		return false
	}
	if !prior.replaced && len(prior.replacers) > 0 {
		d.claims.shadows[e.Dot] = &shadow{path: o.Path, entry: e, replacers: prior.replacers}
	}
	return prior.replaced || len(prior.replacers) > 0
}

// withdraw takes back everything a claim did.
func (d *Doc) withdraw(o *Op) {
	for _, x := range o.Seen {
		if s := d.claims.shadows[x]; s != nil { // o is among its replacers only if the paths agree
			if s.replacers = dropDot(s.replacers, o.Dot); len(s.replacers) == 0 {
				delete(d.claims.shadows, x)
				d.restore(s)
			}
		}
		if q := d.quarantined[x]; q != nil {
			q.replacers = dropDot(q.replacers, o.Dot)
		}
	}
	switch o.Kind {
	case Put:
		delete(d.claims.shadows, o.Dot)
		if c := d.cells[o.Path]; c != nil {
			if i := indexOf(c.live, o.Dot); i >= 0 {
				before := len(c.live)
				c.live = removeAt(c.live, i)
				d.settle(c, before)
			}
		}
	case Rem:
		d.unhide(o)
	case Inc:
		d.count(o.Path, -o.N, -1)
	case Ins:
		d.remove(o)
	}
}

func (d *Doc) restore(s *shadow) {
	c := d.cells[s.path]
	if c == nil {
		c = d.addCell(s.path)
	}
	before := len(c.live)
	c.live = append(c.live, s.entry)
	d.settle(c, before)
}
