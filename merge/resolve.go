package merge

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"firemode/crdt"
)

// A ResolveRequest is somebody's decision about a field that holds several values. Exactly
// one of Value and Choose is set.
type ResolveRequest struct {
	SessionID string
	UserID    string
	Device    string          // names the client's installation; "" is allowed
	Path      string          // as in a Change
	Value     json.RawMessage // what the field is to hold
	Choose    string          // or the operation ("actor.seq") whose value it is to keep
	Seen      []string        // the operations whose values the decider had on screen
	Reason    string          // required
}

// Resolve replaces the values that the decider saw by one, and keeps the reason. It is an
// ordinary set: a value that arrived meanwhile was not seen, stands on, and is in the
// Conflicts of the Result. Errors: those of Change, ErrSettled.
func (b *Batch) Resolve(req ResolveRequest) (Result, error) {
	d, _, err := b.open(req.SessionID)
	if err != nil {
		return Result{}, err
	}
	path, err := documentPath(req.Path)
	if err != nil {
		return Result{}, &InvalidError{Pointer: "/path", Detail: err.Error(), Err: err}
	}
	switch {
	case strings.TrimSpace(req.Reason) == "":
		return Result{}, &InvalidError{Pointer: "/reason", Detail: "missing"}
	case (len(req.Value) == 0) == (req.Choose == ""):
		return Result{}, &InvalidError{Pointer: "/value", Detail: "either value or choose"}
	case len(req.Seen) == 0:
		return Result{}, &InvalidError{Pointer: "/seen", Detail: "name the values that were seen"}
	}
	live := map[string]crdt.Entry{}
	for _, e := range d.state.Values(path) {
		live[e.Dot.String()] = e
	}
	stands := false
	for _, dot := range req.Seen {
		_, ok := live[dot]
		stands = stands || ok
	}
	if !stands {
		if bad := unknownDots(d.state, req.Seen); bad != nil {
			return Result{}, bad
		}
		return Result{}, ErrSettled
	}
	if req.Choose != "" {
		chosen, ok := live[req.Choose]
		if !ok {
			return Result{}, &InvalidError{Pointer: "/choose", Detail: "not a value that stands at this path"}
		}
		req.Value = crdt.RenderJSON(chosen.Val)
	}
	res, err := b.Change(ChangeRequest{
		SessionID: req.SessionID, UserID: req.UserID, Device: req.Device, Reason: req.Reason,
		Changes: []Change{{Op: OpSet, Path: req.Path, Value: req.Value, Seen: req.Seen}},
		decides: true,
	})
	if invalid := new(InvalidError); errors.As(err, &invalid) {
		invalid.Pointer = strings.TrimPrefix(invalid.Pointer, "/changes/0")
	}
	return res, err
}

// unknownDots names the first of dots that the document does not hold.
func unknownDots(state *crdt.Doc, dots []string) error {
	for i, text := range dots {
		if dot, ok := crdt.ParseDot(text); !ok || !state.Has(dot) {
			return &InvalidError{Pointer: fmt.Sprintf("/seen/%d", i), Detail: "no such operation"}
		}
	}
	return nil
}
