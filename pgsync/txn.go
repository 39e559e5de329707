package pgsync

import (
	"context"
	"encoding/json"
	"maps"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
)

const (
	// epochShift leaves 2^44 log entries per epoch, 500 years at 1,000 a second.
	epochShift = 44
	// lockTimeout lets a schema change give way to a long report instead of queueing everybody behind it.
	lockTimeout = 3 * time.Second
	// ddlTimeout is for schema changes, which may have to read a whole table.
	ddlTimeout = 30 * time.Minute
	// idleTimeout ends a transaction whose node was cut off, so that its locks do not block the next one.
	idleTimeout = 15 * time.Second
)

// txn is one PostgreSQL transaction of the mirror: it moves the position first, which is the fence, and then writes
// what lies between the two positions. Statements are collected and sent in one round trip where nothing has to be
// looked at in between. Nothing of the worker changes before commit has returned.
type txn struct {
	s           *session
	from, to    Pos
	batch       *pgx.Batch
	reg         registry
	salvaging   bool
	reshaped    bool // a table has another shape
	quarantined int  // rows put into quarantine by this transaction
	release     bool // there may be quarantined rows that a good version sets free
	erased      []erasure
}

func (s *session) begin(to Pos, cutAt int64) *txn {
	x := &txn{s: s, from: s.pos, to: to, batch: &pgx.Batch{}, reg: maps.Clone(s.reg), release: s.quarantined > 0}
	x.batch.Queue("BEGIN")
	x.batch.Queue(sqlLimits, millis(lockTimeout), millis(s.cfg.Timeout), millis(idleTimeout))
	var cut *int64
	if cutAt > 0 {
		cut = &cutAt
	}
	x.batch.Queue(sqlAdvance, s.origin, x.from.Epoch, x.from.Seq, x.from.Nonce, to.Seq, to.Nonce, s.node, s.term,
		cut, float64(s.cfg.Lease.Milliseconds()))
	return x
}

func (x *txn) ver(seq int64) int64 { return x.to.Epoch<<epochShift | seq }

// bounded gives up on a server that is silent: it ends statements by itself after Timeout, and the client waits a
// little longer for the word of it.
func (s *session) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, 2*s.cfg.Timeout+idleTimeout)
}

// flush sends what was queued and waits for the answers.
func (x *txn) flush(ctx context.Context) error {
	if x.batch.Len() == 0 {
		return nil
	}
	b := x.batch
	x.batch = &pgx.Batch{}
	ctx, cancel := x.s.bounded(ctx)
	defer cancel()
	return x.s.conn.SendBatch(ctx, b).Close()
}

func (x *txn) commit(ctx context.Context) error {
	if err := x.eraseHistory(ctx); err != nil {
		return err
	}
	x.batch.Queue("COMMIT")
	if err := x.flush(ctx); err != nil {
		return err
	}
	x.s.pos, x.s.reg = x.to, x.reg
	return nil
}

// rollback leaves the connection usable or closed.
func (x *txn) rollback(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lockTimeout)
	defer cancel()
	if _, err := x.s.conn.Exec(ctx, "ROLLBACK"); err != nil {
		x.s.conn.Close(ctx)
	}
}

// change is the newest state of one row within a piece of the log or of a table.
type change struct {
	table *Table
	pk    string
	seq   int64
	at    int64
	op    int
	img   []byte
	cells []cell
	hash  []byte
	err   *valueError // the row cannot be written; set instead of cells
	ver   int64       // the version it had before its table was lost; 0: that of seq

	erased *erasure // nil but for an operation without its value
}

func newChange(t *Table, pk string, op int, seq, at int64, img []byte) *change {
	c := &change{table: t, pk: pk, seq: seq, at: at, op: op, img: img}
	if err := checkKey(t, pk); err != nil {
		return c.refused(err)
	}
	if op == opDelete {
		return c
	}
	cells, err := decodeImage(t, img)
	if err != nil {
		return c.refused(err)
	}
	c.cells, c.hash = cells, rowHash(t, cells)
	return c
}

// refused is a change that cannot be written. Of plain text in a sealed column not even a hash is kept: a telephone number
// is found by trying them all.
func (c *change) refused(err error) *change {
	c.err = err.(*valueError)
	if c.table.leaks(c.img) {
		c.img = redact(c.table, c.img)
	}
	return c
}

