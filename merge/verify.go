package merge

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"firemode/crdt"

	"github.com/pocketbase/dbx"
)

// A Report is the outcome of Verify.
type Report struct {
	Ops    int64  `json:"ops"`    // operations checked
	Digest string `json:"digest"` // of the document they lead to, hexadecimal
	// Finding is the first difference, nil when there is none.
	Finding *Finding `json:"finding,omitempty"`
}

// A Finding is the first place where the log or what was made of it is not what it should be.
type Finding struct {
	N      int64  `json:"n"`      // server position, or 0 when the log itself is sound
	Reason string `json:"reason"` // names no value
}

// snapshot is what the database says about a document at one moment.
type snapshot struct {
	status, data, clock string
	seq                 int64
	id, n               int64
	heads               string // [[key, seq, chain in hexadecimal], …]
	listed              bool   // the list of conflicts is complete
	conflicts           string // [[path, values], …] of those it has open
}

const sqlSnapshot = `SELECT s.status, s.session_data, s.vector_clock, s.server_seq, coalesce(d.id, 0), coalesce(d.n, 0),
	coalesce((SELECT json_group_array(json_array(a.key, h.seq, lower(hex(h.chain)))) FROM crdt_heads h JOIN crdt_actors a ON a.id = h.actor WHERE h.doc = d.id), '[]'),
	EXISTS (SELECT 1 FROM _fm_params WHERE k = '` + listedParam + `'),
	coalesce((SELECT json_group_array(json_array(c.path, c.value_count)) FROM (SELECT * FROM crdt_conflicts WHERE doc = d.id AND resolved_at = 0 ORDER BY path) c), '[]')
	FROM test_sessions s LEFT JOIN crdt_docs d ON d.key = s.id WHERE s.id = {:id}`

// Verify reads the session's whole log again and compares: positions without gaps, canonical
// lines, their hashes, each actor's chain, the record and the snapshot byte for byte. The
// session may be written to meanwhile. Errors: ErrNoSession.
func (s *Service) Verify(ctx context.Context, sessionID string) (Report, error) {
	w, at, err := s.walkLog(ctx, sessionID)
	if err != nil {
		return Report{}, fmt.Errorf("verify session: %w", err)
	}
	report := Report{Ops: w.n, Digest: w.digest(), Finding: w.finding}
	if report.Finding == nil {
		report.Finding = w.compare(at, s.showInlineMax)
	}
	if report.Finding == nil && at.listed && at.conflicts != w.conflicts(s.schema) {
		report.Finding = &Finding{Reason: "the list of conflicts is not what the log leads to"}
	}
	return report, nil
}

// walkLog reads the session's log as it stands at one moment.
func (s *Service) walkLog(ctx context.Context, sessionID string) (*walk, snapshot, error) {
	var at snapshot
	db := s.app.ConcurrentDB()
	err := db.NewQuery(sqlSnapshot).WithContext(ctx).Bind(dbx.Params{"id": sessionID}).
		Row(&at.status, &at.data, &at.clock, &at.seq, &at.id, &at.n, &at.heads, &at.listed, &at.conflicts)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, at, ErrNoSession
	}
	if err != nil {
		return nil, at, err
	}
	snapN, snap, err := readSnapshot(ctx, db, at.id, at.n)
	if err != nil {
		return nil, at, err
	}
	w := newWalk(sessionID)
	w.snapN, w.snap = snapN, snap
	return w, at, w.rows(ctx, s, at)
}

// walk is the state of one reading of a log.
type walk struct {
	session string
	n       int64
	state   *crdt.Doc
	chains  map[string][32]byte
	finding *Finding

	stubs  []loggedOp        // operations without their value
	erased map[crdt.Dot]bool // the same: whether a redaction named them

	snapN       int64 // position of the newest snapshot, 0 when there is none
	snap        []byte
	shown       bool   // the position that the record shows was passed
	data, clock string // what it has to show
}

func newWalk(session string) *walk {
	return &walk{session: session, state: crdt.New(), chains: map[string][32]byte{}, erased: map[crdt.Dot]bool{}}
}

// conflicts are the fields in conflict as snapshot has them.
func (w *walk) conflicts(schema *crdt.Schema) string {
	list := [][2]any{}
	for _, v := range schema.Conflicts(w.state) {
		list = append(list, [2]any{v.Path, len(v.Entries)})
	}
	raw, err := json.Marshal(list)
	if err != nil {
		panic("merge: internal error: encode conflicts: " + err.Error()) // texts and numbers always encode
	}
	return string(raw)
}

// digest is the digest of the document so far, hexadecimal.
func (w *walk) digest() string {
	sum := w.state.Digest()
	return hex.EncodeToString(sum[:])
}

