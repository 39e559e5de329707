package crdt

import (
	"bytes"
	"cmp"
	"math"
	"strconv"
	"strings"
)

// numKey tags a number that is no canonical integer: {"$num":"12.50"}. The literal inside
// is the JSON number as its author wrote it, so no digit is gained or lost on the way. The
// key is reserved: an object that holds it holds nothing else.
const numKey = "$num"

const numOpen = `{"` + numKey + `":"`

// taggedNumber accepts the rest of an object whose key numKey was just read.
func (p *scanner) taggedNumber(first bool) string {
	if !first {
		return "$num beside other keys"
	}
	if !p.literal(`:"`) {
		return "$num without a literal"
	}
	end := strings.IndexByte(p.s[p.i:], '"')
	if end < 0 {
		return "string not closed"
	}
	literal := p.s[p.i : p.i+end]
	if reason := checkNumber(literal); reason != "" {
		return reason
	}
	if isCanonicalInteger(literal) {
		return "$num holds a plain integer"
	}
	p.i += end + 1
	if !p.literal("}") {
		return "$num beside other keys"
	}
	return ""
}

// numberLen returns the length of the JSON number at the start of s, or 0.
func numberLen(s string) int {
	i := 0
	digits := func() bool {
		start := i
		for i < len(s) && s[i] >= '0' && s[i] <= '9' {
			i++
		}
		return i > start
	}
	if i < len(s) && s[i] == '-' {
		i++
	}
	start := i
	if !digits() || s[start] == '0' && i > start+1 {
		return 0
	}
	if i < len(s) && s[i] == '.' {
		if i++; !digits() {
			return 0
		}
	}
	if i < len(s) && (s[i] == 'e' || s[i] == 'E') {
		if i++; i < len(s) && (s[i] == '+' || s[i] == '-') {
			i++
		}
		if !digits() {
			return 0
		}
	}
	return i
}

// checkNumber returns "" for a literal that every part of the system can hold, or the
// reason. The float64 reading only bounds the magnitude; no digit passes through it.
func checkNumber(literal string) string {
	switch {
	case len(literal) > NumMaxBytes:
		return "number too long"
	case literal == "" || numberLen(literal) != len(literal):
		return "not a JSON number"
	}
	if e := strings.IndexAny(literal, "eE"); e >= 0 {
		exponent, err := strconv.Atoi(literal[e+1:])
		if err != nil || exponent > NumExponentMax || exponent < -NumExponentMax {
			return "number exponent too large"
		}
	}
	f, err := strconv.ParseFloat(literal, 64)
	if err != nil || math.IsInf(f, 0) {
		return "number too large"
	}
	return ""
}

func isCanonicalInteger(literal string) bool {
	p := scanner{s: literal}
	_, reason := p.integer()
	return reason == "" && p.i == len(literal)
}

// appendNumber appends a literal that checkNumber accepts: bare when it is a canonical
// integer, else tagged.
func appendNumber(b []byte, literal string) []byte {
	if isCanonicalInteger(literal) {
		return append(b, literal...)
	}
	b = append(b, numOpen...)
	b = append(b, literal...)
	return append(b, '"', '}')
}

// RenderJSON returns canonical value text as a client expects it: every tagged number as
// the plain literal its author wrote. val MUST be canonical, as Entry.Val and View.Value
// are; other text gives other text.
func RenderJSON(val string) []byte { return AppendRendered(make([]byte, 0, len(val)), val) }

// AppendRendered is RenderJSON onto b.
func AppendRendered(b []byte, val string) []byte {
	for {
		// The opening cannot occur inside a string: there its quotes carry backslashes.
		i := strings.Index(val, numOpen)
		if i < 0 {
			return append(b, val...)
		}
		b = append(b, val[:i]...)
		val = val[i+len(numOpen):]
		end := strings.Index(val, `"}`)
		if end < 0 {
			return append(b, val...)
		}
		b = append(b, val[:end]...)
		val = val[end+2:]
	}
}

// numberLiteral returns the literal of a canonical value that is a number.
func numberLiteral(val string) (string, bool) {
	if val == "" {
		return "", false
	}
	if c := val[0]; c == '-' || c >= '0' && c <= '9' {
		return val, true
	}
	if strings.HasPrefix(val, numOpen) && strings.HasSuffix(val, `"}`) {
		return val[len(numOpen) : len(val)-2], true
	}
	return "", false
}

// compareNumbers compares two number literals exactly, as decimals.
func compareNumbers(a, b string) int {
	an, ad, ae := decimal(a)
	bn, bd, be := decimal(b)
	if an != bn {
		return cmp.Compare(bn, an) // the negative one is less
	}
	c := cmp.Compare(ae, be)
	if c == 0 {
		c = bytes.Compare(ad, bd)
	}
	if an == 1 {
		return -c
	}
	return c
}

// decimal splits a literal into 0.DIGITS times ten to the exponent, with no zeros around
// the digits. Zero has no digits and the least exponent; minus zero is zero.
func decimal(literal string) (negative int, digits []byte, exponent int) {
	if literal[0] == '-' {
		negative, literal = 1, literal[1:]
	}
	if e := strings.IndexAny(literal, "eE"); e >= 0 {
		exponent, _ = strconv.Atoi(literal[e+1:])
		literal = literal[:e]
	}
	whole, fraction, _ := strings.Cut(literal, ".")
	exponent += len(whole)
	digits = append([]byte(whole), fraction...)
	for len(digits) > 0 && digits[0] == '0' {
		digits = digits[1:]
		exponent--
	}
	digits = bytes.TrimRight(digits, "0")
	if len(digits) == 0 {
		return 0, nil, math.MinInt
	}
	return negative, digits, exponent
}
