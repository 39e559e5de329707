package merge

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"firemode/crdt"

	"github.com/pocketbase/dbx"
)

// Flags of an operation row. They never change, but for flagRedacted, which is set once: an
// admission is an operation of its own.
const (
	flagQuarantined = 1 << iota // held and without effect until admitted
	flagLate                    // arrived when the session was locked
	// Why it is in quarantine:
	flagRevoked  // its actor id was revoked
	flagLapsed   // its author's right to write to the session had ended
	flagReserved // it admits or redacts operations, and its author may not
	flagRedacted // its value was erased; the line is what crdt.Op.Redact left

	flagsAll = flagRedacted<<1 - 1
)

// A Row is one operation of the log. Line is the author's own bytes.
type Row struct {
	N           int64 `json:"n"`    // server position, dense from 1
	Received    int64 `json:"recv"` // Unix milliseconds by the server's clock
	Quarantined bool  `json:"quarantined,omitempty"`
	Late        bool  `json:"late,omitempty"`
	// Redacted is set when the value was erased: the SHA-256 of the original line,
	// hexadecimal, with which crdt.ParseRedacted reads Line.
	Redacted string          `json:"redacted,omitempty"`
	Line     json.RawMessage `json:"op"`
}

func newRow(n, received, flags int64, hash, line []byte) Row {
	r := Row{N: n, Received: received, Quarantined: flags&flagQuarantined != 0, Late: flags&flagLate != 0, Line: line}
	if flags&flagRedacted != 0 {
		r.Redacted = hex.EncodeToString(hash)
	}
	return r
}

// position is where a document's log stands.
type position struct {
	id int64 // row of crdt_docs; 0 when there is none yet
	n  int64
}

// sqlPosition reads n from the rows themselves: crdt_docs follows at the end of a
// transaction only.
const sqlPosition = `SELECT d.id, coalesce((SELECT max(o.n) FROM crdt_ops o WHERE o.doc = d.id), 0) FROM crdt_docs d WHERE d.key = {:key}`

func readPosition(ctx context.Context, db dbx.Builder, session string) (at position, err error) {
	err = db.NewQuery(sqlPosition).WithContext(ctx).Bind(dbx.Params{"key": session}).Row(&at.id, &at.n)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return at, fmt.Errorf("read log position: %w", err)
	}
	return at, nil
}

// load reads a document from its newest snapshot and the log behind it, row by row. A log
// that contradicts itself is ErrLogDamaged.
func load(ctx context.Context, db dbx.Builder, session string, at position) (*document, error) {
	d := &document{session: session, id: at.id, state: crdt.New(), heads: map[string]*head{}}
	if at.id == 0 {
		return d, nil
	}
	if err := d.restore(ctx, db, at.n); err != nil {
		return nil, fmt.Errorf("load document: %w", err)
	}
	err := eachRow(ctx, db, at.id, d.n, at.n, func(n, flags int64, hash, line []byte) error {
		if n != d.n+1 {
			return fmt.Errorf("%w: position %d follows %d", ErrLogDamaged, n, d.n)
		}
		d.n = n
		op, err := parseStored(flags, hash, line)
		if err == nil {
			err = apply(d.state, &op, flags)
		}
		if err != nil {
			return fmt.Errorf("%w: position %d: %w", ErrLogDamaged, n, err)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("load document: %w", err)
	}
	if err := loadHeads(ctx, db, d); err != nil {
		return nil, fmt.Errorf("load document: %w", err)
	}
	return d, nil
}

func loadHeads(ctx context.Context, db dbx.Builder, d *document) error {
	rows, err := db.NewQuery(`SELECT a.key, h.actor, h.seq, h.chain FROM crdt_heads h JOIN crdt_actors a ON a.id = h.actor WHERE h.doc = {:doc}`).
		WithContext(ctx).Bind(dbx.Params{"doc": d.id}).Rows()
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var key string
		var chain sql.RawBytes
		h := &head{}
		if err := rows.Scan(&key, &h.actor, &h.seq, &chain); err != nil {
			return err
		}
		copy(h.chain[:], chain)
		// A reader's two queries can have a commit between them. The writer's cannot, and
		// it alone uses the heads: a document whose heads are ahead fails its hold.
		d.heads[key] = h
	}
	return rows.Err()
}

// eachRow calls fn for the rows after and up to the positions given, in order. hash, which
// only erased rows have, and line are valid during the call only.
func eachRow(ctx context.Context, db dbx.Builder, doc, after, upTo int64, fn func(n, flags int64, hash, line []byte) error) error {
	rows, err := db.NewQuery(`SELECT n, q, ` + sqlErasedHash + `, line FROM crdt_ops WHERE doc = {:doc} AND n > {:after} AND n <= {:upto} ORDER BY n`).
		WithContext(ctx).Bind(dbx.Params{"doc": doc, "after": after, "upto": upTo}).Rows()
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var n, flags int64
		var hash, line sql.RawBytes
		if err := rows.Scan(&n, &flags, &hash, &line); err != nil {
			return err
		}
		if err := fn(n, flags, hash, line); err != nil {
			return err
		}
	}
	return rows.Err()
}

