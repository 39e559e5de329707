package pgsync

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"math/big"
	"slices"
	"strconv"
	"strings"
)

// The canonical form of a row is the same for both sides: per column, ordered by field id, a tag, a length and bytes.
// Numbers are compared by value, JSON by content, dates as UTC instants; everything else byte by byte.

// rowHash is SHA-256 over collection, shape and canonical cells. len(cells) MUST be len(t.Columns).
func rowHash(t *Table, cells []cell) []byte {
	h := sha256.New()
	var buf []byte
	field := func(tag byte, value string) {
		buf = append(buf[:0], tag)
		buf = binary.AppendUvarint(buf, uint64(len(value)))
		h.Write(append(buf, value...))
	}
	field('T', t.Coll)
	for _, i := range t.canonicalOrder() {
		c := &t.Columns[i]
		field('F', c.Field+":"+string(c.Kind))
		if cells[i] == nil {
			field('N', "")
			continue
		}
		field('V', canonical(c.Kind, *cells[i]))
	}
	return h.Sum(nil)
}

func (t *Table) canonicalOrder() []int {
	order := make([]int, len(t.Columns))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return strings.Compare(t.Columns[a].Field, t.Columns[b].Field) })
	return order
}

func canonical(k Kind, text string) string {
	switch k {
	case KindNumber, KindInteger:
		return canonicalNumber(text)
	case KindJSON:
		return canonicalJSON(text)
	}
	return text
}

// canonicalNumber writes a decimal as sign, digits without zeros at either end, and exponent. Text that is no decimal
// (Infinity) stays as it is.
func canonicalNumber(text string) string {
	s, neg := strings.CutPrefix(text, "-")
	exp := big.NewInt(0)
	if i := strings.IndexAny(s, "eE"); i >= 0 {
		if _, ok := exp.SetString(strings.TrimPrefix(s[i+1:], "+"), 10); !ok {
			return text
		}
		s = s[:i]
	}
	whole, frac, _ := strings.Cut(s, ".")
	digits := whole + frac
	if digits == "" || strings.Trim(digits, "0123456789") != "" {
		return text
	}
	exp.Sub(exp, big.NewInt(int64(len(frac))))
	trimmed := strings.TrimRight(digits, "0")
	exp.Add(exp, big.NewInt(int64(len(digits)-len(trimmed))))
	trimmed = strings.TrimLeft(trimmed, "0")
	if trimmed == "" {
		return "0"
	}
	if neg {
		trimmed = "-" + trimmed
	}
	return trimmed + "e" + exp.String()
}

// canonicalJSON sorts keys, lets the last of equal keys win and normalises numbers, as jsonb does. Text that is no
// JSON stays as it is.
func canonicalJSON(text string) string {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return text
	}
	var b bytes.Buffer
	appendJSON(&b, v)
	return b.String()
}

func appendJSON(b *bytes.Buffer, v any) {
	switch v := v.(type) {
	case map[string]any:
		keys := make([]string, 0, len(v))
		for k := range v {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		b.WriteByte('{')
		for _, k := range keys {
			b.WriteString(strconv.Quote(k))
			b.WriteByte(':')
			appendJSON(b, v[k])
			b.WriteByte(',')
		}
		b.WriteByte('}')
	case []any:
		b.WriteByte('[')
		for _, x := range v {
			appendJSON(b, x)
			b.WriteByte(',')
		}
		b.WriteByte(']')
	case string:
		b.WriteString(strconv.Quote(v))
	case json.Number:
		b.WriteString(canonicalNumber(v.String()))
	case bool:
		b.WriteString(strconv.FormatBool(v))
	default:
		b.WriteString("null")
	}
}
