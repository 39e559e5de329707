package crdt

import (
	"crypto/sha256"
	"strings"
)

const originHexLen = 32 // 16 bytes: a second line with the same prefix is out of reach

// ParseOp reads one canonical operation line. It is the trust boundary: the line is
// accepted only if it is byte for byte what AppendJSON writes for the operation returned,
// within the limits of this package. Every error is a *FormatError and unwraps to
// ErrFormat. The Op keeps no reference to line.
func ParseOp(line []byte) (Op, error) {
	if len(line) > LineMaxBytes {
		return Op{}, refuse("line above 128 KiB")
	}
	p := opParser{scanner: scanner{s: string(line)}}
	if reason := p.op(); reason != "" {
		return Op{}, &FormatError{Reason: reason, Offset: p.i}
	}
	p.o.parsed, p.o.sum = true, sha256.Sum256(line)
	p.o.compact()
	return p.o, nil
}

// compact moves the texts of o out of the line it was read from. A document keeps Val for as
// long as the value lives; the line around it is three times as large, and with a seen list a
// thousand times.
func (o *Op) compact() {
	var b strings.Builder
	b.Grow(len(o.Actor) + len(o.Path) + len(o.Val) + len(o.Origin))
	b.WriteString(o.Actor)
	b.WriteString(o.Path)
	b.WriteString(o.Val)
	b.WriteString(o.Origin)
	s := b.String()
	cut := func(n int) (part string) {
		part, s = s[:n], s[n:]
		return part
	}
	o.Actor, o.Path, o.Val, o.Origin = cut(len(o.Actor)), cut(len(o.Path)), cut(len(o.Val)), cut(len(o.Origin))
}

// opParser reads the keys in their one order, so there is nothing to look up or to sort.
type opParser struct {
	scanner
	o        Op
	redacted bool // the value was erased
}

func (p *opParser) op() string {
	if reason := p.head(); reason != "" {
		return reason
	}
	if p.o.Kind == Put || p.o.Kind == Ins {
		if !p.literal(`,"v":`) {
			return "value missing"
		}
		start := p.i
		reason := ""
		if p.redacted {
			reason = p.redactedValue()
		} else {
			// The operation itself is no level of its own; see DepthMax.
			reason = p.value(1)
		}
		if reason != "" {
			return reason
		}
		p.o.Val = p.s[start:p.i]
	}
	start := p.i
	if reason := p.seen(); reason != "" {
		return reason
	}
	if len(p.s)-(p.i-start) > OpMaxBytes {
		return "operation above 16 KiB"
	}
	if p.s[p.i:] != "}" {
		return "unknown key or end missing"
	}
	return ""
}

// head reads everything before the value.
func (p *opParser) head() string {
	var ok bool
	o := &p.o
	if !p.literal(`{"a":`) {
		return "actor missing"
	}
	if o.Actor = p.plain(); !ValidActor(o.Actor) {
		return "bad actor"
	}
	if !p.literal(`,"k":`) {
		return "kind missing"
	}
	if o.Kind, ok = ParseKind(p.plain()); !ok {
		return "bad kind"
	}
	if o.Kind == Inc {
		if !p.literal(`,"n":`) {
			return "increment missing"
		}
		var reason string
		if o.N, reason = p.integer(); reason != "" {
			return reason
		}
		if o.N == 0 || o.N > IncMax || o.N < -IncMax {
			return "increment zero or above 2^31"
		}
	}
	if p.literal(`,"o":`) {
		if o.Origin = p.plain(); !validOrigin(o.Origin) {
			return "bad origin"
		}
	}
	if !p.literal(`,"p":`) {
		return "path missing"
	}
	if o.Path = p.plain(); !ValidPath(o.Path) {
		return "bad path"
	}
	if o.Kind == Ins && p.literal(`,"r":`) {
		if o.Ref, ok = ParseDot(p.plain()); !ok {
			return "bad reference"
		}
	}
	if !p.literal(`,"s":`) {
		return "seq missing"
	}
	seq, reason := p.integer()
	if reason != "" {
		return reason
	}
	if seq < 1 {
		return "seq below 1"
	}
	o.Seq = uint64(seq)
	if !p.literal(`,"t":`) {
		return "time missing"
	}
	if o.Time, ok = ParseTime(p.plain()); !ok {
		return "bad time"
	}
	return ""
}

// seen reads the list of replaced dots, where the kind has one.
func (p *opParser) seen() string {
	if p.o.Kind != Put && p.o.Kind != Rem {
		return ""
	}
	if !p.literal(`,"x":[`) {
		if p.o.Kind == Rem {
			return "rem without seen list"
		}
		return ""
	}
	n := 1 + strings.Count(p.s[p.i:], ",")
	if n > SeenMax {
		return "seen list too long"
	}
	p.o.Seen = make([]Dot, 0, n)
	for {
		dot, ok := ParseDot(p.plain())
		if !ok {
			return "bad dot in seen list"
		}
		p.o.Seen = append(p.o.Seen, dot)
		switch {
		case p.literal("]"):
			return ""
		case !p.literal(","):
			return "seen list not continued by , or ]"
		}
	}
}

// plain reads a string that needs no escape and returns its content, or "" when there is
// none; no field may be empty, so the caller's own check refuses that.
func (p *opParser) plain() string {
	s := p.s[p.i:]
	if s == "" || s[0] != '"' {
		return ""
	}
	end := strings.IndexByte(s[1:], '"')
	if end < 0 {
		return ""
	}
	// A backslash or a byte outside ASCII fails every field's own character set.
	p.i += end + 2
	return s[1 : end+1]
}

func validOrigin(s string) bool {
	if len(s) != originHexLen {
		return false
	}
	for i := range len(s) {
		if _, ok := hexDigit(s[i]); !ok {
			return false
		}
	}
	return true
}
