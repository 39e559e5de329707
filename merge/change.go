package merge

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"firemode/crdt"
)

// What a simple change does.
const (
	OpSet    = "set"    // the value of a field, in the place of the values its author saw
	OpInc    = "inc"    // adds an integer to a counter
	OpAppend = "append" // a further note, photo or tag, or a further element of a list
	OpRemove = "remove" // the values or list elements its author saw

	opAdmit  = "admit"  // a value under AdmittedPath; Batch.Admit makes it
	opRedact = "redact" // a value under RedactedPath; Batch.Redact makes it
)

// A Change is one simple change. Path is a document path, or a JSON Pointer when it begins
// with a slash. Value is any JSON; its numbers keep their digits. Seen names the operations
// ("actor.seq") whose values the author had on screen; nil means those the request's clock
// covers.
type Change struct {
	Op    string          `json:"op"`
	Path  string          `json:"path"`
	Value json.RawMessage `json:"value,omitempty"`
	Seen  []string        `json:"seen,omitempty"`
}

// A ChangeRequest is simple changes that the server turns into operations of the caller.
// Without a Clock and without Seen a set replaces nothing: it stands beside the values that
// are there, as a conflict.
type ChangeRequest struct {
	SessionID string
	UserID    string
	Device    string // names the client's installation; "" is allowed
	Changes   []Change
	Clock     crdt.VersionVector // what the author had on screen; may be nil
	// Reason is why; it is kept in the document under ReasonsPath, in the history of the
	// fields and in the audit log. "" for none, at most ReasonMaxBytes.
	Reason string

	decides bool     // about what others recorded
	act     decision // for the audit log, when the change says itself why
}

// A Result says what is stored once the job's Do has returned nil.
type Result struct {
	SessionID string `json:"session_id"`
	// VectorClock is the request's clock and the new operations: what the caller may send
	// as its clock next. It leaves out what others wrote meanwhile, and the new operations
	// too when the clock did not cover the caller's earlier ones.
	VectorClock crdt.VersionVector `json:"vector_clock"`
	ServerSeq   int64              `json:"server_seq"`
	Conflicts   []Conflict         `json:"conflicts"` // on the paths of the request
	Ops         []string           `json:"ops"`       // the dot of each change, in order
	Late        bool               `json:"late"`      // the session is locked: shows as an addendum
}

// Change stores simple changes; all of them or, on an error, none. A later change of the
// request sees the earlier ones. Errors: ErrNoSession, *InvalidError with the place of the
// mistake, *LimitError.
func (b *Batch) Change(req ChangeRequest) (Result, error) {
	d, flags, err := b.open(req.SessionID)
	if err != nil {
		return Result{}, err
	}
	switch {
	case len(req.Changes) == 0:
		return Result{}, &InvalidError{Pointer: "/changes", Detail: "at least one change"}
	case len(req.Changes) > changesMax:
		return Result{}, &LimitError{What: "changes in a request", Max: changesMax}
	}
	if req.Device != "" {
		if err := checkDevice(req.Device); err != nil {
			return Result{}, err
		}
	}
	actor, err := actorFor(b.r.stmt, req.UserID, b.r.s.resultsDevice(req.Device))
	if err != nil {
		return Result{}, err
	}
	if err := checkReason(req.Reason); err != nil {
		return Result{}, err
	}
	if err := b.r.s.room(d, actor.key, req.decides, len(req.Changes)+1); err != nil {
		return Result{}, err
	}
	h := d.head(actor.key)
	t := translator{s: b.r.s, state: d.state, clock: req.Clock, next: crdt.Dot{Actor: actor.key, Seq: h.seq + 1}, own: map[string][]crdt.Dot{}, tail: map[string]crdt.Dot{}}
	e := &entry{actor: actor, chain: h.chain, flags: flags, recv: b.r.s.config.Now().UnixMilli(), decision: req.act}
	if req.Reason != "" {
		e.decision.reason = req.Reason
	}
	for i, c := range req.Changes {
		line, op, err := t.translate(c)
		if err != nil {
			err.Index = i
			err.Pointer = fmt.Sprintf("/changes/%d%s", i, err.Pointer)
			return Result{}, err
		}
		e.lines, e.ops = append(e.lines, line), append(e.ops, op)
		e.chain = crdt.ChainSum(e.chain, op.Sum())
	}
	if req.Reason != "" {
		line, op, err := t.translate(reasonNote(req.Reason, e.ops))
		if err != nil {
			return Result{}, &InvalidError{Pointer: "/reason", Detail: err.Detail, Err: err.Err}
		}
		e.lines, e.ops = append(e.lines, line), append(e.ops, op)
		e.chain = crdt.ChainSum(e.chain, op.Sum())
	}
	if err := b.r.store(b, d, e); err != nil {
		return Result{}, err
	}
	if err := b.audit(d, req.UserID, e); err != nil {
		return Result{}, err
	}
	return b.result(req, d, e), nil
}

