package merge

import (
	"errors"
	"fmt"
)

var (
	// ErrBusy is the parent of every error that goes away by itself: answer 503 with
	// Retry-After.
	ErrBusy = errors.New("merge: busy, try again later")
	// ErrQueueFull reports that the job was not queued.
	ErrQueueFull = fmt.Errorf("%w: the write queue is full", ErrBusy)
	// ErrStopped reports that the service does not run (yet, or any more).
	ErrStopped = fmt.Errorf("%w: not running", ErrBusy)
	// ErrNoSession reports an unknown test session.
	ErrNoSession = errors.New("merge: no such test session")
	// ErrForeignActor reports an actor id that was not issued to the caller.
	ErrForeignActor = errors.New("merge: the actor id was not issued to this user")
	// ErrPanic reports that a job panicked. The stack is in the log, not in the error.
	ErrPanic = errors.New("merge: internal error in a job")
	// ErrJobOver reports a Batch used after its job has returned.
	ErrJobOver = errors.New("merge: the job is over")
	// ErrInvalid is the parent of all InvalidErrors.
	ErrInvalid = errors.New("merge: invalid")
	// ErrNotSigned reports a session that nobody has signed in its present state.
	ErrNotSigned = errors.New("merge: the present state is not signed")
	// ErrSettled reports a decision about values of which none stands any more: somebody
	// else has decided meanwhile. Nothing was stored.
	ErrSettled = errors.New("merge: none of the values stands any more")
	// ErrLogDamaged reports a log that contradicts itself; Verify names the place.
	ErrLogDamaged = errors.New("merge: the operation log is damaged")
)

// An InvalidError is a mistake in the caller's request; nothing was stored. It unwraps to
// ErrInvalid and to its cause, if it has one, and never quotes the input.
type InvalidError struct {
	Index   int    // of the change or line
	Pointer string // JSON Pointer into the request: "/changes/3/path"
	Detail  string
	Err     error // may be nil
}

func (e *InvalidError) Error() string {
	return fmt.Sprintf("%v: %s: %s", ErrInvalid, e.Pointer, e.Detail)
}

func (e *InvalidError) Unwrap() []error {
	if e.Err == nil {
		return []error{ErrInvalid}
	}
	return []error{ErrInvalid, e.Err}
}

// A ChainError reports operations whose chain is not the one of the log: the sender's
// history differs from the one stored under its actor id, as after a restored tablet, or a
// line was damaged on the way. Nothing was stored.
type ChainError struct {
	Actor string
	Seq   uint64 // the operation after which the chains differ
}

func (e *ChainError) Error() string {
	return fmt.Sprintf("merge: the chain of %s differs at %d", e.Actor, e.Seq)
}

// A LimitError reports a request or a document above a limit. Nothing was stored.
type LimitError struct {
	What string // "changes in a request", "operations in a document", …
	Max  int
}

func (e *LimitError) Error() string { return fmt.Sprintf("merge: more than %d %s", e.Max, e.What) }
