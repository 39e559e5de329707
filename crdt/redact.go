package crdt

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// A value that was erased lawfully leaves {"$redacted":"…"} behind: the first 32 hexadecimal
// digits of the SHA-256 of its canonical text. The print keeps R12 a function of the set;
// whoever guesses a value can check the guess against it, as against the hash of the line.
// The key is reserved: ParseOp and CanonicalJSON refuse it, so that nobody can write a value
// that looks erased.
const (
	redactedKey  = "$redacted"
	redactedOpen = `{"` + redactedKey + `":"`
	redactedEnd  = `"}`
	redactedLen  = len(redactedOpen) + originHexLen + len(redactedEnd)
)

// Redacted returns what stands in the place of an erased canonical value; of one that is
// erased already, itself.
func Redacted(val string) string {
	if IsRedacted(val) {
		return val
	}
	sum := sha256.Sum256([]byte(val))
	return redactedOpen + hex.EncodeToString(sum[:originHexLen/2]) + redactedEnd
}

// IsRedacted reports whether the canonical value val was erased.
func IsRedacted(val string) bool {
	return len(val) == redactedLen && strings.HasPrefix(val, redactedOpen) && validOrigin(val[len(redactedOpen):redactedLen-len(redactedEnd)])
}

// sameValue reports whether a and b are one value, erased or not.
func sameValue(a, b string) bool {
	return a == b || (IsRedacted(a) || IsRedacted(b)) && Redacted(a) == Redacted(b)
}

// Redact returns o without its value, if it has one, and the line that takes the place of
// its own. The result keeps the Sum of the original line, so that chains, forks and origins
// stay what they were. Only ParseRedacted reads such a line.
func (o *Op) Redact() ([]byte, Op) {
	stub := *o
	stub.parsed, stub.sum = true, o.Sum()
	if o.Kind == Put || o.Kind == Ins {
		stub.Val = Redacted(o.Val)
	}
	return stub.AppendJSON(nil), stub
}

// ParseRedacted reads a line that Redact made. sum is the SHA-256 of the original line, for
// which the caller has the log's word: nothing in the line can prove it, but the actor's
// chain runs over it. Errors unwrap to ErrFormat.
func ParseRedacted(line []byte, sum [sha256.Size]byte) (Op, error) {
	if len(line) > LineMaxBytes {
		return Op{}, refuse("line above 128 KiB")
	}
	p := opParser{scanner: scanner{s: string(line)}, redacted: true}
	if reason := p.op(); reason != "" {
		return Op{}, &FormatError{Reason: reason, Offset: p.i}
	}
	p.o.parsed, p.o.sum = true, sum
	p.o.compact()
	return p.o, nil
}

// redactedValue accepts an erased value.
func (p *opParser) redactedValue() string {
	if end := p.i + redactedLen; end <= len(p.s) && IsRedacted(p.s[p.i:end]) {
		p.i = end
		return ""
	}
	return "value not erased"
}

// Redact erases the values of operations wherever the document still holds them: live, hidden,
// in quarantine or replaced by an operation issued again. What the operations did stays done.
// One not held is a *MissingError, and nothing was changed; one without a value, or erased
// before, is no error. Redacting an operation and applying what Op.Redact made of it come to
// the same. The cost grows with the document, not with the number of dots.
func (d *Doc) Redact(dots ...Dot) error {
	named := make(map[Dot]struct{}, len(dots))
	for _, dot := range dots {
		if !d.Has(dot) {
			return &MissingError{Dots: []Dot{dot}}
		}
		named[dot] = struct{}{}
	}
	erase := func(dot Dot, val *string) {
		if _, is := named[dot]; is && *val != "" {
			*val = Redacted(*val)
		}
	}
	eraseOp := func(o *Op) {
		if _, is := named[o.Dot]; is {
			o.sum, o.parsed = o.Sum(), true // of the line with its value
			erase(o.Dot, &o.Val)
		}
	}
	for _, c := range d.cells {
		for i := range c.live {
			erase(c.live[i].Dot, &c.live[i].Val)
		}
	}
	for dot := range named {
		if q := d.quarantined[dot]; q != nil {
			eraseOp(&q.op)
		}
		for _, l := range d.lists {
			if el := l.byDot[dot]; el != nil {
				erase(dot, &el.Val)
			}
		}
	}
	if d.claims == nil {
		return nil
	}
	for dot := range named {
		if s := d.claims.shadows[dot]; s != nil {
			erase(dot, &s.entry.Val)
		}
	}
	for _, ops := range d.claims.counted {
		for _, o := range ops {
			eraseOp(o)
		}
	}
	return nil
}
