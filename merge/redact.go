package merge

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"firemode/collections"
	"firemode/crdt"

	"github.com/pocketbase/dbx"
)

// RedactedPath is where a document keeps redactions: an operation there erases the values of
// the operations that it names as seen, on every replica, from its position of the log on.
const RedactedPath = "notes/redacted"

// redactMax bounds the operations of one redaction.
const redactMax = 100

// ErrLegalHold reports a session whose records must stay as they are.
var ErrLegalHold = errors.New("merge: evidence of the session is under legal hold")

// redacts reports whether op is a redaction.
func redacts(op *crdt.Op) bool { return op.Kind == crdt.Put && op.Path == RedactedPath }

// A RedactRequest erases values for good.
type RedactRequest struct {
	SessionID string
	UserID    string
	Device    string
	Dots      []string // "actor.seq", at most 100
	Reason    string   // required; MUST NOT repeat what is erased
}

// Redact erases the values of operations from the log, the document and its snapshots, and
// keeps everything else about them: who, when, where, having seen what, and the hash of the
// original line, so that chains still verify. What a device issued again for them (R12) is
// erased with them. Who may is the caller's business. Errors:
// ErrNoSession, ErrLegalHold, *InvalidError (an operation without a value, a decision, which
// stays, or nothing left to erase: all are erased already).
func (b *Batch) Redact(req RedactRequest) (Result, error) {
	d, _, err := b.open(req.SessionID)
	if err != nil {
		return Result{}, err
	}
	if err := checkNamed(req.Reason, req.Dots, redactMax, "operations in a redaction"); err != nil {
		return Result{}, err
	}
	if err := checkHold(b.r.stmt, d.session); err != nil {
		return Result{}, err
	}
	acts, named := erasedActs{}, map[string]bool{} // by dot: whether it is erased
	for i, text := range req.Dots {
		detail := "no such operation"
		if dot, ok := crdt.ParseDot(text); ok && d.state.Has(dot) {
			o, err := b.r.logged(d, dot)
			if err != nil {
				return Result{}, err
			}
			acts.add(o.user, &o.op)
			named[text] = o.flags&flagRedacted != 0
			if detail = b.r.s.stays(&o.op, d.inQuarantine(dot)); named[text] {
				detail = ""
			}
		}
		if detail != "" {
			return Result{}, &InvalidError{Pointer: "/dots/" + strconv.Itoa(i), Detail: detail}
		}
	}
	dots, err := b.r.repeats(d, acts)
	if err != nil {
		return Result{}, err
	}
	if len(dots) == 0 {
		return Result{}, &InvalidError{Pointer: "/dots/0", Detail: "the value is erased already"}
	}
	return b.redact(req, dots)
}

// redact makes the operations that erase dots: one, or as many as they are too many for one.
func (b *Batch) redact(req RedactRequest, dots []string) (Result, error) {
	value, err := json.Marshal(map[string]string{"reason": req.Reason})
	if err != nil {
		return Result{}, fmt.Errorf("encode redaction: %w", err)
	}
	var changes []Change
	for some := range slices.Chunk(dots, crdt.SeenMax) {
		changes = append(changes, Change{Op: opRedact, Path: RedactedPath, Value: value, Seen: some})
	}
	return b.Change(ChangeRequest{
		SessionID: req.SessionID, UserID: req.UserID, Device: req.Device, Changes: changes,
		decides: true, act: decision{action: opRedact, reason: req.Reason, dots: req.Dots, erased: len(dots)},
	})
}

// checkHold looks for evidence under legal hold.
func checkHold(q query, session string) error {
	var held bool
	err := q(`SELECT EXISTS (SELECT 1 FROM `+collections.Evidence+` WHERE session_id = {:id} AND legal_hold)`, dbx.Params{"id": session}).Row(&held)
	if err != nil {
		return fmt.Errorf("look for a legal hold: %w", err)
	}
	if held {
		return ErrLegalHold
	}
	return nil
}

// stays returns "" or why the value of an operation cannot be erased.
func (s *Service) stays(op *crdt.Op, quarantined bool) string {
	switch {
	case op.Kind != crdt.Put && op.Kind != crdt.Ins:
		return "the operation has no value"
	case !quarantined && (reserved(op) || signs(op)):
		return "a sign-off, an admission or a redaction stays"
	}
	switch s.schema.Resolve(crdt.New(), op.Path).Policy {
	case crdt.Any, crdt.Min, crdt.Max:
		// Without its value the field would be read as something else: a hazard as none.
		return "a flag or a time decides how its field is read, and stays"
	}
	return ""
}

