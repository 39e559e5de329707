package crdt

import (
	"cmp"
	"strconv"
	"strings"
)

// A Dot names one operation: the Seq-th of Actor. Seq starts at 1 and has no gaps. The
// zero Dot names nothing.
type Dot struct {
	Actor string
	Seq   uint64
}

// String returns "actor.seq", the form used on the wire.
func (d Dot) String() string { return string(d.appendTo(nil)) }

func (d Dot) appendTo(b []byte) []byte {
	b = append(b, d.Actor...)
	b = append(b, '.')
	return strconv.AppendUint(b, d.Seq, 10)
}

// Compare orders dots by actor bytes, then by seq.
func (d Dot) Compare(e Dot) int {
	if c := cmp.Compare(d.Actor, e.Actor); c != 0 {
		return c
	}
	return cmp.Compare(d.Seq, e.Seq)
}

// ParseDot reads the form String writes and nothing else; it reports false for anything
// that is not the one spelling of a dot.
func ParseDot(s string) (Dot, bool) {
	i := strings.LastIndexByte(s, '.')
	if i <= 0 || !ValidActor(s[:i]) {
		return Dot{}, false
	}
	n, ok := parseSeq(s[i+1:])
	return Dot{Actor: s[:i], Seq: n}, ok
}

// parseSeq reads a positive decimal without leading zeros, at most IntMax.
func parseSeq(s string) (uint64, bool) {
	if s == "" || len(s) > 16 || s[0] == '0' {
		return 0, false
	}
	var n uint64
	for i := range len(s) {
		c := s[i] - '0'
		if c > 9 {
			return 0, false
		}
		n = n*10 + uint64(c)
	}
	return n, n <= IntMax
}

// ValidActor reports whether s may name an actor: 1 to ActorMaxBytes of [A-Za-z0-9_-].
func ValidActor(s string) bool {
	if s == "" || len(s) > ActorMaxBytes {
		return false
	}
	for i := range len(s) {
		if charClass[s[i]] != classActor {
			return false
		}
	}
	return true
}

const (
	classNone  = iota
	classActor // actors and paths
	classPath  // paths only
)

// charClass spares the parser a chain of comparisons per byte.
var charClass = func() (t [256]uint8) {
	for _, c := range "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-" {
		t[c] = classActor
	}
	for _, c := range ":@." {
		t[c] = classPath
	}
	return t
}()
