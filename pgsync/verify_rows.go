package pgsync

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
)

const (
	// aheadRows is how many rows of a side travel at once to the comparison, which each side runs ahead of by some.
	aheadRows, aheadBatches = 256, 4
	// keptMaxRows bounds what a comparison holds of the quarantine of one table: a key and a hash each.
	keptMaxRows = 200_000
)

// errUnsettled says that a row in quarantine waits for the worker to look at it again.
var errUnsettled = errors.New("rows in quarantine are being tried again")

// hashedRow is one row of either side; pk sorts like the bytes of the id.
type hashedRow struct {
	pk    string
	hash  []byte
	cells []cell // of PostgreSQL; nil for a row in quarantine
}

// imageHash is the hash of a row by its image. A row that has no mirrored form is hashed by its image, less what a sealed
// column must not let out: not even a hash of that is kept.
func imageHash(t *Table, img []byte) ([]byte, error) {
	cells, err := decodeImage(t, img)
	if err == nil {
		return rowHash(t, cells), nil
	}
	if t.leaks(img) {
		img = redact(t, img)
	}
	sum := sha256.Sum256(appendField(slices.Clone(t.form().head), 'I', img))
	return sum[:], err
}

// sourceRows are the rows of SQLite.
func sourceRows(ctx context.Context, tx *sql.Tx, t *Table) iter.Seq2[hashedRow, error] {
	return func(yield func(hashedRow, error) bool) {
		rows, err := tx.QueryContext(ctx, fmt.Sprintf("SELECT %s AS pk, %s FROM %s ORDER BY pk", t.keyExpr(""), t.imageExpr(""), quoteIdent(t.Name)))
		if err != nil {
			yield(hashedRow{}, fmt.Errorf("%w: %w", errSource, err))
			return
		}
		defer rows.Close()
		for rows.Next() {
			var row hashedRow
			var img sql.RawBytes
			if err := rows.Scan(&row.pk, &img); err != nil {
				yield(row, fmt.Errorf("%w: %w", errSource, err))
				return
			}
			row.hash, _ = imageHash(t, img)
			if !yield(row, nil) {
				return
			}
		}
		if err := rows.Err(); err != nil {
			yield(hashedRow{}, fmt.Errorf("%w: %w", errSource, err))
		}
	}
}

// columnRows are the rows of PostgreSQL by their columns, in the byte order of the ids: those of versions up to ver.
func (s *session) columnRows(ctx context.Context, t *Table, ver int64) iter.Seq2[hashedRow, error] {
	return func(yield func(hashedRow, error) bool) {
		rows, err := s.conn.Query(ctx, "SELECT id::text, "+t.readColumns()+" FROM "+t.pgName()+" WHERE _origin = $1 AND _ver <= $2 ORDER BY id",
			s.origin, ver)
		if err != nil {
			yield(hashedRow{}, err)
			return
		}
		defer rows.Close()
		var b []byte
		for rows.Next() {
			// Every column is text. One copy serves all of them: this is where the time goes.
			raw := rows.RawValues()
			b = b[:0]
			for _, value := range raw[1:] {
				b = append(b, value...)
			}
			all := string(b)
			row := hashedRow{pk: string(raw[0]), cells: make([]cell, len(t.Columns))}
			texts, at := make([]string, len(t.Columns)), 0
			for i, value := range raw[1:] {
				if value != nil {
					texts[i] = all[at : at+len(value)]
					row.cells[i] = &texts[i]
				}
				at += len(value)
			}
			row.hash = rowHash(t, row.cells)
			if !yield(row, nil) {
				return
			}
		}
		if err := rows.Err(); err != nil {
			yield(hashedRow{}, err)
		}
	}
}

// keptRow is a row in quarantine.
type keptRow struct {
	hashedRow
	gone bool // the source has no such row any more
}