func (b *Batch) result(req ChangeRequest, d *document, e *entry) Result {
	first, last := e.ops[0].Dot, e.ops[len(e.ops)-1].Dot
	clock := maps.Clone(req.Clock)
	if clock == nil {
		clock = crdt.VersionVector{}
	}
	if clock[first.Actor] >= first.Seq-1 {
		clock[first.Actor] = max(clock[first.Actor], last.Seq)
	}
	res := Result{
		SessionID: d.session, VectorClock: clock, ServerSeq: d.n, Late: e.flags&flagLate != 0,
		Ops: make([]string, len(req.Changes)), Conflicts: []Conflict{},
	}
	seen := map[string]bool{}
	for i := range req.Changes { // the note of the reason comes after them
		res.Ops[i] = e.ops[i].Dot.String()
		path := e.ops[i].Path
		if e.ops[i].Kind != crdt.Put && e.ops[i].Kind != crdt.Rem || seen[path] {
			continue
		}
		seen[path] = true
		if v := b.r.s.schema.Resolve(d.state, path); v.Conflict {
			res.Conflicts = append(res.Conflicts, newConflict(v, resultEntriesMax))
		}
	}
	return res
}

// translator makes operations out of simple changes, in order.
type translator struct {
	s     *Service
	state *crdt.Doc // before the request
	clock crdt.VersionVector
	next  crdt.Dot
	own   map[string][]crdt.Dot // live values and elements of this request, by path
	tail  map[string]crdt.Dot   // last list element of this request, by path
}

// translate returns the line and the operation of one change. The pointer of its error
// begins at the change.
func (t *translator) translate(c Change) ([]byte, crdt.Op, *InvalidError) {
	fail := func(pointer, detail string, err error) ([]byte, crdt.Op, *InvalidError) {
		return nil, crdt.Op{}, &InvalidError{Pointer: pointer, Detail: detail, Err: err}
	}
	path, err := documentPath(c.Path)
	if err != nil {
		return fail("/path", err.Error(), err)
	}
	switch {
	case path == AdmittedPath && c.Op != opAdmit:
		return fail("/path", "reserved for admissions from quarantine", nil)
	case path == RedactedPath && c.Op != opRedact:
		return fail("/path", "reserved for redactions", nil)
	}
	seen, bad := t.seen(c, path)
	if bad != nil {
		return nil, crdt.Op{}, bad
	}
	op := crdt.Op{Dot: t.next, Time: t.s.clock.Next(), Path: path}
	switch c.Op {
	case OpSet:
		op.Kind, op.Seen = crdt.Put, seen
	case OpAppend:
		op.Kind, op.Ref = t.appendKind(path)
	case opAdmit, opRedact:
		op.Kind, op.Seen = crdt.Put, seen
	case OpInc:
		op.Kind = crdt.Inc
	case OpRemove:
		op.Kind, op.Seen = crdt.Rem, seen
		if len(seen) == 0 {
			return fail("/seen", "nothing to remove: name what was seen, or send the vector clock it was read with", nil)
		}
	default:
		return fail("/op", "one of set, inc, append, remove", nil)
	}
	if len(op.Seen) > crdt.SeenMax {
		return fail("/seen", fmt.Sprintf("more than %d values at once", crdt.SeenMax), nil)
	}
	if op.Kind == crdt.Rem {
		if len(c.Value) > 0 {
			return fail("/value", "a removal has no value", nil)
		}
	} else if bad := setValue(&op, c.Value); bad != nil {
		return nil, crdt.Op{}, bad
	}
	line, op, err := op.Encode()
	if err != nil {
		return fail("", err.Error(), err)
	}
	switch {
	case c.Op == OpSet:
		t.own[path] = []crdt.Dot{op.Dot}
	case op.Kind == crdt.Put:
		t.own[path] = append(t.own[path], op.Dot)
	case op.Kind == crdt.Ins:
		t.own[path] = append(t.own[path], op.Dot)
		t.tail[path] = op.Dot
	case op.Kind == crdt.Rem:
		delete(t.own, path)
	}
	t.next.Seq++
	return line, op, nil
}

