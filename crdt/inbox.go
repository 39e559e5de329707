package crdt

import "errors"

// An Inbox feeds a document with operations that arrive in any order: early ones wait until
// what they need is there. Doc MUST be set; the zero Max means InboxMax. For one goroutine.
type Inbox struct {
	Doc *Doc
	Max int

	waiting map[Dot]*Op
}

// Add applies o and then whatever was waiting for it. It returns ErrInboxFull when o is
// early and does not fit, a *ForkError when o's dot is taken by another operation, held or
// waiting. After a nil error o is applied or waits; the Inbox keeps o, which MUST NOT change.
func (in *Inbox) Add(o *Op) error {
	_, err := in.Doc.Apply(o)
	switch {
	case err == nil:
		in.drain()
		return nil
	case !early(err):
		return err
	}
	if w := in.waiting[o.Dot]; w != nil {
		if w.print() != o.print() {
			return &ForkError{Dot: o.Dot}
		}
		return nil
	}
	limit := in.Max
	if limit == 0 {
		limit = InboxMax
	}
	if len(in.waiting) >= limit {
		return ErrInboxFull
	}
	if in.waiting == nil {
		in.waiting = map[Dot]*Op{}
	}
	in.waiting[o.Dot] = o
	return nil
}

// Waiting returns how many operations wait.
func (in *Inbox) Waiting() int { return len(in.waiting) }

// drain applies what waits until nothing more fits. The result does not depend on the order
// of the map: the document is a function of the set. An operation that turns out to be a
// fork is dropped; its sender learns of it when sending.
func (in *Inbox) drain() {
	for again := true; again; {
		again = false
		for dot, w := range in.waiting {
			if _, err := in.Doc.Apply(w); early(err) {
				continue
			}
			delete(in.waiting, dot)
			again = true
		}
	}
}

func early(err error) bool {
	var gap *GapError
	var missing *MissingError
	return errors.As(err, &gap) || errors.As(err, &missing)
}