// write queues changes of distinct rows; in salvage mode it applies them and sets aside those that PostgreSQL refuses.
func (x *txn) write(ctx context.Context, changes []*change) error {
	var good []*change
	for _, c := range changes {
		switch {
		case c.err == nil:
			good = append(good, c)
		case c.op == opDelete: // such a key never got in; it may sit in quarantine
			x.releaseRows(c.table.Coll, []string{safeText(c.pk)}, true)
		default:
			x.quarantine(c, c.err.sqlState, "", c.err.Error())
		}
	}
	if err := x.findErasures(ctx, good); err != nil {
		return err
	}
	x.eraseJournal(good) // also for rows that PostgreSQL refuses below
	if x.salvaging {
		if err := x.flush(ctx); err != nil {
			return err
		}
		return x.salvage(ctx, good)
	}
	x.queue(good)
	return nil
}

// queue adds the statements for changes: deletes before upserts, one statement per table and kind.
func (x *txn) queue(changes []*change) {
	groups := map[*Table]*[2][]*change{}
	var order []*Table
	for _, c := range changes {
		g := groups[c.table]
		if g == nil {
			g = &[2][]*change{}
			groups[c.table] = g
			order = append(order, c.table)
		}
		if c.op == opDelete {
			g[0] = append(g[0], c)
		} else {
			g[1] = append(g[1], c)
		}
	}
	for _, t := range order {
		if gone := groups[t][0]; len(gone) > 0 {
			pks := keysOf(gone)
			x.batch.Queue(t.delete(), x.s.origin, pks)
			x.releaseRows(t.Coll, pks, x.release)
		}
	}
	for _, t := range order {
		if rows := groups[t][1]; len(rows) > 0 {
			x.batch.Queue(t.upsert(), x.upsertArgs(t, rows)...)
			x.releaseRows(t.Coll, keysOf(rows), x.release)
		}
	}
}

func keysOf(changes []*change) []string {
	pks := make([]string, len(changes))
	for i, c := range changes {
		pks[i] = c.pk
	}
	return pks
}

func (x *txn) upsertArgs(t *Table, rows []*change) []any {
	n := len(rows)
	vers, ats, hashes := make([]int64, n), make([]int64, n), make([][]byte, n)
	columns := make([][]cell, len(t.Columns))
	for i := range columns {
		columns[i] = make([]cell, n)
	}
	for j, c := range rows {
		vers[j], ats[j], hashes[j] = c.ver, c.at, c.hash
		if c.ver == 0 {
			vers[j] = x.ver(c.seq)
		}
		for i := range columns {
			columns[i][j] = c.cells[i]
		}
	}
	args := []any{x.s.origin, keysOf(rows), vers, ats, hashes}
	for _, column := range columns {
		args = append(args, column)
	}
	return args
}

func (x *txn) releaseRows(coll string, pks []string, possible bool) {
	if possible {
		x.batch.Queue(sqlRelease, x.s.origin, coll, pks)
	}
}

// quarantine keeps a refused row with its whole image; its last good version, if any, stays and is marked.
func (x *txn) quarantine(c *change, sqlState, constraint, message string) {
	x.quarantined++
	x.release = true
	x.batch.Queue(sqlQuarantine, x.s.origin, c.table.Coll, safeText(c.pk), x.to.Epoch, c.seq, int16(c.op),
		sqlState, safeText(constraint), safeText(message), c.img)
	if checkKey(c.table, c.pk) == nil {
		x.batch.Queue(c.table.markStale(), x.s.origin, []string{c.pk})
	}
}

// journal records log entries word for word. Images that are not valid text go in as bytes.
func (x *txn) journal(entries []entry) {
	n := len(entries)
	seqs, ats := make([]int64, n), make([]int64, n)
	colls, pks := make([]string, n), make([]string, n)
	ops, imgs, raws := make([]int16, n), make([]cell, n), make([][]byte, n)
	for i, e := range entries {
		seqs[i], colls[i], pks[i], ops[i], ats[i] = e.seq, safeText(e.coll), safeText(e.pk), int16(e.op), e.at
		if utf8.Valid(e.img) && json.Valid(e.img) {
			text := string(e.img)
			imgs[i] = &text
		} else {
			raws[i] = e.img
		}
	}
	x.batch.Queue(sqlJournal, x.s.origin, x.to.Epoch, seqs, colls, pks, ops, ats, imgs, raws)
}

func millis(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }
