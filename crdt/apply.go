package crdt

import "strings"

// Apply adds an operation from ParseOp or Encode, and reports whether it was new. An
// operation already held changes nothing and is no error, except that its value goes when it is
// told again without (R13). On any error nothing was changed:
//
//	*GapError      the actor's previous operation is not held: ask for it
//	*MissingError  an operation it names is not held: ask for that
//	*ForkError     its dot is held for other bytes: the sender takes a new actor id
//
// Storing a value allocates only when the path is new or more values are live there than
// ever before.
func (d *Doc) Apply(o *Op) (bool, error) { return d.join(o, false) }

// join takes o into the set (R2, R3), and into effect unless it is quarantined.
func (d *Doc) join(o *Op, quarantine bool) (bool, error) {
	if o.Seq == 0 {
		return false, refuse("seq below 1")
	}
	p := o.print()
	a := d.actors[o.Actor]
	var held uint64
	if a != nil {
		held = uint64(len(a.prints))
	}
	if o.Seq <= held {
		if a.prints[o.Seq-1] != p {
			return false, &ForkError{Dot: o.Dot}
		}
		if IsRedacted(o.Val) {
			return false, d.Redact(o.Dot)
		}
		return false, nil
	}
	if o.Seq != held+1 {
		return false, &GapError{Actor: o.Actor, Want: held + 1}
	}
	if missing := d.missing(o); missing != nil {
		return false, &MissingError{Dots: missing}
	}
	if a == nil {
		a = d.addActor(o.Actor)
	}
	a.prints = append(a.prints, p)
	d.ops++
	if quarantine {
		d.withhold(o)
		return true, nil
	}
	d.enact(o, a.name, nil)
	return true, nil
}

// Compare reports a *ForkError when o's dot is held for other bytes, and changes nothing.
func (d *Doc) Compare(o *Op) error {
	if a := d.actors[o.Actor]; a != nil && o.Seq > 0 && o.Seq <= uint64(len(a.prints)) && a.prints[o.Seq-1] != o.print() {
		return &ForkError{Dot: o.Dot}
	}
	return nil
}

func (o *Op) print() print {
	sum := o.Sum()
	return print(sum[:len(print{})])
}

func (d *Doc) missing(o *Op) (dots []Dot) {
	for _, x := range o.Seen {
		if !d.Has(x) && len(dots) < MissingMax {
			dots = append(dots, x)
		}
	}
	if o.Ref.Seq != 0 && !d.Has(o.Ref) {
		dots = append(dots, o.Ref)
	}
	return dots
}

func (d *Doc) addActor(name string) *actor {
	if d.actors == nil {
		d.actors = map[string]*actor{}
	}
	// A name of its own, so that no line stays in memory for the sake of it.
	a := &actor{name: strings.Clone(name)}
	d.actors[a.name] = a
	return a
}

// enact brings o into effect, unless another operation counts in its place (R12). actor is
// the document's own copy of the name; prior is set for an operation that was quarantined.
func (d *Doc) enact(o *Op, actor string, prior *absent) {
	counts := true
	if o.Origin != "" || d.claims != nil {
		counts = d.admitClaim(o)
	}
	if prior != nil {
		// Not before: a claim withdrawn just now may have replaced o in quarantine.
		delete(d.quarantined, o.Dot)
	}
	if !counts {
		return
	}
	e := Entry{Dot: Dot{Actor: actor, Seq: o.Seq}, Time: o.Time, Val: o.Val}
	switch o.Kind {
	case Put, Rem:
		d.write(o, e, prior)
	case Inc:
		d.count(o.Path, o.N, 1)
	case Ins:
		d.insert(o, e, prior)
	}
}

// write replaces what o has seen and, for a put, adds its value (R4). A rem also hides list
// elements (R6).
func (d *Doc) write(o *Op, e Entry, prior *absent) {
	c := d.cells[o.Path]
	before := 0
	if c != nil {
		before = len(c.live)
	}
	if len(o.Seen) > 0 {
		if o.Kind == Rem {
			d.hide(o)
		}
		if d.claims != nil || len(d.quarantined) > 0 {
			d.replaceTracked(o, c)
		} else if before > 0 {
			c.live = d.without(c.live, o.Seen)
		}
	}
	if o.Kind == Put && !d.replacedBefore(o, e, prior) {
		if c == nil {
			c = d.addCell(o.Path)
		}
		c.live = append(c.live, e)
		if len(c.live) == 2 {
			c.first[0] = Entry{} // the values have moved; let go of the old copy
		}
	}
	if c != nil {
		d.settle(c, before)
	}
}

func (d *Doc) addCell(path string) *cell {
	if d.cells == nil {
		d.cells = map[string]*cell{}
		d.contested = map[string]*cell{}
	}
	c := &cell{path: strings.Clone(path)}
	c.live = c.first[:0]
	d.cells[c.path] = c
	return c
}

// settle keeps the counts and sets right after c went from before to its present values.
func (d *Doc) settle(c *cell, before int) {
	now := len(c.live)
	d.live += now - before
	if now == 0 {
		delete(d.cells, c.path)
	}
	if now > 1 && before <= 1 {
		d.contested[c.path] = c
	} else if now <= 1 && before > 1 {
		delete(d.contested, c.path)
	}
}

// replaceManyMin is the number of comparisons above which a set of dots is cheaper.
const replaceManyMin = 256

// without removes the entries named in seen, in place and without keeping their order.
func (d *Doc) without(live []Entry, seen []Dot) []Entry {
	if len(seen)*len(live) <= replaceManyMin {
		for _, x := range seen {
			if i := indexOf(live, x); i >= 0 {
				live = removeAt(live, i)
			}
		}
		return live
	}
	if d.scratch == nil {
		d.scratch = make(map[Dot]struct{}, len(seen))
	}
	clear(d.scratch)
	for _, x := range seen {
		d.scratch[x] = struct{}{}
	}
	kept := live[:0]
	for _, e := range live {
		if _, gone := d.scratch[e.Dot]; !gone {
			kept = append(kept, e)
		}
	}
	clear(live[len(kept):])
	return kept
}

func indexOf(entries []Entry, dot Dot) int {
	for i := range entries {
		if entries[i].Seq == dot.Seq && entries[i].Actor == dot.Actor {
			return i
		}
	}
	return -1
}

// removeAt fills the hole with the last entry and lets go of its texts.
func removeAt(entries []Entry, i int) []Entry {
	last := len(entries) - 1
	entries[i] = entries[last]
	entries[last] = Entry{}
	return entries[:last]
}

// count adds n to a counter (R5); steps is 1 for an increment and -1 for its withdrawal.
func (d *Doc) count(path string, n int64, steps int) {
	c := d.counters[path]
	if c == nil {
		if d.counters == nil {
			d.counters = map[string]*counter{}
		}
		c = &counter{}
		d.counters[strings.Clone(path)] = c
	}
	c.sum += n
	c.steps += steps
	if c.steps == 0 {
		delete(d.counters, path)
	}
}
