package merge

import (
	"fmt"

	"firemode/crdt"

	"github.com/pocketbase/dbx"
)

// A SyncRequest is operations of one actor, made on a device, in order.
type SyncRequest struct {
	SessionID string
	UserID    string // the caller; the actor MUST have been issued to it
	Actor     string
	Since     int64    // the last server position the device holds; only Ack.More depends on it
	Prev      [32]byte // the device's chain before the first line
	Head      [32]byte // and after the last one
	Lines     [][]byte // canonical lines; kept as they are
	// Lapsed says that the caller could write to the session once and may not any more:
	// what they recorded is kept in quarantine.
	Lapsed bool
	// Supervisor says that the caller may admit operations from quarantine.
	Supervisor bool

	ops []crdt.Op // of Lines, once parsed
}

// Parse reads the lines, as Append does when Parse was not called before. Reading and
// hashing them on the caller's goroutine leaves the writer's to what only it can do. Lines
// and Actor MUST NOT change afterwards.
func (req *SyncRequest) Parse() (err error) {
	req.ops, err = parseLines(req.Actor, req.Lines)
	return err
}

// Admits reports whether any of the parsed lines is an admission, for which alone it
// matters whether the caller is a Supervisor.
func (req *SyncRequest) Admits() bool {
	for i := range req.ops {
		if admits(&req.ops[i]) {
			return true
		}
	}
	return false
}

// An Ack says what is stored once the job's Do has returned nil.
type Ack struct {
	Acked       uint64   // the actor's last operation in the log
	Chain       [32]byte // the chain after it: a device that has another one there has forked
	N           int64    // server position of the document
	Added       int      // lines that were new
	Duplicates  int      // lines that the log held already, with the same bytes
	Late        bool     // the session is locked: they show as an addendum
	Quarantined bool     // some of the lines have no effect until admitted
	More        bool     // there are operations after Since that are not among these lines
}

// Append stores operations made on a device; all of them or, on an error, none. Lines that
// are stored already with the same bytes are no error. Errors:
//
//	ErrNoSession, ErrForeignActor
//	*InvalidError       a line is not a canonical operation of the actor
//	*crdt.GapError      operations before these are not in the log: send them first
//	*crdt.ForkError     the log holds other operations under these numbers: ask for a new
//	                    actor id and issue again what was not acknowledged
//	*crdt.MissingError  a line names operations that are not in the log
//	*ChainError         the lines do not lead from Prev to Head
//	*LimitError
func (b *Batch) Append(req SyncRequest) (Ack, error) {
	d, flags, err := b.open(req.SessionID)
	if err != nil {
		return Ack{}, err
	}
	actor, err := b.r.ownActor(req.UserID, req.Actor)
	if err != nil {
		return Ack{}, err
	}
	flags |= req.standing(actor)
	if req.ops == nil {
		if err := req.Parse(); err != nil {
			return Ack{}, err
		}
	}
	ops := req.ops
	fresh, err := b.r.admissible(d, actor, req, ops)
	if err != nil {
		return Ack{}, err
	}
	if added := len(ops) - fresh; added > 0 {
		if err := b.r.s.room(d, req.Actor, false, added); err != nil {
			return Ack{}, err
		}
		recv := b.r.s.config.Now().UnixMilli()
		erased, err := b.r.erasedActs(d)
		if err != nil {
			return Ack{}, err
		}
		comesBack := func(op *crdt.Op, flags int64) bool { return b.r.comesBack(erased, actor.user, op, flags) }
		for _, e := range req.entries(d.head(req.Actor).chain, ops[fresh:], req.Lines[fresh:], flags, comesBack) {
			e.actor, e.recv = actor, recv
			flags |= e.flags
			if err := b.r.store(b, d, e); err != nil {
				return Ack{}, err
			}
			if err := b.audit(d, req.UserID, e); err != nil {
				return Ack{}, err
			}
		}
	}
	h := d.head(req.Actor)
	return Ack{
		Acked: h.seq, Chain: h.chain, N: d.n, Added: len(ops) - fresh, Duplicates: fresh,
		Late: flags&flagLate != 0, Quarantined: flags&flagQuarantined != 0,
		More: d.n-req.Since > int64(len(ops)-fresh),
	}, nil
}

