package merge

import (
	"context"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"firemode/crdt"

	"github.com/pocketbase/dbx"
)

// signoffsPrefix is where a document keeps sign-offs, one log per role.
const signoffsPrefix = "signoffs/"

// StatementMaxBytes bounds what a signer declares.
const StatementMaxBytes = 4000

// A State names one exact state of a document: whoever holds the same operations computes
// the same digest.
type State struct {
	SessionID   string             `json:"session_id"`
	ServerSeq   int64              `json:"server_seq"`
	VectorClock crdt.VersionVector `json:"vector_clock"`
	Digest      string             `json:"digest"` // hexadecimal, of crdt.Doc.Digest
	Schema      string             `json:"schema"` // the reading rules, "name/version"
}

func (s *Service) stateOf(d *document) State {
	digest := d.state.Digest()
	return State{SessionID: d.session, ServerSeq: d.n, VectorClock: d.state.Version(), Digest: hex.EncodeToString(digest[:]), Schema: s.schema.ID()}
}

// State returns where the document stands. Its cost grows with the document. Errors:
// ErrNoSession.
func (s *Service) State(ctx context.Context, sessionID string) (state State, err error) {
	_, err = s.view(ctx, sessionID, func(d *document) { state = s.stateOf(d) })
	state.SessionID = sessionID
	return state, err
}

// A StateError reports that the document is not in the state that was signed: something
// arrived meanwhile. Nothing was stored.
type StateError struct{ Now State }

func (e *StateError) Error() string {
	return fmt.Sprintf("merge: the document stands at %d", e.Now.ServerSeq)
}

// A SignRequest is somebody's declaration about the exact state they had on screen.
type SignRequest struct {
	SessionID string
	UserID    string
	Device    string
	Role      string // a segment of a path; who may sign as what is the caller's business
	Statement string // required
	Upto      int64  // State.ServerSeq of the state that is signed
	Digest    string // and its digest
}

// signoff is the value of a sign-off in the document.
type signoff struct {
	Digest    string `json:"digest"`
	Schema    string `json:"schema,omitempty"`
	Statement string `json:"statement"`
	Upto      int64  `json:"upto"`
}

// readSignoff reads a value at path as a sign-off, which it is not when a device wrote
// something else there.
func readSignoff(path, val string) (role string, v signoff, ok bool) {
	role, ok = strings.CutPrefix(path, signoffsPrefix)
	ok = ok && !strings.Contains(role, "/") && json.Unmarshal(crdt.RenderJSON(val), &v) == nil && v.Statement != ""
	return role, v, ok
}

// signs reports whether op is a sign-off.
func signs(op *crdt.Op) bool {
	_, _, ok := readSignoff(op.Path, op.Val)
	return ok
}

// Sign adds a sign-off, if the document is in the state that it names. Errors: ErrNoSession,
// *InvalidError, *StateError.
func (b *Batch) Sign(req SignRequest) (Result, error) {
	d, _, err := b.open(req.SessionID)
	if err != nil {
		return Result{}, err
	}
	switch {
	case !crdt.ValidPath(signoffsPrefix+req.Role) || strings.Contains(req.Role, "/"):
		return Result{}, &InvalidError{Pointer: "/role", Detail: "not a role"}
	case strings.TrimSpace(req.Statement) == "":
		return Result{}, &InvalidError{Pointer: "/statement", Detail: "missing"}
	case len(req.Statement) > StatementMaxBytes:
		return Result{}, &InvalidError{Pointer: "/statement", Detail: fmt.Sprintf("at most %d bytes", StatementMaxBytes)}
	}
	if now := b.r.s.stateOf(d); req.Upto != now.ServerSeq || !strings.EqualFold(req.Digest, now.Digest) {
		return Result{}, &StateError{Now: now}
	}
	value, err := json.Marshal(signoff{Digest: strings.ToLower(req.Digest), Schema: b.r.s.schema.ID(), Statement: req.Statement, Upto: req.Upto})
	if err != nil {
		return Result{}, fmt.Errorf("encode sign-off: %w", err)
	}
	return b.Change(ChangeRequest{
		SessionID: req.SessionID, UserID: req.UserID, Device: req.Device,
		Changes: []Change{{Op: OpAppend, Path: signoffsPrefix + req.Role, Value: value}},
		decides: true,
	})
}

