package merge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"firemode/crdt"

	"github.com/pocketbase/dbx"
)

// AdmittedPath is where a document keeps admissions: an operation there brings the
// operations that it names as seen out of quarantine. Being an operation, it has its place
// in the log, so that every replica at one position holds one document.
const AdmittedPath = "notes/admitted"

// admitMax bounds the operations of one admission.
const admitMax = 1000

// ErrOwnAdmission reports an admission of the admitter's own operations: somebody else has
// to look at them.
var ErrOwnAdmission = errors.New("merge: nobody admits their own operations")

// admits reports whether op is an admission.
func admits(op *crdt.Op) bool { return op.Kind == crdt.Put && op.Path == AdmittedPath }

// standing returns the flags that everything in the request gets.
func (req *SyncRequest) standing(actor actorRow) (flags int64) {
	if actor.revoked {
		flags |= flagQuarantined | flagRevoked
	}
	if req.Lapsed {
		flags |= flagQuarantined | flagLapsed
	}
	return flags
}

// reserved reports whether op writes where admissions and redactions are kept.
func reserved(op *crdt.Op) bool { return op.Path == AdmittedPath || op.Path == RedactedPath }

// entries groups ops that follow the chain into entries of equal flags: what is reserved is
// quarantined alone, but for an admission by somebody who may admit. Redactions only the server
// makes, and nobody removes either. What comesBack reports loses its value.
func (req *SyncRequest) entries(chain [32]byte, ops []crdt.Op, lines [][]byte, flags int64, comesBack func(op *crdt.Op, flags int64) bool) (list []*entry) {
	var last *entry
	for i := range ops {
		own, op, line := flags, ops[i], lines[i]
		if reserved(&ops[i]) && !(admits(&ops[i]) && req.Supervisor) {
			own |= flagQuarantined | flagReserved
		}
		if comesBack(&op, own) {
			line, op = op.Redact()
			own |= flagRedacted
		}
		if last == nil || last.flags != own {
			last = &entry{flags: own}
			list = append(list, last)
		}
		chain = crdt.ChainSum(chain, op.Sum())
		last.ops, last.lines, last.chain = append(last.ops, op), append(last.lines, line), chain
	}
	return list
}

// An AdmitRequest brings operations out of quarantine.
type AdmitRequest struct {
	SessionID string
	UserID    string
	Device    string
	Dots      []string // "actor.seq", at most 1,000
	Reason    string   // required
}

// Admit gives quarantined operations the effect they would have had, for every replica,
// from this position of the log on. Who may is the caller's business. Errors: ErrNoSession,
// *InvalidError (a dot that is not in quarantine), ErrOwnAdmission.
func (b *Batch) Admit(req AdmitRequest) (Result, error) {
	d, _, err := b.open(req.SessionID)
	if err != nil {
		return Result{}, err
	}
	if err := checkNamed(req.Reason, req.Dots, admitMax, "operations in an admission"); err != nil {
		return Result{}, err
	}
	held := d.state.Quarantined()
	for i, text := range req.Dots {
		dot, ok := crdt.ParseDot(text)
		if _, found := slices.BinarySearchFunc(held, dot, crdt.Dot.Compare); !ok || !found {
			return Result{}, &InvalidError{Pointer: "/dots/" + strconv.Itoa(i), Detail: "not an operation in quarantine"}
		}
		o, err := b.r.logged(d, dot)
		if err != nil {
			return Result{}, err
		}
		if o.user == req.UserID {
			return Result{}, ErrOwnAdmission
		}
		if redacts(&o.op) {
			return Result{}, &InvalidError{Pointer: "/dots/" + strconv.Itoa(i), Detail: "a redaction that a device made by itself: redact through the operation for it"}
		}
	}
	value, err := json.Marshal(map[string]string{"reason": req.Reason})
	if err != nil {
		return Result{}, fmt.Errorf("encode admission: %w", err)
	}
	return b.Change(ChangeRequest{
		SessionID: req.SessionID, UserID: req.UserID, Device: req.Device,
		Changes: []Change{{Op: opAdmit, Path: AdmittedPath, Value: value, Seen: req.Dots}},
		decides: true,
		act:     decision{action: opAdmit, reason: req.Reason, dots: req.Dots},
	})
}

// A QuarantinedOp is an operation without effect.
type QuarantinedOp struct {
	N        int64           `json:"n"`
	Dot      string          `json:"dot"`
	Kind     string          `json:"kind"` // put, rem, inc or ins
	Path     string          `json:"path"`
	Value    json.RawMessage `json:"value,omitempty"`
	Seen     []string        `json:"seen,omitempty"`
	UserID   string          `json:"user_id"`
	Device   string          `json:"device,omitempty"`
	Time     string          `json:"time"`     // by the author's clock, RFC 3339
	Received string          `json:"received"` // by the server's clock, RFC 3339
	Causes   []string        `json:"causes"`   // revoked_device, lapsed_right, reserved_path
}

func causes(flags int64) []string {
	list := []string{}
	for _, c := range []struct {
		flag int64
		name string
	}{{flagRevoked, "revoked_device"}, {flagLapsed, "lapsed_right"}, {flagReserved, "reserved_path"}} {
		if flags&c.flag != 0 {
			list = append(list, c.name)
		}
	}
	return list
}

// Quarantine returns the operations in quarantine that were not admitted, in the order they
// arrived, behind a server position, at most limit of them and never more than 1,001, a page and
// one to tell that there are others; limit 0 means 1,000. Errors: ErrNoSession.
func (s *Service) Quarantine(ctx context.Context, sessionID string, after int64, limit int) ([]QuarantinedOp, error) {
	if limit <= 0 {
		limit = readRowsMax
	}
	limit = min(limit, readRowsMax+1)
	list := []QuarantinedOp{}
	var held []crdt.Dot
	at, err := s.view(ctx, sessionID, func(d *document) { held = d.state.Quarantined() })
	if err != nil || len(held) == 0 {
		return list, err
	}
	rows, err := s.app.ConcurrentDB().NewQuery(`SELECT o.n, o.recv, o.q, o.line, a.user, a.device FROM crdt_ops o JOIN crdt_actors a ON a.id = o.actor
		WHERE o.doc = {:doc} AND o.n > {:after} AND o.q & {:quarantined} ORDER BY o.n`).WithContext(ctx).
		Bind(dbx.Params{"doc": at.id, "after": after, "quarantined": flagQuarantined}).Rows()
	if err != nil {
		return nil, fmt.Errorf("read quarantine: %w", err)
	}
	defer rows.Close()
	for rows.Next() && len(list) < limit {
		var q QuarantinedOp
		var received, flags int64
		var line []byte
		if err := rows.Scan(&q.N, &received, &flags, &line, &q.UserID, &q.Device); err != nil {
			return nil, fmt.Errorf("read quarantine: %w", err)
		}
		op, err := parseStored(flags, nil, line)
		if err != nil {
			return nil, fmt.Errorf("%w: position %d: %w", ErrLogDamaged, q.N, err)
		}
		if _, found := slices.BinarySearchFunc(held, op.Dot, crdt.Dot.Compare); !found {
			continue // admitted
		}
		q.Dot, q.Kind, q.Path, q.Value, q.Seen = op.Dot.String(), op.Kind.String(), op.Path, valueOf(&op), dotTexts(op.Seen)
		q.Device = shownDevice(q.Device)
		q.Time, q.Received = timeText(op.Time.Wall()), timeText(time.UnixMilli(received))
		q.Causes = causes(flags)
		list = append(list, q)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read quarantine: %w", err)
	}
	return list, nil
}
