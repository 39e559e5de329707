package crdt

import (
	"strings"
	"unicode/utf8"
)

// scanner walks canonical text once, without building anything. Each method moves past
// what it accepts and returns "" or the reason for refusing.
type scanner struct {
	s string
	i int
}

func (p *scanner) literal(lit string) bool {
	if strings.HasPrefix(p.s[p.i:], lit) {
		p.i += len(lit)
		return true
	}
	return false
}

// value accepts one canonical value at nesting level depth.
func (p *scanner) value(depth int) string {
	if depth > DepthMax {
		return "nested too deep"
	}
	if p.i >= len(p.s) {
		return "value missing"
	}
	switch c := p.s[p.i]; {
	case c == '"':
		_, reason := p.text()
		return reason
	case c == '{':
		return p.object(depth)
	case c == '[':
		return p.array(depth)
	case c == '-' || c >= '0' && c <= '9':
		_, reason := p.integer()
		return reason
	case p.literal("null"), p.literal("true"), p.literal("false"):
		return ""
	}
	return "not a JSON value"
}

func (p *scanner) array(depth int) string {
	p.i++
	if p.literal("]") {
		return ""
	}
	for {
		if reason := p.value(depth + 1); reason != "" {
			return reason
		}
		switch {
		case p.literal("]"):
			return ""
		case !p.literal(","):
			return "array not continued by , or ]"
		}
	}
}

func (p *scanner) object(depth int) string {
	p.i++
	if p.literal("}") {
		return ""
	}
	last := ""
	for first := true; ; first = false {
		key, reason := p.key()
		switch {
		case reason != "":
			return reason
		case key == numKey:
			return p.taggedNumber(first)
		case key == redactedKey:
			return "$redacted is reserved"
		case !first && key <= last:
			return "object keys not sorted and unique"
		case !p.literal(":"):
			return "colon missing"
		}
		last = key
		if reason := p.value(depth + 1); reason != "" {
			return reason
		}
		switch {
		case p.literal("}"):
			return ""
		case !p.literal(","):
			return "object not continued by , or }"
		}
	}
}

// key accepts an object key and returns it unescaped.
func (p *scanner) key() (string, string) {
	start := p.i + 1
	escaped, reason := p.text()
	if reason != "" {
		return "", reason
	}
	key := p.s[start : p.i-1]
	if escaped {
		key = unescapeKey(key)
	}
	for i := range len(key) {
		if key[i] < ' ' || key[i] > '~' {
			return "", "object key not printable ASCII"
		}
	}
	return key, ""
}

// unescapeKey resolves \" and \\; a key with any other escape holds a byte that is refused
// anyway, for which the backslash is kept out of the printable range.
func unescapeKey(key string) string {
	b := make([]byte, 0, len(key))
	for i := 0; i < len(key); i++ {
		if key[i] == '\\' {
			i++
			if key[i] != '"' && key[i] != '\\' {
				b = append(b, 0)
				continue
			}
		}
		b = append(b, key[i])
	}
	return string(b)
}

// text accepts a string in the one escaping JSON.stringify writes, and reports whether it
// holds escapes. NUL is refused although it is JSON: PostgreSQL jsonb cannot hold it.
func (p *scanner) text() (escaped bool, reason string) {
	if p.i >= len(p.s) || p.s[p.i] != '"' {
		return false, "string missing"
	}
	start, ascii := p.i+1, true
	for i := start; i < len(p.s); i++ {
		switch c := p.s[i]; {
		case c == '"':
			if !ascii && !utf8.ValidString(p.s[start:i]) {
				return false, "invalid UTF-8"
			}
			p.i = i + 1
			return escaped, ""
		case c < ' ':
			return false, "control character in string"
		case c >= utf8.RuneSelf:
			ascii = false
		case c == '\\':
			escaped = true
			n := escapeLen(p.s[i:])
			if n == 0 {
				return false, "escape not the canonical one"
			}
			i += n - 1
		}
	}
	return false, "string not closed"
}

// escapeLen returns the length of the canonical escape at the start of s, or 0.
func escapeLen(s string) int {
	if len(s) < 2 {
		return 0
	}
	switch s[1] {
	case '"', '\\', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
		if len(s) < 6 || s[2:4] != "00" || s[4] != '0' && s[4] != '1' {
			return 0
		}
		low, ok := hexDigit(s[5])
		c := (s[4]-'0')<<4 | low
		// Those with a short escape are written short; NUL is refused.
		if !ok || c == 0 || shortEscape(c) != 0 {
			return 0
		}
		return 6
	}
	return 0
}

// shortEscape returns the letter of a control character's two-byte escape, or 0.
func shortEscape(c byte) byte {
	switch c {
	case '\b':
		return 'b'
	case '\f':
		return 'f'
	case '\n':
		return 'n'
	case '\r':
		return 'r'
	case '\t':
		return 't'
	}
	return 0
}

// integer accepts a canonical integer: no leading zero, no -0, at most IntMax either way.
func (p *scanner) integer() (int64, string) {
	s, i := p.s, p.i
	negative := i < len(s) && s[i] == '-'
	if negative {
		i++
	}
	start := i
	var n int64
	for i < len(s) && s[i] >= '0' && s[i] <= '9' && i-start < 17 {
		n = n*10 + int64(s[i]-'0')
		i++
	}
	switch {
	case i == start:
		return 0, "integer missing"
	case s[start] == '0' && (i > start+1 || negative):
		return 0, "integer not in shortest form"
	case n > IntMax:
		return 0, "integer above 2^53-1"
	}
	p.i = i
	if negative {
		n = -n
	}
	return n, ""
}

// appendString appends s as JSON in the one escaping of the canonical form.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	start := 0
	for i := range len(s) {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		b = append(b, s[start:i]...)
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case shortEscape(c) != 0:
			b = append(b, '\\', shortEscape(c))
		default:
			b = append(b, '\\', 'u', '0', '0', lowerHex[c>>4], lowerHex[c&15])
		}
		start = i + 1
	}
	b = append(b, s[start:]...)
	return append(b, '"')
}
