package crdt

import (
	"cmp"
	"slices"
	"strings"
)

// A View is a cell as its policy shows it. Value is canonical JSON text, empty when there is
// nothing to show: no live value, or a conflict under MV. Entries are all live values, best
// first, whatever Value shows. Conflict is true when more than one distinct value is live
// under a policy for one value.
type View struct {
	Path     string
	Policy   Policy
	Value    string
	Conflict bool
	Entries  []Entry
}

// Resolve reads the cell at path. It is a function of the live values and never writes.
func (s *Schema) Resolve(d *Doc, path string) View {
	return s.view(path, d.Values(path))
}

// view reads the entries of the cell at path, which are in order.
func (s *Schema) view(path string, entries []Entry) View {
	rule := s.rule(path)
	v := View{Path: path, Policy: rule.Policy, Entries: entries}
	if len(entries) == 0 {
		return v
	}
	v.Conflict = !rule.Policy.gathers() && distinct(v.Entries)
	if rule.Policy == Log {
		vals := values(v.Entries)
		slices.Reverse(vals)
		v.Value = array(vals)
		return v
	}
	entries = readable(entries)
	switch rule.Policy {
	case MV:
		if !v.Conflict {
			v.Value = entries[0].Val
		}
	case LWW:
		v.Value = entries[0].Val
	case Worst:
		v.Value = best(entries, func(a, b string) bool { return rule.badness(a) < rule.badness(b) })
	case Any:
		v.Value = best(entries, func(a, b string) bool { return a == "true" && b != "true" })
	case Min:
		v.Value = best(entries, func(a, b string) bool { return compareValues(a, b) < 0 })
	case Max:
		v.Value = best(entries, func(a, b string) bool { return compareValues(a, b) > 0 })
	case Union:
		vals := values(entries)
		slices.Sort(vals)
		v.Value = array(slices.Compact(vals))
	}
	return v
}

// readable leaves out the prints of values that another entry still has: a value and its print
// are one value, and it is erased only if it is erased in every entry.
func readable(entries []Entry) []Entry {
	if !slices.ContainsFunc(entries, func(e Entry) bool { return IsRedacted(e.Val) }) {
		return entries
	}
	prints := map[string]struct{}{}
	for _, e := range entries {
		if !IsRedacted(e.Val) {
			prints[Redacted(e.Val)] = struct{}{}
		}
	}
	return slices.DeleteFunc(slices.Clone(entries), func(e Entry) bool {
		_, double := prints[e.Val]
		return double
	})
}

// Contention says what Resolve does about a conflict, without putting the values in order: the
// policy of path, the number of values, and whether they are in conflict.
func (s *Schema) Contention(d *Doc, path string) (Policy, int, bool) {
	policy := s.rule(path).Policy
	c := d.cells[path]
	if c == nil {
		return policy, 0, false
	}
	return policy, len(c.live), !policy.gathers() && distinct(c.live)
}

// Conflicts returns the views of all cells in conflict, paths in byte order.
func (s *Schema) Conflicts(d *Doc) []View {
	var views []View
	for _, path := range d.Conflicts() {
		if v := s.Resolve(d, path); v.Conflict {
			views = append(views, v)
		}
	}
	return views
}

// best returns the first value that no other precedes; entries come best first, so ties go
// by R7.
func best(entries []Entry, precedes func(a, b string) bool) string {
	val := entries[0].Val
	for _, e := range entries[1:] {
		if precedes(e.Val, val) {
			val = e.Val
		}
	}
	return val
}

// badness ranks a value for Worst, the worst lowest. A value the order does not know ranks
// right after the worst known one: nobody has said that it is harmless.
func (r *Rule) badness(val string) int {
	for i, known := range r.Order {
		if val == string(appendString(nil, known)) {
			return 2 * i
		}
	}
	return 1
}

// compareValues orders values for Min and Max: null, false, true, numbers by exact decimal
// value, strings by bytes (so RFC 3339 times in UTC by time), then arrays and objects by
// bytes.
func compareValues(a, b string) int {
	if c := cmp.Compare(valueClass(a), valueClass(b)); c != 0 {
		return c
	}
	if x, ok := numberLiteral(a); ok {
		y, _ := numberLiteral(b)
		if c := compareNumbers(x, y); c != 0 {
			return c
		}
	}
	if a != "" && a[0] == '"' {
		return strings.Compare(plainString(a), plainString(b))
	}
	return strings.Compare(a, b)
}

func valueClass(val string) int {
	if _, ok := numberLiteral(val); ok {
		return 3
	}
	switch val[0] {
	case 'n':
		return 0
	case 'f':
		return 1
	case 't':
		return 2
	case '"':
		return 4
	}
	return 5
}

// plainString returns the content of a canonical JSON string.
func plainString(val string) string {
	if strings.IndexByte(val, '\\') < 0 {
		return val[1 : len(val)-1]
	}
	r := reader{s: val}
	content, _ := r.text()
	return content
}

func values(entries []Entry) []string {
	vals := make([]string, len(entries))
	for i, e := range entries {
		vals[i] = e.Val
	}
	return vals
}

func array(vals []string) string { return "[" + strings.Join(vals, ",") + "]" }
