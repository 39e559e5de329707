package crdt

import (
	"slices"
	"strconv"
	"strings"
)

// Materialise returns the whole document as one JSON object for readers, deterministic byte
// for byte. Objects nest by path segment. A key that begins with "$" tells of the path it
// stands in; every other key is a further segment (no segment can begin with "$"):
//
//	$value     what the policy shows; null when it shows nothing
//	$policy    the policy
//	$conflict  whether distinct live values are waiting for a decision
//	$entries   every live value, best first, as {"value","dot","time"}
//	$count     the sum of a counter
//	$list      the visible elements of a list, in order, as {"value","dot","time"}
//
// The outermost object begins with $schema, the name and version of s. Numbers appear as
// their authors wrote them. The cost grows with the document; AppendNode does one path.
func (d *Doc) Materialise(s *Schema) []byte {
	paths := d.paths("")
	slices.SortFunc(paths, comparePaths)
	paths = slices.Compact(paths)

	b := make([]byte, 0, 64+len(paths)*64+d.live*96)
	b = append(b, `{"$schema":"`...)
	b = append(b, s.ID()...)
	b = append(b, '"')
	last := "" // the path whose object is open
	for _, path := range paths {
		common := commonSegments(last, path)
		for range segments(last) - segments(path[:common]) {
			b = append(b, '}')
		}
		rest := strings.TrimPrefix(path[common:], "/")
		for segment := range strings.SplitSeq(rest, "/") {
			if b[len(b)-1] != '{' {
				b = append(b, ',')
			}
			b = append(b, '"')
			b = append(b, segment...)
			b = append(b, `":{`...)
		}
		b = d.appendLeaf(b, s, path)
		last = path
	}
	for range segments(last) {
		b = append(b, '}')
	}
	return append(b, '}')
}

// AppendNode appends the object Materialise shows at path, without what lies below it: {}
// where nothing is.
func (d *Doc) AppendNode(b []byte, s *Schema, path string) []byte {
	b = append(b, '{')
	b = d.appendLeaf(b, s, path)
	return append(b, '}')
}

// appendLeaf appends the "$" members of path.
func (d *Doc) appendLeaf(b []byte, s *Schema, path string) []byte {
	start := len(b)
	if c := d.cells[path]; c != nil {
		v := s.view(path, c.inOrder())
		b = append(b, `"$value":`...)
		if v.Value == "" {
			b = append(b, "null"...)
		} else {
			b = AppendRendered(b, v.Value)
		}
		b = append(b, `,"$policy":"`...)
		b = append(b, v.Policy...)
		b = append(b, `","$conflict":`...)
		b = strconv.AppendBool(b, v.Conflict)
		b = append(b, `,"$entries":`...)
		b = appendEntryArray(b, v.Entries)
	}
	if n, ok := d.Counter(path); ok {
		if len(b) > start {
			b = append(b, ',')
		}
		b = append(b, `"$count":`...)
		b = strconv.AppendInt(b, n, 10)
	}
	if d.lists[path] != nil {
		if len(b) > start {
			b = append(b, ',')
		}
		b = append(b, `"$list":`...)
		b = appendEntryArray(b, d.List(path))
	}
	return b
}

func appendEntryArray(b []byte, entries []Entry) []byte {
	b = append(b, '[')
	for i := range entries {
		if i > 0 {
			b = append(b, ',')
		}
		b = AppendEntry(b, entries[i])
	}
	return append(b, ']')
}

// AppendEntry appends {"value","dot","time"} as Materialise shows an entry.
func AppendEntry(b []byte, e Entry) []byte {
	b = append(b, `{"value":`...)
	b = AppendRendered(b, e.Val)
	b = append(b, `,"dot":"`...)
	b = e.Dot.appendTo(b)
	b = append(b, `","time":"`...)
	b = e.Time.appendTo(b)
	return append(b, `"}`...)
}

// segments counts the segments of a path; the empty path has none.
func segments(path string) int {
	if path == "" {
		return 0
	}
	return 1 + strings.Count(path, "/")
}

// commonSegments returns the length of the longest leading part of whole segments that both
// paths share.
func commonSegments(a, b string) int {
	common := 0
	for i := 0; ; i++ {
		aEnd, bEnd := i == len(a) || a[i] == '/', i == len(b) || b[i] == '/'
		if aEnd && bEnd {
			common = i
		}
		if i >= len(a) || i >= len(b) || a[i] != b[i] {
			return common
		}
	}
}
