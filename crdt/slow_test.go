package crdt

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// This file reads operations a second time, on encoding/json and regular expressions, from
// the text of the rules. The fuzz targets hold the two against each other.

var (
	actorPattern   = regexp.MustCompile(`^[A-Za-z0-9_-]{1,32}$`)
	pathPattern    = regexp.MustCompile(`^[A-Za-z0-9_:@.-]+(/[A-Za-z0-9_:@.-]+)*$`)
	timePattern    = regexp.MustCompile(`^[0-9a-f]{12}-[0-9a-f]{4}$`)
	originPattern  = regexp.MustCompile(`^[0-9a-f]{32}$`)
	seqPattern     = regexp.MustCompile(`^[1-9][0-9]{0,15}$`)
	integerPattern = regexp.MustCompile(`^(0|-?[1-9][0-9]{0,15})$`)
	numberPattern  = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$`)
	exponentDigits = regexp.MustCompile(`[eE][+-]?0*([0-9]*)$`)
)

var errSlow = errors.New("refused")

// slowParse accepts exactly what ParseOp accepts.
func slowParse(line []byte) (Op, error) {
	m, err := slowObject(line)
	if err != nil {
		return Op{}, err
	}
	str := func(key string, pattern *regexp.Regexp) string {
		s, ok := m[key].(string)
		if !ok || !pattern.MatchString(s) {
			err = errors.Join(err, fmt.Errorf("%w: %s", errSlow, key))
		}
		delete(m, key)
		return s
	}
	num := func(key string) int64 {
		n, convErr := m[key].(json.Number).Int64()
		err = errors.Join(err, convErr)
		delete(m, key)
		return n
	}
	var o Op
	o.Actor, o.Path = str("a", actorPattern), str("p", pathPattern)
	if len(o.Path) > 256 {
		return Op{}, errSlow
	}
	if _, ok := m["s"].(json.Number); !ok {
		return Op{}, errSlow
	}
	seq := num("s")
	o.Seq = uint64(max(seq, 0))
	if text := str("t", timePattern); err == nil {
		if _, scanErr := fmt.Sscanf(strings.Replace(text, "-", "", 1), "%016x", (*uint64)(&o.Time)); scanErr != nil {
			return Op{}, scanErr
		}
	}
	kind := str("k", regexp.MustCompile(`^(put|rem|inc|ins)$`))
	o.Kind = map[string]Kind{"put": Put, "rem": Rem, "inc": Inc, "ins": Ins}[kind]
	if _, ok := m["o"]; ok {
		o.Origin = str("o", originPattern)
	}
	seenLen := 0
	switch kind {
	case "inc":
		if _, ok := m["n"].(json.Number); !ok {
			return Op{}, errSlow
		}
		if o.N = num("n"); o.N == 0 || o.N > 2147483648 || o.N < -2147483648 {
			return Op{}, errSlow
		}
	case "ins":
		if _, ok := m["r"]; ok {
			ref := str("r", regexp.MustCompile(`.`))
			o.Ref, err = slowDot(ref, err)
		}
	case "rem", "put":
		x, ok := m["x"].([]any)
		if ok != (m["x"] != nil) || ok && len(x) == 0 || len(x) > 4096 || !ok && kind == "rem" {
			return Op{}, errSlow
		}
		for _, e := range x {
			s, _ := e.(string)
			var dot Dot
			dot, err = slowDot(s, err)
			o.Seen = append(o.Seen, dot)
			seenLen += len(s) + len(`"",`)
		}
		if ok {
			seenLen += len(`,"x":[]`) - len(",")
			delete(m, "x")
		}
	}
	if kind == "put" || kind == "ins" {
		v, ok := m["v"]
		if !ok {
			return Op{}, errSlow
		}
		var b []byte
		b, valueErr := slowValue(nil, v, 1)
		err = errors.Join(err, valueErr)
		o.Val = string(b)
		delete(m, "v")
	}
	if err != nil || seq < 1 || len(m) > 0 || len(line) > 131072 || len(line)-seenLen > 16384 {
		return Op{}, errSlow
	}
	return o, nil
}

func slowDot(s string, err error) (Dot, error) {
	i := strings.LastIndex(s, ".")
	if i < 0 || !actorPattern.MatchString(s[:i]) || !seqPattern.MatchString(s[i+1:]) {
		return Dot{}, errSlow
	}
	n, convErr := json.Number(s[i+1:]).Int64()
	if convErr != nil || n > 9007199254740991 {
		return Dot{}, errSlow
	}
	return Dot{s[:i], uint64(n)}, err
}

// slowObject decodes a line and checks that writing it again gives the same bytes, which
// finds white space, key order, repeated keys, odd escapes and lone surrogates at once.
func slowObject(line []byte) (map[string]any, error) {
	dec := json.NewDecoder(bytes.NewReader(line))
	dec.UseNumber()
	var m map[string]any
	if err := dec.Decode(&m); err != nil {
		return nil, err
	}
	again, err := slowValue(nil, m, 0)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(again, line) {
		return nil, errSlow
	}
	return m, nil
}

// slowValue writes canonical JSON. Tagged numbers stay objects.
func slowValue(b []byte, v any, depth int) ([]byte, error) {
	if depth > 6 {
		return nil, errSlow
	}
	switch x := v.(type) {
	case nil:
		return append(b, "null"...), nil
	case bool:
		return fmt.Append(b, x), nil
	case json.Number:
		if !integerPattern.MatchString(x.String()) {
			return nil, errSlow
		}
		if n, err := x.Int64(); err != nil || n > 9007199254740991 || n < -9007199254740991 {
			return nil, errSlow
		}
		return append(b, x...), nil
	case string:
		return slowString(b, x)
	case []any:
		b = append(b, '[')
		for i, e := range x {
			if i > 0 {
				b = append(b, ',')
			}
			var err error
			if b, err = slowValue(b, e, depth+1); err != nil {
				return nil, err
			}
		}
		return append(b, ']'), nil
	case map[string]any:
		if literal, tagged := x["$num"]; tagged {
			s, ok := literal.(string)
			if !ok || len(x) != 1 || !slowNumber(s) {
				return nil, errSlow
			}
			return append(append(append(b, `{"$num":"`...), s...), `"}`...), nil
		}
		keys := []string{}
		for k := range x {
			if k == "$redacted" {
				return nil, errSlow
			}
			if strings.ContainsFunc(k, func(r rune) bool { return r < 0x20 || r > 0x7e }) {
				return nil, errSlow
			}
			keys = append(keys, k)
		}
		slices.Sort(keys)
		b = append(b, '{')
		for i, k := range keys {
			if i > 0 {
				b = append(b, ',')
			}
			var err error
			if b, err = slowString(b, k); err != nil {
				return nil, err
			}
			if b, err = slowValue(append(b, ':'), x[k], depth+1); err != nil {
				return nil, err
			}
		}
		return append(b, '}'), nil
	}
	return nil, errSlow
}

// slowNumber reports whether a literal may stand in a tag.
func slowNumber(s string) bool {
	if len(s) > 256 || !numberPattern.MatchString(s) {
		return false
	}
	var n int64
	if integerPattern.MatchString(s) {
		if _, err := fmt.Sscan(s, &n); err == nil && n <= 9007199254740991 && n >= -9007199254740991 {
			return false
		}
	}
	if e := exponentDigits.FindStringSubmatch(s); e != nil && (len(e[1]) > 4 || len(e[1]) == 4 && e[1] > "1000") {
		return false
	}
	var f float64
	return json.Unmarshal([]byte(s), &f) == nil
}

// slowString escapes like JavaScript's JSON.stringify.
func slowString(b []byte, s string) ([]byte, error) {
	short := map[rune]string{'"': `\"`, '\\': `\\`, '\b': `\b`, '\f': `\f`, '\n': `\n`, '\r': `\r`, '\t': `\t`}
	b = append(b, '"')
	for _, r := range s {
		switch escape, ok := short[r]; {
		case r == 0:
			return nil, errSlow
		case ok:
			b = append(b, escape...)
		case r < 0x20:
			b = fmt.Appendf(b, `\u%04x`, r)
		default:
			b = append(b, string(r)...)
		}
	}
	return append(b, '"'), nil
}
