package crdt

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strconv"
)

// Kind is what an operation does.
type Kind uint8

// The four kinds. Cells, counters and lists are separate name spaces (R8).
const (
	Put Kind = iota + 1 // adds a live value to a cell, replacing the dots in Seen
	Rem                 // replaces the dots in Seen of a cell or list by nothing
	Inc                 // adds N to a counter
	Ins                 // inserts a value into a list after the element Ref
)

// String returns the kind's name on the wire.
func (k Kind) String() string {
	switch k {
	case Put:
		return "put"
	case Rem:
		return "rem"
	case Inc:
		return "inc"
	case Ins:
		return "ins"
	}
	return "kind(" + strconv.Itoa(int(k)) + ")"
}

// ParseKind reads a kind's name.
func ParseKind(s string) (Kind, bool) {
	switch s {
	case "put":
		return Put, true
	case "rem":
		return Rem, true
	case "inc":
		return Inc, true
	case "ins":
		return Ins, true
	}
	return 0, false
}

// An Op is one act of one person, for ever. An Op from ParseOp MUST NOT be changed: it
// remembers the hash of its line. Build a new one instead, with the fields of its kind:
//
//	put  Val, and Seen with the dots the author had on screen, if any
//	rem  Seen
//	inc  N
//	ins  Val, and Ref with the element to follow; the zero Ref is the head of the list
//
// The embedded Dot names the operation. Val is canonical JSON text. Origin is set only on
// an operation issued again under a new actor (R12).
type Op struct {
	Dot
	Time   Time
	Kind   Kind
	Path   string
	Val    string
	N      int64
	Ref    Dot
	Seen   []Dot
	Origin string

	parsed bool
	sum    [sha256.Size]byte // of the line, when parsed
}

// AppendJSON appends the canonical line, keys in the order a k n o p r s t v x. The fields
// MUST be valid (Check).
func (o *Op) AppendJSON(b []byte) []byte {
	b = append(b, `{"a":"`...)
	b = append(b, o.Actor...)
	b = append(b, `","k":"`...)
	b = append(b, o.Kind.String()...)
	b = append(b, '"')
	if o.Kind == Inc {
		b = append(b, `,"n":`...)
		b = strconv.AppendInt(b, o.N, 10)
	}
	if o.Origin != "" {
		b = append(b, `,"o":"`...)
		b = append(b, o.Origin...)
		b = append(b, '"')
	}
	b = append(b, `,"p":"`...)
	b = append(b, o.Path...)
	b = append(b, '"')
	if o.Kind == Ins && o.Ref.Seq != 0 {
		b = append(b, `,"r":"`...)
		b = o.Ref.appendTo(b)
		b = append(b, '"')
	}
	b = append(b, `,"s":`...)
	b = strconv.AppendUint(b, o.Seq, 10)
	b = append(b, `,"t":"`...)
	b = o.Time.appendTo(b)
	b = append(b, '"')
	if o.Kind == Put || o.Kind == Ins {
		b = append(b, `,"v":`...)
		b = append(b, o.Val...)
	}
	for i, dot := range o.Seen {
		if i == 0 {
			b = append(b, `,"x":["`...)
		} else {
			b = append(b, `","`...)
		}
		b = dot.appendTo(b)
	}
	if len(o.Seen) > 0 {
		b = append(b, `"]`...)
	}
	return append(b, '}')
}

// Encode checks the fields and returns the canonical line together with the operation as
// ParseOp reads it, ready for Doc.Apply. Its errors unwrap to ErrFormat.
func (o *Op) Encode() ([]byte, Op, error) {
	line := o.AppendJSON(nil)
	parsed, err := ParseOp(line)
	if err != nil {
		return nil, Op{}, err
	}
	// A field that does not belong to the kind is not written, and a quote inside a field
	// could write other fields: what comes back has to be what went in.
	same := parsed.Dot == o.Dot && parsed.Time == o.Time && parsed.Kind == o.Kind && parsed.Path == o.Path &&
		parsed.Val == o.Val && parsed.N == o.N && parsed.Ref == o.Ref && parsed.Origin == o.Origin &&
		slices.Equal(parsed.Seen, o.Seen)
	if !same {
		return nil, Op{}, refuse("field does not belong here")
	}
	return line, parsed, nil
}

// Check reports whether the fields form a valid operation; its errors unwrap to ErrFormat.
// An Op from ParseOp always passes.
func (o *Op) Check() error {
	if o.parsed {
		return nil
	}
	_, _, err := o.Encode()
	return err
}

// Sum returns the SHA-256 of the line, which ParseOp has kept.
func (o *Op) Sum() [sha256.Size]byte {
	if o.parsed {
		return o.sum
	}
	return sha256.Sum256(o.AppendJSON(nil))
}

// OriginHash returns what an operation issued again for this one carries as Origin: this
// one's own Origin if it has one, so that a chain of restored tablets keeps one root, else
// the first 32 hexadecimal digits of Sum.
func (o *Op) OriginHash() string {
	if o.Origin != "" {
		return o.Origin
	}
	return o.Print()
}

// Print is what an operation issued again for this one names as its Origin, if this one has
// none itself: the first 32 hexadecimal digits of Sum.
func (o *Op) Print() string {
	p := o.print()
	return hex.EncodeToString(p[:])
}

// Reissue returns the operation to send again under a new actor after a fork. name gives the
// present name of a dot that o names: itself when it has reached the server, its new name when
// it is another of the author's own that was issued again just now, and false when it is gone,
// which drops it; an element to follow that is dropped becomes the head of the list. Reissue
// reports false when nothing is left to do: a rem whose targets never arrived, or a value that
// was erased. name MUST NOT be nil.
func (o *Op) Reissue(dot Dot, t Time, name func(Dot) (Dot, bool)) (Op, bool) {
	again := Op{Dot: dot, Time: t, Kind: o.Kind, Path: o.Path, Val: o.Val, N: o.N, Origin: o.OriginHash()}
	if o.Ref.Seq != 0 {
		if present, ok := name(o.Ref); ok {
			again.Ref = present
		}
	}
	for _, seen := range o.Seen {
		if present, ok := name(seen); ok {
			again.Seen = append(again.Seen, present)
		}
	}
	return again, (o.Kind != Rem || len(again.Seen) > 0) && !IsRedacted(o.Val)
}