func setValue(op *crdt.Op, raw json.RawMessage) *InvalidError {
	if len(raw) == 0 {
		return &InvalidError{Pointer: "/value", Detail: "missing"}
	}
	value, err := crdt.CanonicalJSON(raw)
	if err != nil {
		return &InvalidError{Pointer: "/value", Detail: err.Error(), Err: err}
	}
	if op.Kind != crdt.Inc {
		op.Val = string(value)
		return nil
	}
	n, err := strconv.ParseInt(string(value), 10, 64)
	if err != nil || n == 0 || n > crdt.IncMax || n < -crdt.IncMax {
		return &InvalidError{Pointer: "/value", Detail: "an integer other than 0 within 2^31"}
	}
	op.N = n
	return nil
}

// documentPath reads a path as it is, and anything else as a JSON Pointer.
func documentPath(s string) (string, error) {
	if crdt.ValidPath(s) {
		return s, nil
	}
	return crdt.PathFromPointer(s)
}

// seen returns the dots a change replaces: those named, else those on its path which the
// clock covers, and in any case what this request has put there before.
func (t *translator) seen(c Change, path string) ([]crdt.Dot, *InvalidError) {
	if c.Op == OpInc || c.Op == OpAppend {
		if len(c.Seen) > 0 {
			return nil, &InvalidError{Pointer: "/seen", Detail: "belongs to set and remove"}
		}
		return nil, nil
	}
	if c.Seen == nil {
		dots := t.state.Covered(path, t.clock)
		if c.Op == OpRemove {
			for _, e := range t.state.List(path) {
				if t.clock.Has(e.Dot) {
					dots = append(dots, e.Dot)
				}
			}
		}
		return append(dots, t.own[path]...), nil
	}
	var dots []crdt.Dot
	if c.Op == OpSet || c.Op == OpRemove { // a decision is about what it names alone
		dots = slices.Clone(t.own[path])
	}
	for i, s := range c.Seen {
		dot, ok := crdt.ParseDot(s)
		pointer := "/seen/" + strconv.Itoa(i)
		switch {
		case !ok:
			return nil, &InvalidError{Pointer: pointer, Detail: "not an operation's name (actor.seq)"}
		case !t.state.Has(dot):
			return nil, &InvalidError{Pointer: pointer, Detail: "no such operation", Err: &crdt.MissingError{Dots: []crdt.Dot{dot}}}
		case !slices.Contains(dots, dot):
			dots = append(dots, dot)
		}
	}
	return dots, nil
}

// appendKind says what an append to path is: where the schema gathers values, a further
// one; elsewhere an element at the end of the list.
func (t *translator) appendKind(path string) (crdt.Kind, crdt.Dot) {
	switch t.s.schema.Resolve(crdt.New(), path).Policy {
	case crdt.Log, crdt.Union:
		return crdt.Put, crdt.Dot{}
	}
	if last, ok := t.tail[path]; ok {
		return crdt.Ins, last
	}
	if list := t.state.List(path); len(list) > 0 {
		return crdt.Ins, list[len(list)-1].Dot
	}
	return crdt.Ins, crdt.Dot{}
}
