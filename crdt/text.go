package crdt

import (
	"crypto/sha256"
	"maps"
	"slices"
	"strconv"
)

// Text returns the canonical rendering: equal sets of operations give equal bytes in every
// implementation (R11). One line each, in this order, paths and actors in byte order:
//
//	c path dot value    live value of a cell, best first
//	n path sum          counter
//	l path dot value    visible list element, in list order
//	q dot               quarantined operation
//	v actor count       operations held
func (d *Doc) Text() []byte {
	var b []byte
	for _, path := range slices.Sorted(maps.Keys(d.cells)) {
		b = appendEntries(b, 'c', path, d.cells[path].inOrder())
	}
	for _, path := range slices.Sorted(maps.Keys(d.counters)) {
		b = append(b, 'n', ' ')
		b = append(b, path...)
		b = append(b, ' ')
		b = strconv.AppendInt(b, d.counters[path].sum, 10)
		b = append(b, '\n')
	}
	for _, path := range slices.Sorted(maps.Keys(d.lists)) {
		b = appendEntries(b, 'l', path, d.List(path))
	}
	for _, dot := range d.Quarantined() {
		b = append(b, 'q', ' ')
		b = dot.appendTo(b)
		b = append(b, '\n')
	}
	for _, name := range slices.Sorted(maps.Keys(d.actors)) {
		b = append(b, 'v', ' ')
		b = append(b, name...)
		b = append(b, ' ')
		b = strconv.AppendInt(b, int64(len(d.actors[name].prints)), 10)
		b = append(b, '\n')
	}
	return b
}

func appendEntries(b []byte, kind byte, path string, entries []Entry) []byte {
	for _, e := range entries {
		b = append(b, kind, ' ')
		b = append(b, path...)
		b = append(b, ' ')
		b = e.Dot.appendTo(b)
		b = append(b, ' ')
		b = append(b, e.Val...)
		b = append(b, '\n')
	}
	return b
}

// Digest returns the SHA-256 of Text. Its cost grows with the document.
func (d *Doc) Digest() [32]byte { return sha256.Sum256(d.Text()) }