// A SignOff is a sign-off that stands in the document.
type SignOff struct {
	Role      string `json:"role"`
	UserID    string `json:"user_id"`
	Device    string `json:"device,omitempty"`
	Statement string `json:"statement"`
	Upto      int64  `json:"upto"`   // server position of the state that was signed
	Digest    string `json:"digest"` // of that state
	Schema    string `json:"schema,omitempty"`
	Dot       string `json:"dot"`
	Time      string `json:"time"`     // by the author's clock, RFC 3339
	Received  string `json:"received"` // by the server's clock, RFC 3339
	// Current is false once something other than a sign-off or a reason has been recorded
	// after the state that was signed: a new sign-off is needed.
	Current bool `json:"current"`
}

// SignOffs returns the sign-offs of a document, newest first. Errors: ErrNoSession.
func (s *Service) SignOffs(ctx context.Context, sessionID string) ([]SignOff, error) {
	list := []SignOff{}
	at, err := s.view(ctx, sessionID, func(d *document) { list = signoffsOf(d.state) })
	if err != nil || len(list) == 0 {
		return list, err
	}
	return list, completeSignOffs(ctx, s.app.ConcurrentDB(), at.id, list)
}

func signoffsOf(state *crdt.Doc) []SignOff {
	list := []SignOff{}
	for path := range state.Paths(signoffsPrefix) {
		for _, e := range state.Values(path) {
			role, v, ok := readSignoff(path, e.Val)
			if !ok {
				continue // it stays readable in the document
			}
			list = append(list, SignOff{
				Role: role, Statement: v.Statement, Upto: v.Upto, Digest: v.Digest, Schema: v.Schema,
				Dot: e.Dot.String(), Time: timeText(e.Time.Wall()),
			})
		}
	}
	return list
}

// completeSignOffs fills in what only the log knows and puts the newest first.
func completeSignOffs(ctx context.Context, db dbx.Builder, doc int64, list []SignOff) error {
	last, err := lastRecorded(ctx, db, doc)
	if err != nil {
		return err
	}
	for i := range list {
		o := &list[i]
		dot, _ := crdt.ParseDot(o.Dot)
		var received int64
		err := db.NewQuery(`SELECT a.user, a.device, o.recv FROM crdt_ops o JOIN crdt_actors a ON a.id = o.actor
			WHERE o.doc = {:doc} AND o.seq = {:seq} AND a.key = {:actor}`).WithContext(ctx).
			Bind(dbx.Params{"doc": doc, "seq": int64(dot.Seq), "actor": dot.Actor}).Row(&o.UserID, &o.Device, &received)
		if err != nil {
			return fmt.Errorf("read sign-off: %w", err)
		}
		o.Device = shownDevice(o.Device)
		o.Received = timeText(time.UnixMilli(received))
		o.Current = last <= o.Upto
	}
	slices.SortStableFunc(list, func(a, b SignOff) int { return strings.Compare(b.Received+b.Dot, a.Received+a.Dot) })
	return nil
}

// lastRecorded is the position of the newest operation that is neither a sign-off nor a
// reason. Those come last and are few, so it reads backwards.
func lastRecorded(ctx context.Context, db dbx.Builder, doc int64) (int64, error) {
	rows, err := db.NewQuery(`SELECT n, q, line FROM crdt_ops WHERE doc = {:doc} ORDER BY n DESC`).WithContext(ctx).Bind(dbx.Params{"doc": doc}).Rows()
	if err != nil {
		return 0, fmt.Errorf("read newest operation: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var n, flags int64
		var line sql.RawBytes
		if err := rows.Scan(&n, &flags, &line); err != nil {
			return 0, fmt.Errorf("read newest operation: %w", err)
		}
		op, err := parseStored(flags, nil, line)
		if err != nil {
			return 0, fmt.Errorf("%w: position %d: %w", ErrLogDamaged, n, err)
		}
		if !strings.HasPrefix(op.Path, signoffsPrefix) && op.Path != ReasonsPath {
			return n, nil
		}
	}
	return 0, rows.Err()
}