// apply brings an operation of the log into effect, with what it admits. What it erases has no
// value in the log any more. It MUST be new.
func apply(state *crdt.Doc, op *crdt.Op, flags int64) error {
	join := state.Apply
	if flags&flagQuarantined != 0 {
		join = state.ApplyQuarantined
	}
	added, err := join(op)
	if err == nil && !added {
		err = errors.New("operation stored twice")
	}
	if err != nil || flags&flagQuarantined != 0 {
		return err
	}
	if !admits(op) {
		return nil
	}
	for _, dot := range op.Seen {
		if _, err := state.Admit(dot); err != nil {
			return err
		}
	}
	return nil
}

const (
	sqlInsertDoc = `INSERT INTO crdt_docs (key) VALUES ({:key}) RETURNING id`
	// sqlInsertOps takes the operations of an entry in one statement: lines and hashes are
	// all of them one behind the other, spans says where each line lies. A statement per row
	// costs twice as much.
	sqlInsertOps = `INSERT INTO crdt_ops (doc, n, actor, seq, recv, q, hash, line)
		SELECT {:doc}, {:n} + j.key, {:actor}, {:seq} + j.key, {:recv}, {:q},
			substr({:hashes}, j.key * 32 + 1, 32), substr({:lines}, (j.value >> 20) + 1, j.value & 1048575) FROM json_each({:spans}) j`
	sqlInsertOp = `INSERT INTO crdt_ops (doc, n, actor, seq, recv, q, hash, line) VALUES ({:doc}, {:n}, {:actor}, {:seq}, {:recv}, {:q}, {:hash}, {:line})`
	sqlSetHead  = `INSERT INTO crdt_heads (doc, actor, seq, chain) VALUES ({:doc}, {:actor}, {:seq}, {:chain})
		ON CONFLICT (doc, actor) DO UPDATE SET seq = excluded.seq, chain = excluded.chain`
)

// entry is operations of one actor that passed every check, ready to store.
type entry struct {
	actor actorRow
	ops   []crdt.Op
	lines [][]byte
	chain [32]byte // after the last operation
	flags int64
	recv  int64
	decision
}

// decision is what the audit log keeps of an entry beside its operations. The zero value is an
// ordinary merge without a reason.
type decision struct {
	action string   // "" for merge
	reason string   // that the caller gave
	dots   []string // the operations that were decided about
	erased int      // how many values went with a redaction
}

// store appends e to the log of d and then applies it in memory. After an error the job
// MUST fail: its savepoint takes the rows back.
func (r *round) store(b *Batch, d *document, e *entry) error {
	b.change(d)
	if d.id == 0 {
		if err := r.stmt(sqlInsertDoc, dbx.Params{"key": d.session}).Row(&d.id); err != nil {
			return fmt.Errorf("insert document: %w", err)
		}
	}
	last := e.ops[len(e.ops)-1].Seq
	// The head first: the mirror's log then takes the operations below it as one run.
	if err := r.exec(sqlSetHead, dbx.Params{"doc": d.id, "actor": e.actor.id, "seq": int64(last), "chain": e.chain[:]}); err != nil {
		return fmt.Errorf("set head: %w", err)
	}
	if err := r.insertOps(d, e); err != nil {
		return fmt.Errorf("insert operations: %w", err)
	}
	rows := make([]Row, len(e.ops))
	for i := range rows {
		d.n++
		sum := e.ops[i].Sum()
		rows[i] = newRow(d.n, e.recv, e.flags, sum[:], e.lines[i])
	}
	d.heads[e.actor.key] = &head{actor: e.actor.id, seq: last, chain: e.chain}
	for i := range e.ops {
		if err := apply(d.state, &e.ops[i], e.flags); err != nil {
			return fmt.Errorf("merge: internal error: checked operation refused: %w", err)
		}
		r.s.clock.Observe(e.ops[i].Time)
		if redacts(&e.ops[i]) && e.flags&flagQuarantined == 0 {
			if err := r.erase(b, d, &e.ops[i], rows[i].N); err != nil {
				return fmt.Errorf("redact: %w", err)
			}
		}
	}
	if e.flags&flagRedacted != 0 && d.erased != nil {
		for i := range e.ops {
			d.erased.add(e.actor.user, &e.ops[i])
		}
	}
	if e.flags&flagQuarantined == 0 {
		b.touched[d.session].note(d, e)
	}
	b.fresh[d.session] = append(b.fresh[d.session], rows...)
	return nil
}

// insertOps writes the rows of e behind the log of d.
func (r *round) insertOps(d *document, e *entry) error {
	params := dbx.Params{"doc": d.id, "n": d.n + 1, "actor": e.actor.id, "seq": int64(e.ops[0].Seq), "recv": e.recv, "q": e.flags}
	if len(e.ops) == 1 {
		sum := e.ops[0].Sum()
		params["hash"], params["line"] = sum[:], e.lines[0]
		return r.exec(sqlInsertOp, params)
	}
	size := 0
	for _, line := range e.lines {
		size += len(line)
	}
	lines, hashes, spans := make([]byte, 0, size), make([]byte, 0, len(e.ops)*sha256.Size), make([]byte, 1, len(e.ops)*12)
	spans[0] = '['
	for i, line := range e.lines {
		if i > 0 {
			spans = append(spans, ',')
		}
		// Offset and length in one number: a line has at most crdt.LineMaxBytes, below 2^20.
		spans = strconv.AppendInt(spans, int64(len(lines))<<20|int64(len(line)), 10)
		sum := e.ops[i].Sum()
		lines, hashes = append(lines, line...), append(hashes, sum[:]...)
	}
	params["hashes"], params["lines"], params["spans"] = hashes, lines, string(append(spans, ']'))
	return r.exec(sqlInsertOps, params)
}
