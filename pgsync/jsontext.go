package pgsync

import (
	"slices"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// jsonDepthMax is how deep encoding/json reads; PostgreSQL gives up earlier.
const jsonDepthMax = 10000

// jsonText walks over a JSON text without taking it apart: pieces of it are handed out as they stand. Every method
// reports whether the text was right so far.
type jsonText struct {
	s string
	i int // next byte
}

func (j *jsonText) space() {
	for j.i < len(j.s) {
		switch j.s[j.i] {
		case ' ', '\t', '\r', '\n':
			j.i++
		default:
			return
		}
	}
}

// next passes c, after white space.
func (j *jsonText) next(c byte) bool {
	j.space()
	if j.i >= len(j.s) || j.s[j.i] != c {
		return false
	}
	j.i++
	return true
}

func (j *jsonText) word(w string) bool {
	if !strings.HasPrefix(j.s[j.i:], w) {
		return false
	}
	j.i += len(w)
	return true
}

// itself are the bytes that stand for themselves within a string: printable ASCII but for quotation mark and backslash.
var itself = func() (set [256]bool) {
	for c := ' '; c < 0x7f; c++ {
		set[c] = c != '"' && c != '\\'
	}
	return set
}()

// text passes a string and returns what stands between its quotes; plain says that it stands for itself: printable ASCII
// without an escape.
func (j *jsonText) text() (raw string, plain, ok bool) {
	if !j.next('"') {
		return "", false, false
	}
	start := j.i
	plain = true
	for ; j.i < len(j.s); j.i++ {
		for j.i < len(j.s) && itself[j.s[j.i]] {
			j.i++
		}
		if j.i == len(j.s) {
			break
		}
		switch c := j.s[j.i]; {
		case c == '"':
			j.i++
			return j.s[start : j.i-1], plain, true
		case c < ' ':
			return "", false, false
		case c == '\\':
			plain = false
			j.i++
			if j.i >= len(j.s) {
				return "", false, false
			}
			switch j.s[j.i] {
			case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
			case 'u':
				if _, ok := hex4(j.s[j.i+1:]); !ok {
					return "", false, false
				}
				j.i += 4
			default:
				return "", false, false
			}
		case c >= 0x7f:
			plain = false
		}
	}
	return "", false, false
}

func hex4(s string) (rune, bool) {
	if len(s) < 4 {
		return 0, false
	}
	var r rune
	for i := range 4 {
		c := s[i]
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

// number passes a number.
func (j *jsonText) number() (string, bool) {
	start := j.i
	digits := func() bool {
		from := j.i
		for j.i < len(j.s) && '0' <= j.s[j.i] && j.s[j.i] <= '9' {
			j.i++
		}
		return j.i > from
	}
	at := func(set string) bool {
		if j.i < len(j.s) && strings.IndexByte(set, j.s[j.i]) >= 0 {
			j.i++
			return true
		}
		return false
	}
	at("-")
	if !at("0") && !digits() {
		return "", false
	}
	if at(".") && !digits() {
		return "", false
	}
	if at("eE") {
		at("+-")
		if !digits() {
			return "", false
		}
	}
	return j.s[start:j.i], true
}

// value passes any value, within depth lists and objects.
func (j *jsonText) value(depth int) bool {
	j.space()
	if j.i == len(j.s) {
		return false
	}
	open := j.s[j.i]
	if open != '{' && open != '[' {
		_, ok := j.scalar()
		return ok
	}
	if j.i++; depth >= jsonDepthMax {
		return false
	}
	end := open + 2 // in ASCII, for both
	for first := true; !j.next(end); first = false {
		if !first && !j.next(',') {
			return false
		}
		if open == '{' {
			if _, _, ok := j.text(); !ok || !j.next(':') {
				return false
			}
		}
		if !j.value(depth + 1) {
			return false
		}
	}
	return true
}

// isJSON is json.Valid.
func isJSON(text string) bool {
	j := jsonText{s: text}
	ok := j.value(0)
	j.space()
	return ok && j.i == len(text)
}

// scalar passes a value that is no list and no object.
func (j *jsonText) scalar() (string, bool) {
	j.space()
	start, ok := j.i, false
	switch {
	case j.i == len(j.s):
	case j.s[j.i] == '"':
		_, _, ok = j.text()
	case j.s[j.i] >= 'a':
		ok = j.word("true") || j.word("false") || j.word("null")
	default:
		_, ok = j.number()
	}
	return j.s[start:j.i], ok
}

// unescape is the string that raw stands for. What no encoding of Unicode allows becomes U+FFFD, as in encoding/json.
func unescape(raw string) string {
	if strings.IndexByte(raw, '\\') < 0 && utf8.ValidString(raw) {
		return raw
	}
	b := make([]byte, 0, len(raw))
	for i := 0; i < len(raw); {
		if raw[i] != '\\' {
			r, size := utf8.DecodeRuneInString(raw[i:])
			b, i = utf8.AppendRune(b, r), i+size
			continue
		}
		c := raw[i+1]
		i += 2
		if at := strings.IndexByte("bfnrt", c); at >= 0 {
			b = append(b, "\b\f\n\r\t"[at])
			continue
		}
		if c != 'u' {
			b = append(b, c)
			continue
		}
		r, _ := hex4(raw[i:])
		i += 4
		if utf16.IsSurrogate(r) {
			pair := rune(utf8.RuneError)
			if strings.HasPrefix(raw[i:], `\u`) {
				low, _ := hex4(raw[i+2:])
				pair = utf16.DecodeRune(r, low)
			}
			if r = pair; pair != utf8.RuneError {
				i += 6
			}
		}
		b = utf8.AppendRune(b, r)
	}
	return string(b)
}

// canonicalizer writes JSON values in canonical form. It keeps what it needs between calls, so that the common text costs
// no allocation.
type canonicalizer struct {
	jsonText
	out     []byte
	members []member // of the objects that are open
	scratch []byte
}

// member is where a member of an object stands in the output.
type member struct {
	key        string
	start, end int
}

// appendJSON appends the canonical form of a JSON text: keys in the order of their bytes, the last of equal keys, numbers
// as canonicalNumber has them. Text that is no JSON stays as it is.
func (c *canonicalizer) appendJSON(dst []byte, text string) []byte {
	c.jsonText, c.out, c.members = jsonText{s: text}, dst, c.members[:0]
	ok := c.value(0)
	c.space()
	out := c.out
	if !ok || c.i != len(text) {
		out = append(out[:len(dst)], text...)
	}
	c.s, c.out = "", nil
	return out
}

func (c *canonicalizer) value(depth int) bool {
	c.space()
	if c.i >= len(c.s) || depth > jsonDepthMax {
		return false
	}
	switch c.s[c.i] {
	case '{':
		c.i++
		return depth < jsonDepthMax && c.object(depth+1)
	case '[':
		c.i++
		return depth < jsonDepthMax && c.list(depth+1)
	case '"':
		raw, plain, ok := c.text()
		c.out = appendQuoted(c.out, raw, plain)
		return ok
	case 't', 'f', 'n':
		start := c.i
		ok := c.word("true") || c.word("false") || c.word("null")
		c.out = append(c.out, c.s[start:c.i]...)
		return ok
	}
	number, ok := c.number()
	c.out = appendNumber(c.out, number)
	return ok
}

func (c *canonicalizer) list(depth int) bool {
	c.out = append(c.out, '[')
	for first := true; !c.next(']'); first = false {
		if !first && !c.next(',') || !c.value(depth) {
			return false
		}
		c.out = append(c.out, ',')
	}
	c.out = append(c.out, ']')
	return true
}

func (c *canonicalizer) object(depth int) bool {
	c.out = append(c.out, '{')
	start, base, sorted := len(c.out), len(c.members), true
	for first := true; !c.next('}'); first = false {
		if !first && !c.next(',') {
			return false
		}
		raw, plain, ok := c.text()
		if !ok || !c.next(':') {
			return false
		}
		m := member{key: raw, start: len(c.out)}
		if !plain {
			m.key = unescape(raw)
		}
		c.out = append(appendQuoted(c.out, raw, plain), ':')
		if !c.value(depth) {
			return false
		}
		c.out = append(c.out, ',')
		m.end = len(c.out)
		sorted = sorted && (len(c.members) == base || c.members[len(c.members)-1].key < m.key)
		c.members = append(c.members, m)
	}
	if !sorted {
		c.arrange(start, c.members[base:])
	}
	c.members = c.members[:base]
	c.out = append(c.out, '}')
	return true
}

// arrange puts the members of an object, which stand in the output from start on, in order; of equal keys the last stays.
func (c *canonicalizer) arrange(start int, members []member) {
	slices.SortStableFunc(members, func(a, b member) int { return strings.Compare(a.key, b.key) })
	c.scratch = append(c.scratch[:0], c.out[start:]...)
	c.out = c.out[:start]
	for i, m := range members {
		if i+1 == len(members) || members[i+1].key != m.key {
			c.out = append(c.out, c.scratch[m.start-start:m.end-start]...)
		}
	}
}

// appendQuoted appends a string, given as it stands in a JSON text, as RFC 8785 writes it: only quotation marks, backslashes
// and control characters are escaped. Nothing depends on what a version of Unicode takes for printable, so that a hash of
// today can be made again in thirty years.
func appendQuoted(dst []byte, raw string, plain bool) []byte {
	dst = append(dst, '"')
	if plain {
		dst = append(dst, raw...)
		return append(dst, '"')
	}
	text := unescape(raw)
	for i := range len(text) {
		switch c := text[i]; {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c >= ' ':
			dst = append(dst, c)
		default:
			if at := strings.IndexByte("\b\f\n\r\t", c); at >= 0 {
				dst = append(dst, '\\', "bfnrt"[at])
			} else {
				dst = append(dst, '\\', 'u', '0', '0', "0123456789abcdef"[c>>4], "0123456789abcdef"[c&15])
			}
		}
	}
	return append(dst, '"')
}
