package crdt

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
)

// A VersionVector maps an actor to the number of its operations held, which are always its
// first ones. Absent and zero mean the same. The nil map may be read. Not safe for
// concurrent writing.
type VersionVector map[string]uint64

// Has reports whether the operation named d is covered.
func (v VersionVector) Has(d Dot) bool { return d.Seq != 0 && d.Seq <= v[d.Actor] }

// Merge raises v to cover everything w covers. v MUST NOT be nil unless w is empty.
func (v VersionVector) Merge(w VersionVector) {
	for actor, seq := range w {
		if seq > v[actor] {
			v[actor] = seq
		}
	}
}

// An Ordering is how one version relates to another.
type Ordering int

// The four answers of Compare.
const (
	Equal      Ordering = iota
	Before              // strictly less is covered
	After               // strictly more is covered
	Concurrent          // each side covers something the other does not
)

// String returns the answer in lower case.
func (o Ordering) String() string {
	switch o {
	case Equal:
		return "equal"
	case Before:
		return "before"
	case After:
		return "after"
	case Concurrent:
		return "concurrent"
	}
	return "ordering(" + strconv.Itoa(int(o)) + ")"
}

// Compare says how v relates to w.
func (v VersionVector) Compare(w VersionVector) Ordering {
	var less, more bool
	for actor, seq := range v {
		more = more || seq > w[actor]
	}
	for actor, seq := range w {
		less = less || seq > v[actor]
	}
	switch {
	case less && more:
		return Concurrent
	case less:
		return Before
	case more:
		return After
	}
	return Equal
}

// AppendJSON appends the canonical form: one object, actors in byte order, zeros left out.
func (v VersionVector) AppendJSON(b []byte) []byte {
	actors := make([]string, 0, len(v))
	for actor, seq := range v {
		if seq != 0 {
			actors = append(actors, actor)
		}
	}
	slices.Sort(actors)
	b = append(b, '{')
	for i, actor := range actors {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, actor)
		b = append(b, ':')
		b = strconv.AppendUint(b, v[actor], 10)
	}
	return append(b, '}')
}

// MarshalJSON writes what AppendJSON writes.
func (v VersionVector) MarshalJSON() ([]byte, error) { return v.AppendJSON(nil), nil }

// UnmarshalJSON reads a JSON object of actors and counts in any layout; null gives an
// empty vector. An invalid actor or a count outside 0..IntMax is refused with ErrFormat.
func (v *VersionVector) UnmarshalJSON(raw []byte) error {
	var m map[string]uint64
	if err := json.Unmarshal(raw, &m); err != nil {
		return fmt.Errorf("%w: version vector: %w", ErrFormat, err)
	}
	for actor, seq := range m {
		if !ValidActor(actor) {
			return refuse("version vector: bad actor")
		}
		if seq > IntMax {
			return refuse("version vector: count too large")
		}
		if seq == 0 {
			delete(m, actor)
		}
	}
	if m == nil {
		m = map[string]uint64{}
	}
	*v = m
	return nil
}