// parseLines reads the lines, which MUST be consecutive operations of one actor.
func parseLines(actor string, lines [][]byte) ([]crdt.Op, error) {
	if len(lines) > changesMax {
		return nil, &LimitError{What: "operations in a request", Max: changesMax}
	}
	ops := make([]crdt.Op, len(lines))
	for i, line := range lines {
		op, err := crdt.ParseOp(line)
		if err != nil {
			return nil, &InvalidError{Index: i, Pointer: fmt.Sprintf("/lines/%d", i), Detail: err.Error(), Err: err}
		}
		if op.Actor != actor {
			return nil, &InvalidError{Index: i, Pointer: fmt.Sprintf("/lines/%d/a", i), Detail: "another actor than the request's", Err: ErrForeignActor}
		}
		if i > 0 && op.Seq != ops[i-1].Seq+1 {
			return nil, &crdt.GapError{Actor: actor, Want: ops[i-1].Seq + 1}
		}
		ops[i] = op
	}
	return ops, nil
}

// admissible checks ops against the log and returns how many of them it holds already.
func (r *round) admissible(d *document, actor actorRow, req SyncRequest, ops []crdt.Op) (held int, err error) {
	if len(ops) == 0 {
		return 0, nil
	}
	h, before := d.head(actor.key), ops[0].Seq-1
	if before > h.seq {
		return 0, &crdt.GapError{Actor: actor.key, Want: h.seq + 1}
	}
	chain, err := r.chainAt(d, actor, h, before)
	if err != nil {
		return 0, err
	}
	if chain != req.Prev {
		if before == 0 {
			return 0, &ChainError{Actor: actor.key}
		}
		return 0, &crdt.ForkError{Dot: crdt.Dot{Actor: actor.key, Seq: before}}
	}
	for i := range ops {
		op := &ops[i]
		chain = crdt.ChainSum(chain, op.Sum())
		if op.Seq <= h.seq {
			if err := d.state.Compare(op); err != nil {
				return 0, err
			}
			held++
			if op.Seq == h.seq && chain != h.chain {
				return 0, &crdt.ForkError{Dot: op.Dot}
			}
			continue
		}
		if missing := missingDots(d.state, op); missing != nil {
			return 0, &crdt.MissingError{Dots: missing}
		}
	}
	if chain != req.Head {
		return 0, &ChainError{Actor: actor.key, Seq: ops[len(ops)-1].Seq}
	}
	return held, nil
}

// missingDots returns what op names and the document will not hold when op's turn comes.
func missingDots(state *crdt.Doc, op *crdt.Op) (missing []crdt.Dot) {
	held := func(x crdt.Dot) bool {
		return x.Actor == op.Actor && x.Seq < op.Seq || state.Has(x)
	}
	for _, x := range op.Seen {
		if !held(x) && len(missing) < crdt.MissingMax {
			missing = append(missing, x)
		}
	}
	if op.Ref.Seq != 0 && !held(op.Ref) {
		missing = append(missing, op.Ref)
	}
	return missing
}

// chainAt returns the actor's chain after seq. Only a sender that repeats itself asks for
// another one than the head's, so it is computed from the log.
func (r *round) chainAt(d *document, actor actorRow, h head, seq uint64) ([32]byte, error) {
	if seq == h.seq {
		return h.chain, nil
	}
	chain := crdt.ChainStart(d.session, actor.key)
	if seq == 0 {
		return chain, nil
	}
	rows, err := r.stmt(`SELECT hash FROM crdt_ops WHERE doc = {:doc} AND actor = {:actor} AND seq <= {:seq} ORDER BY seq`,
		dbx.Params{"doc": d.id, "actor": actor.id, "seq": int64(seq)}).Rows()
	if err != nil {
		return chain, fmt.Errorf("read chain: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var sum []byte
		if err := rows.Scan(&sum); err != nil {
			return chain, fmt.Errorf("read chain: %w", err)
		}
		chain = crdt.ChainSum(chain, [32]byte(sum))
	}
	return chain, rows.Err()
}
