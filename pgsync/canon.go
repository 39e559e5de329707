package pgsync

import (
	"crypto/sha256"
	"encoding/binary"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// The canonical form of a row is the same for both sides: per column, ordered by field id, a tag, a length and bytes.
// Numbers are compared by value, JSON by content, dates as UTC instants; everything else byte by byte. data_model.md says
// it so exactly that a program of somebody else can make it.

// rowForm is what all rows of a table have in common in their canonical form.
type rowForm struct {
	head    []byte   // the table
	order   []int    // columns by field id
	columns [][]byte // in that order: field and kind
}

// form is made once per table, which MUST NOT change afterwards.
func (t *Table) form() *rowForm {
	t.once.Do(func() {
		f := rowForm{head: appendField(nil, 'T', t.Coll), order: make([]int, len(t.Columns))}
		for i := range f.order {
			f.order[i] = i
		}
		slices.SortFunc(f.order, func(a, b int) int { return strings.Compare(t.Columns[a].Field, t.Columns[b].Field) })
		for _, i := range f.order {
			c := &t.Columns[i]
			f.columns = append(f.columns, appendField(nil, 'F', c.Field+":"+string(c.Kind)))
		}
		t.rows = f
	})
	return &t.rows
}

func appendField[T string | []byte](dst []byte, tag byte, value T) []byte {
	dst = append(dst, tag)
	dst = binary.AppendUvarint(dst, uint64(len(value)))
	return append(dst, value...)
}

// hasher makes row hashes; it is for one goroutine at a time.
type hasher struct {
	canonicalizer
	row, value []byte
}

var hashers = sync.Pool{New: func() any { return new(hasher) }}

// hasherMaxBytes is what a hasher may keep for the next row.
const hasherMaxBytes = 1 << 20

func (h *hasher) release() {
	if cap(h.row)+cap(h.value)+cap(h.scratch) <= hasherMaxBytes {
		hashers.Put(h)
	}
}

// rowHash is SHA-256 over collection, shape and canonical cells. len(cells) MUST be len(t.Columns).
func rowHash(t *Table, cells []cell) []byte {
	h := hashers.Get().(*hasher)
	defer h.release()
	f := t.form()
	h.row = append(h.row[:0], f.head...)
	for n, i := range f.order {
		h.row = append(h.row, f.columns[n]...)
		if cells[i] == nil {
			h.row = appendField(h.row, 'N', "")
			continue
		}
		h.value = h.appendCanonical(h.value[:0], t.Columns[i].Kind, *cells[i])
		h.row = appendField(h.row, 'V', h.value)
	}
	sum := sha256.Sum256(h.row)
	return sum[:]
}

func (c *canonicalizer) appendCanonical(dst []byte, k Kind, text string) []byte {
	switch k {
	case KindNumber, KindInteger:
		return appendNumber(dst, text)
	case KindJSON:
		return c.appendJSON(dst, text)
	}
	return append(dst, text...)
}

// appendNumber appends a decimal as sign, digits without zeros at either end, and exponent. Text that is no decimal
// (Infinity) stays as it is.
func appendNumber(dst []byte, text string) []byte {
	j := jsonText{s: text}
	if _, ok := j.number(); !ok || j.i != len(text) {
		return append(dst, bigNumber(text)...)
	}
	whole, neg := strings.CutPrefix(text, "-")
	exp := 0
	if i := strings.IndexAny(whole, "eE"); i >= 0 {
		var err error
		if exp, err = strconv.Atoi(whole[i+1:]); err != nil || exp > maxExponent || exp < -maxExponent {
			return append(dst, bigNumber(text)...)
		}
		whole = whole[:i]
	}
	var frac string
	if i := strings.IndexByte(whole, '.'); i >= 0 {
		whole, frac = whole[:i], whole[i+1:]
	}
	frac = strings.TrimRight(frac, "0")
	exp -= len(frac)
	if frac == "" {
		exp += len(whole)
		whole = strings.TrimRight(whole, "0")
		exp -= len(whole)
	}
	if whole = strings.TrimLeft(whole, "0"); whole == "" {
		frac = strings.TrimLeft(frac, "0")
	}
	if whole == "" && frac == "" {
		return append(dst, '0')
	}
	if neg {
		dst = append(dst, '-')
	}
	dst = append(dst, whole...)
	dst = append(dst, frac...)
	dst = append(dst, 'e')
	return strconv.AppendInt(dst, int64(exp), 10)
}

// maxExponent keeps the arithmetic of appendNumber within an int; longer exponents go the long way.
const maxExponent = 1 << 40

// bigNumber is appendNumber for what is rare: exponents of any size, and text that is no JSON number.
func bigNumber(text string) string {
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