func (w *walk) rows(ctx context.Context, s *Service, at snapshot) error {
	rows, err := s.app.ConcurrentDB().NewQuery(`SELECT o.n, o.seq, o.q, o.hash, o.line, a.key, a.user FROM crdt_ops o JOIN crdt_actors a ON a.id = o.actor
		WHERE o.doc = {:doc} AND o.n <= {:n} ORDER BY o.n`).WithContext(ctx).Bind(dbx.Params{"doc": at.id, "n": at.n}).Rows()
	if err != nil {
		return err
	}
	defer rows.Close()
	for w.finding == nil && rows.Next() {
		var n, seq, flags int64
		var hash, line sql.RawBytes
		var actor, user string
		if err := rows.Scan(&n, &seq, &flags, &hash, &line, &actor, &user); err != nil {
			return err
		}
		if reason := w.row(n, seq, flags, hash, line, actor, user); reason != "" {
			w.finding = &Finding{N: w.n + 1, Reason: reason}
			break
		}
		w.n = n
		if n == w.snapN && !bytes.Equal(w.snap, w.state.AppendSnapshot(nil)) {
			w.finding = &Finding{N: n, Reason: "the snapshot is not what the log leads to"}
		}
		if n == at.seq {
			w.shown = true
			w.data, w.clock = string(w.state.Materialise(s.schema)), string(w.state.Version().AppendJSON(nil))
		}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	if w.finding == nil && w.n != at.n {
		w.finding = &Finding{N: w.n + 1, Reason: "the operation is missing"}
	}
	if w.finding == nil {
		w.finding = w.unexplained()
	}
	return nil
}

// unexplained finds a value that is gone although no redaction names its operation, nor one
// whose act it repeats.
func (w *walk) unexplained() *Finding {
	acts := erasedActs{}
	for i := range w.stubs {
		if w.erased[w.stubs[i].op.Dot] {
			acts.add(w.stubs[i].user, &w.stubs[i].op)
		}
	}
	for i := range w.stubs {
		if o := &w.stubs[i]; acts.has(o.user, &o.op) {
			w.erased[o.op.Dot] = true
		}
	}
	for _, dot := range slices.SortedFunc(maps.Keys(w.erased), crdt.Dot.Compare) {
		if !w.erased[dot] {
			return &Finding{Reason: "the value of " + dot.String() + " is gone and no operation erases it"}
		}
	}
	return nil
}

// row checks one operation and returns what is wrong with it.
func (w *walk) row(n, seq, flags int64, hash, line []byte, actor, user string) string {
	if n != w.n+1 {
		return "the operation is missing"
	}
	if sum := sha256.Sum256(line); flags&flagRedacted == 0 && !bytes.Equal(sum[:], hash) {
		return "the line is not the one its hash was made from"
	}
	op, err := parseStored(flags, hash, line)
	switch {
	case err != nil && flags&flagRedacted != 0:
		return "the line is not that of an erased value"
	case err != nil:
		return "the line is no canonical operation"
	case op.Actor != actor || int64(op.Seq) != seq:
		return "the line is another operation than its row says"
	}
	if err := apply(w.state, &op, flags); err != nil {
		return "the operation does not follow from those before it"
	}
	if flags&flagRedacted != 0 {
		w.erased[op.Dot] = false
		w.stubs = append(w.stubs, loggedOp{op: op, user: user})
	}
	if redacts(&op) && flags&flagQuarantined == 0 {
		for _, dot := range op.Seen {
			if _, erased := w.erased[dot]; !erased {
				return "the operation erases a value that is still there"
			}
			w.erased[dot] = true
		}
	}
	chain, ok := w.chains[actor]
	if !ok {
		chain = crdt.ChainStart(w.session, actor)
	}
	w.chains[actor] = crdt.ChainSum(chain, op.Sum())
	return ""
}

// compare holds what the database keeps beside the log against the log.
func (w *walk) compare(at snapshot, inlineMax int) *Finding {
	var heads [][3]any
	if err := json.Unmarshal([]byte(at.heads), &heads); err != nil {
		return &Finding{Reason: "the heads cannot be read"}
	}
	for _, h := range heads {
		actor, _ := h[0].(string)
		seq, _ := h[1].(float64)
		chain := w.chains[actor]
		if uint64(seq) != w.state.Held(actor) || h[2] != hex.EncodeToString(chain[:]) {
			return &Finding{Reason: "the chain of " + actor + " does not end at its head"}
		}
	}
	switch {
	case len(heads) != len(w.chains):
		return &Finding{Reason: "an actor has no head"}
	case w.n == 0 && at.seq == 0: // nobody has written: the record keeps the empty object it began with
		return nil
	case !w.shown:
		return &Finding{Reason: "the record's server_seq is no position of the log"}
	case at.seq != w.n && len(at.data)+len(at.clock) <= inlineMax:
		return &Finding{Reason: "the record's server_seq is not the log's position"}
	case at.data != w.data:
		return &Finding{Reason: "the record's session_data is not what the log leads to"}
	case at.clock != w.clock:
		return &Finding{Reason: "the record's vector_clock is not what the log leads to"}
	}
	return nil
}
