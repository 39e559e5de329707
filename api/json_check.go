package api

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"
)

// jsonDepthMax bounds the nesting of a body: nothing we take is half as deep.
const jsonDepthMax = 32

// checkJSON reads one JSON text by RFC 8259 and refuses what encoding/json
// would accept and change in silence. Not JSON, a member twice and text after
// the value are 400; invalid UTF-8, lone surrogates, NUL and deep nesting are
// 422 with a pointer.
func checkJSON(text []byte) *Problem {
	s := &jsonScan{text: text}
	s.space()
	if p := s.value(1); p != nil {
		return p
	}
	s.space()
	if s.at != len(text) {
		return s.malformed("text after the JSON value")
	}
	return nil
}

// jsonScan is a reader over one JSON text. path leads to the value being read.
type jsonScan struct {
	text []byte
	at   int
	path []string
}

func (s *jsonScan) malformed(what string) *Problem {
	return newProblem(http.StatusBadRequest, "The body is not valid JSON: "+what+" at byte "+strconv.Itoa(s.at)+".")
}

func (s *jsonScan) unfit(what string) *Problem { return invalid(s.pointer(), what) }

func (s *jsonScan) pointer() string {
	var b strings.Builder
	for _, step := range s.path {
		b.WriteString("/" + escapePointer(step))
	}
	return b.String()
}

func (s *jsonScan) space() {
	for s.at < len(s.text) {
		switch s.text[s.at] {
		case ' ', '\t', '\n', '\r':
			s.at++
		default:
			return
		}
	}
}

// next returns the byte at the cursor, or 0 at the end.
func (s *jsonScan) next() byte {
	if s.at < len(s.text) {
		return s.text[s.at]
	}
	return 0
}

func (s *jsonScan) value(depth int) *Problem {
	if depth > jsonDepthMax {
		return s.unfit("nested deeper than " + strconv.Itoa(jsonDepthMax) + " levels")
	}
	switch c := s.next(); {
	case c == '{':
		return s.object(depth)
	case c == '[':
		return s.array(depth)
	case c == '"':
		_, p := s.str()
		return p
	case c == '-' || c >= '0' && c <= '9':
		return s.number()
	}
	for _, word := range []string{"true", "false", "null"} {
		if strings.HasPrefix(string(s.text[s.at:min(len(s.text), s.at+len(word))]), word) {
			s.at += len(word)
			return nil
		}
	}
	return s.malformed("no value")
}

func (s *jsonScan) object(depth int) *Problem {
	seen := map[string]struct{}{}
	for first := true; ; first = false {
		s.at++ // the brace or the comma
		s.space()
		if first && s.next() == '}' {
			s.at++
			return nil
		}
		if s.next() != '"' {
			return s.malformed("no member name")
		}
		name, p := s.str()
		if p != nil {
			return p
		}
		s.path = append(s.path, name)
		if _, twice := seen[name]; twice {
			p := newProblem(http.StatusBadRequest, "The body has a member twice.", FieldError{Pointer: s.pointer(), Detail: "appears twice"})
			return p
		}
		seen[name] = struct{}{}
		s.space()
		if s.next() != ':' {
			return s.malformed("no colon")
		}
		s.at++
		s.space()
		if p := s.value(depth + 1); p != nil {
			return p
		}
		s.path = s.path[:len(s.path)-1]
		s.space()
		switch s.next() {
		case ',':
		case '}':
			s.at++
			return nil
		default:
			return s.malformed("no comma or brace")
		}
	}
}

func (s *jsonScan) array(depth int) *Problem {
	for i := 0; ; i++ {
		s.at++ // the bracket or the comma
		s.space()
		if i == 0 && s.next() == ']' {
			s.at++
			return nil
		}
		s.path = append(s.path, indexStep(i))
		if p := s.value(depth + 1); p != nil {
			return p
		}
		s.path = s.path[:len(s.path)-1]
		s.space()
		switch s.next() {
		case ',':
		case ']':
			s.at++
			return nil
		default:
			return s.malformed("no comma or bracket")
		}
	}
}

// str reads a string and returns what it says.
func (s *jsonScan) str() (string, *Problem) {
	start := s.at
	escaped := false
	for s.at++; s.at < len(s.text); s.at++ {
		switch c := s.text[s.at]; {
		case c == '"':
			s.at++
			raw := s.text[start:s.at]
			if !utf8.Valid(raw) {
				return "", s.unfit("is not valid UTF-8")
			}
			if !escaped {
				return string(raw[1 : len(raw)-1]), nil
			}
			var out string
			if err := json.Unmarshal(raw, &out); err != nil {
				return "", s.malformed("bad escape")
			}
			return out, nil
		case c < 0x20:
			return "", s.malformed("control character in a string")
		case c == '\\':
			escaped = true
			if p := s.escape(); p != nil {
				return "", p
			}
		}
	}
	return "", s.malformed("unfinished string")
}

// escape checks the escape at the cursor and leaves it on its last byte.
func (s *jsonScan) escape() *Problem {
	s.at++
	if s.next() != 'u' {
		if !strings.ContainsRune(`"\/bfnrt`, rune(s.next())) || s.next() == 0 {
			return s.malformed("bad escape")
		}
		return nil
	}
	unit, ok := s.hex(s.at + 1)
	if !ok {
		return s.malformed("bad escape")
	}
	s.at += 4
	switch {
	case unit == 0:
		return s.unfit("holds NUL")
	case unit >= 0xDC00 && unit <= 0xDFFF:
		return s.unfit("holds half of a surrogate pair")
	case unit >= 0xD800 && unit <= 0xDBFF:
		low, ok := s.hex(s.at + 3)
		if !ok || s.text[s.at+1] != '\\' || s.text[s.at+2] != 'u' || low < 0xDC00 || low > 0xDFFF {
			return s.unfit("holds half of a surrogate pair")
		}
		s.at += 6
	}
	return nil
}

// hex reads four digits at the given place.
func (s *jsonScan) hex(at int) (uint64, bool) {
	if at+4 > len(s.text) {
		return 0, false
	}
	v, err := strconv.ParseUint(string(s.text[at:at+4]), 16, 16)
	return v, err == nil
}

func (s *jsonScan) number() *Problem {
	start := s.at
	for s.at < len(s.text) && strings.IndexByte("+-.eE0123456789", s.text[s.at]) >= 0 {
		s.at++
	}
	if !json.Valid(s.text[start:s.at]) {
		s.at = start
		return s.malformed("bad number")
	}
	if _, err := strconv.ParseFloat(string(s.text[start:s.at]), 64); err != nil {
		return s.unfit("is a number out of range")
	}
	return nil
}
