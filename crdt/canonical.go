package crdt

import (
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// CanonicalJSON turns one JSON value in any layout into the canonical form: no white space,
// one escaping, keys sorted, and every number that is no integer within IntMax tagged with
// its literal ({"$num":"12.50"}), so nothing passes through a float64. What has no faithful
// form is refused with ErrFormat: invalid UTF-8, lone surrogates, NUL, a key twice, keys
// outside printable ASCII, values nested deeper than DepthMax or larger than an operation
// may be. Canonical text comes back unchanged.
func CanonicalJSON(raw []byte) ([]byte, error) {
	if len(raw) > LineMaxBytes {
		return nil, refuse("value above 128 KiB")
	}
	r := reader{s: string(raw), out: make([]byte, 0, len(raw))}
	r.space()
	reason := r.value(1)
	if reason == "" {
		if r.space(); r.i != len(r.s) {
			reason = "more after the value"
		}
	}
	if reason == "" && len(r.out) > OpMaxBytes {
		reason = "value above 16 KiB"
	}
	if reason != "" {
		return nil, &FormatError{Reason: reason, Offset: r.i}
	}
	return r.out, nil
}

// reader walks ordinary JSON and writes canonical JSON behind it.
type reader struct {
	s   string
	i   int
	out []byte
}

func (r *reader) space() {
	for r.i < len(r.s) && strings.IndexByte(" \t\r\n", r.s[r.i]) >= 0 {
		r.i++
	}
}

// next skips white space and consumes c if it is there.
func (r *reader) next(c byte) bool {
	r.space()
	if r.i < len(r.s) && r.s[r.i] == c {
		r.i++
		return true
	}
	return false
}

func (r *reader) value(depth int) string {
	if depth > DepthMax {
		return "nested too deep"
	}
	if r.i >= len(r.s) {
		return "value missing"
	}
	switch c := r.s[r.i]; {
	case c == '"':
		text, reason := r.text()
		r.out = appendString(r.out, text)
		return reason
	case c == '{':
		return r.object(depth)
	case c == '[':
		return r.array(depth)
	case c == '-' || c >= '0' && c <= '9':
		literal := r.s[r.i : r.i+numberLen(r.s[r.i:])]
		if reason := checkNumber(literal); reason != "" {
			return reason
		}
		r.i += len(literal)
		r.out = appendNumber(r.out, literal)
		return ""
	}
	for _, word := range [...]string{"null", "true", "false"} {
		if strings.HasPrefix(r.s[r.i:], word) {
			r.i += len(word)
			r.out = append(r.out, word...)
			return ""
		}
	}
	return "not a JSON value"
}

func (r *reader) array(depth int) string {
	r.i++
	r.out = append(r.out, '[')
	if r.next(']') {
		r.out = append(r.out, ']')
		return ""
	}
	for {
		r.space()
		if reason := r.value(depth + 1); reason != "" {
			return reason
		}
		switch {
		case r.next(']'):
			r.out = append(r.out, ']')
			return ""
		case !r.next(','):
			return "array not continued by , or ]"
		}
		r.out = append(r.out, ',')
	}
}

// member is one "key":value of an object, as written to out.
type member struct {
	key        string
	start, end int
}

func (r *reader) object(depth int) string {
	open := r.i
	r.i++
	start := len(r.out)
	r.out = append(r.out, '{')
	if r.next('}') {
		r.out = append(r.out, '}')
		return ""
	}
	var members []member
	for {
		r.space()
		if r.i >= len(r.s) || r.s[r.i] != '"' {
			return "object key missing"
		}
		m := member{start: len(r.out)}
		var reason string
		if m.key, reason = r.text(); reason != "" {
			return reason
		}
		for i := range len(m.key) {
			if m.key[i] < ' ' || m.key[i] > '~' {
				return "object key not printable ASCII"
			}
		}
		if !r.next(':') {
			return "colon missing"
		}
		r.space()
		switch m.key {
		case numKey:
			r.out = r.out[:start]
			return r.tagged(open, len(members) == 0)
		case redactedKey:
			return "$redacted is reserved"
		}
		r.out = append(appendString(r.out, m.key), ':')
		if reason := r.value(depth + 1); reason != "" {
			return reason
		}
		m.end = len(r.out)
		members = append(members, m)
		switch {
		case r.next('}'):
			return r.sortMembers(start, members)
		case !r.next(','):
			return "object not continued by , or }"
		}
		r.out = append(r.out, ',')
	}
}

// tagged reads the value of a numKey member that MUST be alone in its object.
func (r *reader) tagged(open int, first bool) string {
	if !first {
		return "$num beside other keys"
	}
	if r.i >= len(r.s) || r.s[r.i] != '"' {
		return "$num without a literal"
	}
	literal, reason := r.text()
	if reason == "" {
		reason = checkNumber(literal)
	}
	switch {
	case reason != "":
		return reason
	case isCanonicalInteger(literal):
		return "$num holds a plain integer"
	case !r.next('}'):
		return "$num beside other keys"
	}
	r.out = appendNumber(r.out, literal)
	return ""
}

// sortMembers puts the members of the object that starts at out[start] in key order and
// closes it.
func (r *reader) sortMembers(start int, members []member) string {
	byKey := func(a, b member) int { return strings.Compare(a.key, b.key) }
	sorted := slices.IsSortedFunc(members, byKey)
	if !sorted {
		slices.SortFunc(members, byKey)
	}
	for i := 1; i < len(members); i++ {
		if members[i].key == members[i-1].key {
			return "object key twice"
		}
	}
	if !sorted {
		body := slices.Clone(r.out[start:])
		r.out = r.out[:start+1]
		for i, m := range members {
			if i > 0 {
				r.out = append(r.out, ',')
			}
			r.out = append(r.out, body[m.start-start:m.end-start]...)
		}
	}
	r.out = append(r.out, '}')
	return ""
}

// text reads any JSON string and returns its content.
func (r *reader) text() (string, string) {
	start := r.i + 1
	var b []byte // set once an escape makes the content differ from the source
	for i := start; i < len(r.s); i++ {
		switch c := r.s[i]; {
		case c == '"':
			content := r.s[start:i]
			if b != nil {
				content = string(append(b, content...))
			}
			if !utf8.ValidString(content) {
				return "", "invalid UTF-8"
			}
			r.i = i + 1
			return content, ""
		case c < ' ':
			return "", "control character in string"
		case c == '\\':
			b = append(b, r.s[start:i]...)
			char, n, reason := unescape(r.s[i:])
			if reason != "" {
				return "", reason
			}
			b = utf8.AppendRune(b, char)
			i += n - 1
			start = i + 1
		}
	}
	return "", "string not closed"
}

// unescape reads the JSON escape at the start of s and returns its character and length.
func unescape(s string) (rune, int, string) {
	if len(s) < 2 {
		return 0, 0, "string not closed"
	}
	if i := strings.IndexByte(`"\/bfnrt`, s[1]); i >= 0 {
		return rune("\"\\/\b\f\n\r\t"[i]), 2, ""
	}
	high, ok := utf16Unit(s)
	switch {
	case !ok:
		return 0, 0, "bad escape"
	case high == 0:
		return 0, 0, "NUL in string"
	case !utf16.IsSurrogate(high):
		return high, 6, ""
	}
	low, ok := utf16Unit(s[6:])
	char := utf16.DecodeRune(high, low)
	if !ok || char == utf8.RuneError {
		return 0, 0, "lone surrogate"
	}
	return char, 12, ""
}

// utf16Unit reads \uXXXX in either case.
func utf16Unit(s string) (rune, bool) {
	if len(s) < 6 || s[0] != '\\' || s[1] != 'u' {
		return 0, false
	}
	n, err := strconv.ParseUint(s[2:6], 16, 16)
	return rune(n), err == nil
}
