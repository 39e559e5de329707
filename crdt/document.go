package crdt

import (
	"cmp"
	"iter"
	"maps"
	"slices"
	"strings"
)

// An Entry is one value in a cell or list with the operation that wrote it. Val is
// canonical JSON text; show it to clients through RenderJSON.
type Entry struct {
	Dot
	Time Time
	Val  string
}

// Compare orders concurrent entries, best first (R7): the later time, then the greater
// actor, then the greater seq. It is negative when e comes before f.
func (e Entry) Compare(f Entry) int {
	if c := cmp.Compare(f.Time, e.Time); c != 0 {
		return c
	}
	return f.Dot.Compare(e.Dot)
}

// print is the half of a line's SHA-256 by which the document tells operations apart: for
// forks (R2) and for originals of operations issued again (R12).
type print [16]byte

// actor holds what is known of one actor's operations: print i belongs to seq i+1.
type actor struct {
	name   string
	prints []print
}

type cell struct {
	path  string
	live  []Entry
	first [1]Entry // most cells hold one value: no second allocation for it
}

type counter struct {
	sum   int64
	steps int // increments in effect; none means the counter does not exist
}

// A Doc is the state reached by a set of operations. It depends on the set alone, not on
// the order of arrival. The zero Doc is empty and ready. One goroutine may write, or many
// may read, not both at once.
type Doc struct {
	actors   map[string]*actor
	cells    map[string]*cell
	counters map[string]*counter
	lists    map[string]*list

	contested   map[string]*cell // cells with two or more live entries
	quarantined map[Dot]*absent  // R9
	claims      *claims          // R12; nil until the first operation issued again
	scratch     map[Dot]struct{} // reused by large replacements
	live        int              // live entries over all cells
	ops         int              // operations held
}

// New returns an empty document.
func New() *Doc { return &Doc{} }

// Has reports whether the operation named dot is held, in effect or not.
func (d *Doc) Has(dot Dot) bool {
	a := d.actors[dot.Actor]
	return a != nil && dot.Seq != 0 && dot.Seq <= uint64(len(a.prints))
}

// Held returns how many operations of actor are held: its next one has the seq above.
func (d *Doc) Held(actor string) uint64 {
	if a := d.actors[actor]; a != nil {
		return uint64(len(a.prints))
	}
	return 0
}

// Ops returns how many operations are held, and Live how many values are live in cells.
func (d *Doc) Ops() int { return d.ops }

// Live returns how many values are live over all cells.
func (d *Doc) Live() int { return d.live }

// Version returns what is held. The vector is the caller's own.
func (d *Doc) Version() VersionVector {
	v := make(VersionVector, len(d.actors))
	for name, a := range d.actors {
		v[name] = uint64(len(a.prints))
	}
	return v
}

// Values returns the live entries of a cell, best first; none for an unknown path. More
// than one distinct value means that writers did not see each other: show them all.
func (d *Doc) Values(path string) []Entry {
	c := d.cells[path]
	if c == nil {
		return nil
	}
	entries := slices.Clone(c.live)
	slices.SortFunc(entries, Entry.Compare)
	return entries
}

// inOrder returns the live entries best first, for reading at once: it may be the cell's own.
func (c *cell) inOrder() []Entry {
	if len(c.live) == 1 {
		return c.live
	}
	entries := slices.Clone(c.live)
	slices.SortFunc(entries, Entry.Compare)
	return entries
}

// Covered returns the dots of the live entries at path that v covers, best first: what an
// author who had seen v replaces by writing there.
func (d *Doc) Covered(path string, v VersionVector) []Dot {
	var dots []Dot
	for _, e := range d.Values(path) {
		if v.Has(e.Dot) {
			dots = append(dots, e.Dot)
		}
	}
	return dots
}

// Counter returns the sum at path, and whether anything was counted there.
func (d *Doc) Counter(path string) (int64, bool) {
	if c := d.counters[path]; c != nil {
		return c.sum, true
	}
	return 0, false
}

// List returns the visible elements of the list at path in order.
func (d *Doc) List(path string) []Entry {
	if l := d.lists[path]; l != nil {
		return l.visible()
	}
	return nil
}

// Paths yields in byte order every path that begins with prefix and holds a cell, a counter
// or a list; each once. The document MUST NOT change meanwhile.
func (d *Doc) Paths(prefix string) iter.Seq[string] {
	return func(yield func(string) bool) {
		paths := d.paths(prefix)
		slices.Sort(paths)
		for _, p := range slices.Compact(paths) {
			if !yield(p) {
				return
			}
		}
	}
}

// paths returns the paths in use with repeats, unsorted.
func (d *Doc) paths(prefix string) []string {
	paths := make([]string, 0, len(d.cells)+len(d.counters)+len(d.lists))
	keep := func(seq iter.Seq[string]) {
		for p := range seq {
			if strings.HasPrefix(p, prefix) {
				paths = append(paths, p)
			}
		}
	}
	keep(maps.Keys(d.cells))
	keep(maps.Keys(d.counters))
	keep(maps.Keys(d.lists))
	return paths
}

// Conflicts returns in byte order the paths of cells with more than one distinct live
// value, whatever the policy of the field. Schema.Conflicts leaves out the fields that are
// meant to gather values, such as notes.
func (d *Doc) Conflicts() []string {
	var paths []string
	for path, c := range d.contested {
		if distinct(c.live) {
			paths = append(paths, path)
		}
	}
	slices.Sort(paths)
	return paths
}

// distinct reports whether entries hold more than one value. An erased one is the value that
// its print is of.
func distinct(entries []Entry) bool {
	for _, e := range entries[min(1, len(entries)):] {
		if !sameValue(e.Val, entries[0].Val) {
			return true
		}
	}
	return false
}