// inQuarantine reports whether an operation is held and was not admitted.
func (d *document) inQuarantine(dot crdt.Dot) bool {
	_, is := slices.BinarySearchFunc(d.state.Quarantined(), dot, crdt.Dot.Compare)
	return is
}

// loggedOp is an operation of the log.
type loggedOp struct {
	n, flags int64
	op       crdt.Op
	user     string
}

// logged reads an operation that the document holds.
func (r *round) logged(d *document, dot crdt.Dot) (o loggedOp, err error) {
	var hash, line []byte
	err = r.stmt(`SELECT o.n, o.q, o.hash, o.line, a.user FROM crdt_ops o JOIN crdt_actors a ON a.id = o.actor
		WHERE o.doc = {:doc} AND o.seq = {:seq} AND a.key = {:actor}`,
		dbx.Params{"doc": d.id, "seq": int64(dot.Seq), "actor": dot.Actor}).Row(&o.n, &o.flags, &hash, &line, &o.user)
	if err == nil {
		o.op, err = parseStored(o.flags, hash, line)
	}
	if err != nil {
		return o, fmt.Errorf("read operation %s: %w", dot, err)
	}
	return o, nil
}

// erase takes the values of the operations that the redaction at position by names out of
// the document and the database; the connection overwrites what becomes free (secure_delete).
// Rows that came without their value, as in an import, are only noted.
func (r *round) erase(b *Batch, d *document, redaction *crdt.Op, by int64) error {
	for _, dot := range redaction.Seen {
		o, err := r.logged(d, dot)
		if err != nil {
			return err
		}
		err = r.exec(`INSERT INTO crdt_redactions (doc, n, by_n) VALUES ({:doc}, {:n}, {:by}) ON CONFLICT (doc, n) DO NOTHING`,
			dbx.Params{"doc": d.id, "n": o.n, "by": by})
		if err != nil {
			return fmt.Errorf("note redaction: %w", err)
		}
		if d.erased != nil {
			d.erased.add(o.user, &o.op)
		}
		if o.flags&flagRedacted != 0 {
			continue
		}
		if err := checkHold(r.stmt, d.session); err != nil { // an import comes this way alone
			return err
		}
		line, _ := o.op.Redact()
		err = r.exec(`UPDATE crdt_ops SET q = q | {:redacted}, line = {:line} WHERE doc = {:doc} AND n = {:n}`,
			dbx.Params{"redacted": flagRedacted, "line": line, "doc": d.id, "n": o.n})
		if err != nil {
			return fmt.Errorf("erase value: %w", err)
		}
		// Who listens hears of both at once.
		for _, rows := range [][]Row{r.fresh[d.session], b.fresh[d.session]} {
			for i := range rows {
				if rows[i].N == o.n {
					sum := o.op.Sum()
					rows[i].Line, rows[i].Redacted = line, hex.EncodeToString(sum[:])
				}
			}
		}
	}
	if err := d.state.Redact(redaction.Seen...); err != nil {
		return err
	}
	if err := r.exec(`DELETE FROM crdt_snaps WHERE doc = {:doc}`, dbx.Params{"doc": d.id}); err != nil {
		return fmt.Errorf("drop snapshots: %w", err)
	}
	// The record is written at the end of the round. Until then it has no values, or another
	// change of the session, such as its status, would carry them into the mirror's log.
	err := r.exec(`UPDATE test_sessions SET session_data = '{}' WHERE id = {:id}`, dbx.Params{"id": d.session})
	if err != nil {
		return fmt.Errorf("empty the record: %w", err)
	}
	d.snapped = 0
	r.toShow[d.session] = struct{}{} // at once, however large the record
	return nil
}

// parseStored reads an operation of the log. A row whose value was erased is read by the hash
// of its original line; where the caller needs no sum, hash may be nil.
func parseStored(flags int64, hash, line []byte) (crdt.Op, error) {
	if flags&flagRedacted == 0 {
		return crdt.ParseOp(line)
	}
	var sum [32]byte
	copy(sum[:], hash)
	return crdt.ParseRedacted(line, sum)
}

// sqlErasedHash is the hash of a line whose value was erased, else NULL.
const sqlErasedHash = `CASE WHEN q & 32 THEN hash END`