// kept reads the quarantine of a table, of versions up to ver, in the order of the keys.
func (s *session) kept(ctx context.Context, t *Table, ver int64) ([]keptRow, error) {
	rows, err := s.conn.Query(ctx, `SELECT pk, op::int, img FROM fm_sync.quarantine
		WHERE origin = $1 AND coll = $2 AND (epoch << $3) | seq <= $4 LIMIT $5`, s.origin, t.Coll, epochShift, ver, keptMaxRows+1)
	if err != nil {
		return nil, err
	}
	var out []keptRow
	var pk string
	var op int
	var img []byte
	_, err = pgx.ForEachRow(rows, []any{&pk, &op, &img}, func() error {
		row := keptRow{hashedRow{pk: unsafeText(pk)}, op == opDelete}
		if !row.gone {
			var decoded error
			row.hash, decoded = imageHash(t, img)
			var value *valueError
			if img == nil || errors.As(decoded, &value) && value.sqlState == stateNoColumn {
				return errUnsettled // without an image, or with one of the shape before this one
			}
		}
		out = append(out, row)
		return nil
	})
	if err == nil && len(out) > keptMaxRows {
		err = fmt.Errorf("more than %d rows are in quarantine: firemode mirror quarantine says why", keptMaxRows)
	}
	slices.SortFunc(out, func(a, b keptRow) int { return strings.Compare(a.pk, b.pk) })
	return out, err
}

// unsafeText undoes safeText.
func unsafeText(s string) string {
	if !strings.HasPrefix(s, `"`) {
		return s
	}
	if raw, err := strconv.Unquote(s); err == nil && raw != s && safeText(raw) == s {
		return raw
	}
	return s // text that only looks quoted
}

// withKept are all rows that PostgreSQL holds: those of the table, and in the place of those in quarantine what is kept
// there. stored counts the first.
func withKept(columns iter.Seq2[hashedRow, error], kept []keptRow, stored *int64) iter.Seq2[hashedRow, error] {
	return func(yield func(hashedRow, error) bool) {
		// before hands out the kept rows that come before pk.
		before := func(pk string, all bool) bool {
			for len(kept) > 0 && (all || kept[0].pk < pk) {
				row := kept[0]
				kept = kept[1:]
				if !row.gone && !yield(row.hashedRow, nil) {
					return false
				}
			}
			return true
		}
		for row, err := range columns {
			if err != nil {
				yield(row, err)
				return
			}
			*stored++
			if !before(row.pk, false) {
				return
			}
			if len(kept) > 0 && kept[0].pk == row.pk {
				continue // what the table has of it is old
			}
			if !yield(row, nil) {
				return
			}
		}
		before("", true)
	}
}

// ahead runs through rows in a goroutine of its own. next returns false after the last row and after an error; stop
// MUST be called and waits for the goroutine.
func ahead(rows iter.Seq2[hashedRow, error]) (next func() (hashedRow, bool, error), stop func()) {
	type batch struct {
		rows []hashedRow
		err  error
	}
	batches, quit, done := make(chan batch, aheadBatches), make(chan struct{}), make(chan struct{})
	send := func(b batch) bool {
		select {
		case batches <- b:
			return true
		case <-quit:
			return false
		}
	}
	go func() {
		defer close(done)
		defer close(batches)
		var b batch
		for row, err := range rows {
			if err != nil {
				b.err = err
				break
			}
			row.cells = nil // the comparison needs none, and a batch of them is large
			if b.rows = append(b.rows, row); len(b.rows) == aheadRows {
				if !send(b) {
					return
				}
				b = batch{rows: make([]hashedRow, 0, aheadRows)}
			}
		}
		send(b)
	}()
	var b batch
	next = func() (hashedRow, bool, error) {
		for len(b.rows) == 0 {
			if b.err != nil {
				return hashedRow{}, false, b.err
			}
			var more bool
			if b, more = <-batches; !more {
				return hashedRow{}, false, nil
			}
		}
		row := b.rows[0]
		b.rows = b.rows[1:]
		return row, true, nil
	}
	return next, func() { close(quit); <-done }
}
