package crdt

import (
	"errors"
	"fmt"
)

var (
	// ErrFormat is the parent of every refusal at the trust boundary: the bytes are
	// not a canonical operation or value. Sending the same bytes again cannot help.
	ErrFormat = errors.New("crdt: not in canonical form")
	// ErrInboxFull reports that an early operation was not kept; send it again later.
	ErrInboxFull = errors.New("crdt: inbox full")
	// ErrSnapshot reports snapshot bytes that cannot be read; rebuild from the log.
	ErrSnapshot = errors.New("crdt: snapshot unreadable")
)

// A FormatError says why bytes were refused. It unwraps to ErrFormat and never quotes
// the input, which may hold personal data.
type FormatError struct {
	Reason string
	Offset int // byte offset in the input, or -1 where none applies
}

func (e *FormatError) Error() string {
	if e.Offset < 0 {
		return ErrFormat.Error() + ": " + e.Reason
	}
	return fmt.Sprintf("%v: %s at byte %d", ErrFormat, e.Reason, e.Offset)
}

func (e *FormatError) Unwrap() error { return ErrFormat }

func refuse(reason string) error { return &FormatError{Reason: reason, Offset: -1} }

// A GapError reports an operation that arrived before its actor's previous one (R3).
// Nothing was changed. The sender continues at Want.
type GapError struct {
	Actor string
	Want  uint64
}

func (e *GapError) Error() string {
	return fmt.Sprintf("crdt: gap: %s continues at %d", e.Actor, e.Want)
}

// A MissingError reports an operation that names operations not held (R3). Nothing was
// changed. Dots lists the missing ones in the order named, at most MissingMax of them.
type MissingError struct {
	Dots []Dot
}

func (e *MissingError) Error() string {
	if len(e.Dots) == 0 {
		return "crdt: operations missing"
	}
	return fmt.Sprintf("crdt: operations missing: %s and %d more", e.Dots[0], len(e.Dots)-1)
}

// A ForkError reports a dot already held for other bytes (R2): two histories share one
// actor id, as after a restored tablet. Nothing was changed. The sender MUST take a new
// actor id and issue its unacknowledged operations again (Op.Reissue).
type ForkError struct {
	Dot Dot
}

func (e *ForkError) Error() string {
	return fmt.Sprintf("crdt: fork: %s is already held for another operation", e.Dot)
}
