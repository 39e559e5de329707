package merge

import (
	"cmp"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"

	"firemode/audit"
	"firemode/collections"
	"firemode/crdt"

	"github.com/pocketbase/dbx"
	"github.com/pocketbase/pocketbase/core"
)

// Limits of one request and of one document.
const (
	// changesMax bounds the operations of one request, and so how long it keeps others
	// waiting.
	changesMax = 1000
	// docOpsMax and docActorsMax bound what one session may come to in memory.
	docOpsMax    = 1_000_000
	docActorsMax = 5000
	// decidersMax and decisionOpsMax are the room beyond that for deciding about a full document:
	// to resolve, sign, admit or redact.
	decidersMax    = 100
	decisionOpsMax = 10_000
)

// A Batch is what one job may do. It is valid until the job's function returns and MUST NOT
// be used by another goroutine.
type Batch struct {
	r       *round
	over    bool
	changed map[string]struct{} // documents changed in memory, by session
	fresh   map[string][]Row    // rows added, by session
	moved   map[string]struct{} // sessions whose status was changed
	touched map[string]*touched // by session
}

// App returns the transaction. Everything the job reads and writes MUST go through it; what
// is written is taken back if the job fails.
func (b *Batch) App() core.App { return b.r.tx }

func (b *Batch) change(d *document) {
	if b.changed == nil {
		b.changed, b.fresh, b.touched = map[string]struct{}{}, map[string][]Row{}, map[string]*touched{}
	}
	b.changed[d.session] = struct{}{}
	if b.touched[d.session] == nil {
		b.touched[d.session] = &touched{paths: map[string]struct{}{}}
	}
}

// open checks that the session exists and returns its document and the flags that its state
// gives to new operations.
func (b *Batch) open(session string) (*document, int64, error) {
	if b.over {
		return nil, 0, ErrJobOver
	}
	status, err := b.r.statusOf(session)
	if err != nil {
		return nil, 0, err
	}
	d, err := b.r.document(session)
	if err != nil {
		return nil, 0, err
	}
	var flags int64
	if status == collections.SessionLocked {
		flags |= flagLate
	}
	return d, flags, nil
}

// sqlStatus reads the index alone: the row lies behind the pages of the whole document. By
// itself SQLite takes the primary key and then the row.
const sqlStatus = `SELECT status FROM test_sessions INDEXED BY idx_test_sessions_id_status WHERE id = {:id}`

// statusOf returns the session's status. Nobody else writes while the round lasts.
func (r *round) statusOf(session string) (string, error) {
	status, known := r.status[session]
	if known {
		return status, nil
	}
	err := r.stmt(sqlStatus, dbx.Params{"id": session}).Row(&status)
	if errors.Is(err, sql.ErrNoRows) {
		return "", ErrNoSession
	}
	if err != nil {
		return "", fmt.Errorf("read session: %w", err)
	}
	r.status[session] = status
	return status, nil
}

// room checks the limits of the document for n further operations of an actor, which may use
// the room for decisions or not.
func (s *Service) room(d *document, actor string, decides bool, n int) error {
	opsMax, actorsMax := s.docOpsMax, s.docActorsMax
	if decides {
		opsMax, actorsMax = opsMax+decisionOpsMax, actorsMax+decidersMax
	}
	if d.state.Ops()+n > opsMax {
		return &LimitError{What: "operations in a document", Max: opsMax}
	}
	if d.heads[actor] == nil && len(d.heads) >= actorsMax {
		return &LimitError{What: "actors in a document", Max: actorsMax}
	}
	return nil
}

// head returns the end of the actor's history, which is the chain's start when it has none.
func (d *document) head(actor string) head {
	if h := d.heads[actor]; h != nil {
		return *h
	}
	return head{chain: crdt.ChainStart(d.session, actor)}
}

// audit records a stored entry on the account of the transaction's actor, or of the user
// when nobody was attributed.
func (b *Batch) audit(d *document, userID string, e *entry) error {
	tx := b.r.tx
	if audit.ActorOf(tx).ID == "" && userID != "" {
		a := audit.Actor{ID: userID, Collection: collections.Users}
		err := b.r.stmt(`SELECT role FROM users WHERE id = {:id}`, dbx.Params{"id": userID}).Row(&a.Role)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return fmt.Errorf("read role: %w", err)
		}
		defer audit.Attribute(tx, a)()
	}
	first, last := e.ops[0], e.ops[len(e.ops)-1]
	values := map[string]any{
		"actor": e.actor.key, "device": e.actor.device,
		"first": first.Dot.String(), "last": last.Dot.String(), "count": len(e.ops),
		"n": d.n, "chain": hex.EncodeToString(e.chain[:]),
	}
	if e.reason != "" {
		values["reason"] = e.reason
	}
	if len(e.dots) > 0 {
		values["dots"] = e.dots
	}
	if e.erased > 0 {
		values["erased"] = e.erased
	}
	if e.flags&flagRedacted != 0 {
		values["redacted"] = true // it came under another name than the one that was erased
	}
	if e.flags&flagLate != 0 {
		values["late"] = true
	}
	if e.flags&flagQuarantined != 0 {
		values["quarantined"] = true
	}
	_, err := audit.AppendWith(b.r.stmt, tx, audit.Entry{
		Action: cmp.Or(e.action, "merge"), ResourceType: collections.TestSessions, ResourceID: d.session, New: values,
	})
	return err
}
