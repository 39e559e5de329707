package pgsync

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/pocketbase/pocketbase/core"
)

const (
	// batchMaxRows ends a batch where the source allows it; beyond some 1,000 rows an apply gets no cheaper per row.
	batchMaxRows = 2000
	// chunkMaxRows and chunkMaxBytes bound what is in memory: pgx buffers a whole pipeline.
	chunkMaxRows  = 1000
	chunkMaxBytes = 4 << 20
	// appendedRowBytes is what a row of a run counts for: some 450 bytes as an image, mostly.
	appendedRowBytes = 1 << 10
)

// Pos is a position in the log of one source. Seq 0 is before the first entry.
type Pos struct {
	Epoch int64 // raised whenever the log is no longer the one that was applied
	Seq   int64
	Nonce int64 // of the entry at Seq: tells that entry from another one of the same number
}

// entry is one line of the log.
type entry struct {
	seq   int64
	coll  string
	pk    string
	op    int
	at    int64 // Unix milliseconds
	nonce int64
	img   []byte // nil without image
}

// head is what one look at the log shows.
type head struct {
	anchor   *int64 // nonce of the entry at the position asked for; nil when it is not there
	first    int64  // smallest and
	last     int64  // largest sequence number; 0 for an empty log
	oldestAt int64  // time of the first entry after the position
}

// errSource marks a failure of the SQLite side.
var errSource = errors.New("read source")

// source reads the SQLite database on connections of its own, so that a slow mirror never holds one of the
// application's, and so that PRAGMA data_version reports every commit of anybody else.
type source struct {
	db   *sql.DB
	poll *sql.Conn
	look *sql.Stmt // asks poll for its data_version
	// Asked for every batch, and prepared because SQLite takes longer to plan them than to answer.
	headStmt, atStmt, entriesStmt *sql.Stmt
	commit                        int64 // last data_version seen
}

const (
	sourceHead = `SELECT (SELECT nonce FROM _pgsync_log WHERE seq=?1),
		coalesce((SELECT min(seq) FROM _pgsync_log),0), coalesce((SELECT max(seq) FROM _pgsync_log),0),
		coalesce((SELECT at FROM _pgsync_log WHERE seq>?1 ORDER BY seq LIMIT 1),0)`
	sourceAt      = `SELECT nonce, at FROM _pgsync_log WHERE seq=?`
	sourceEntries = `SELECT seq,coll,pk,op,at,nonce,img FROM _pgsync_log WHERE seq>? AND seq<=? ORDER BY seq LIMIT ?`
)

func openSource(ctx context.Context, app core.App) (*source, error) {
	// query_only: whatever happens here, the mirror cannot change a record.
	db, err := sql.Open("sqlite", filepath.Join(app.DataDir(), "data.db")+"?_pragma=busy_timeout(5000)&_pragma=query_only(1)")
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errSource, err)
	}
	db.SetMaxOpenConns(3) // poll, one stream, one lookup beside it
	poll, err := db.Conn(ctx)
	if err != nil {
		db.Close()
		return nil, fmt.Errorf("%w: %w", errSource, err)
	}
	look, err := poll.PrepareContext(ctx, "PRAGMA data_version")
	if err != nil {
		poll.Close()
		db.Close()
		return nil, fmt.Errorf("%w: %w", errSource, err)
	}
	s := &source{db: db, poll: poll, look: look, commit: -1}
	for stmt, text := range map[**sql.Stmt]string{&s.headStmt: sourceHead, &s.atStmt: sourceAt, &s.entriesStmt: sourceEntries} {
		if *stmt, err = db.PrepareContext(ctx, text); err != nil {
			s.close()
			return nil, fmt.Errorf("%w: %w", errSource, err)
		}
	}
	return s, nil
}

func (s *source) close() {
	for _, stmt := range []*sql.Stmt{s.look, s.headStmt, s.atStmt, s.entriesStmt} {
		if stmt != nil {
			stmt.Close()
		}
	}
	s.poll.Close()
	s.db.Close()
}

// changed is true when somebody committed since the last call. It is called fifty times a second: prepared once, and
// without a context, for which the driver would start a goroutine each time, it costs a few microseconds.
func (s *source) changed() bool {
	var v int64
	if err := s.look.QueryRow().Scan(&v); err != nil {
		return true // the next step meets the same error and reports it
	}
	moved := v != s.commit
	s.commit = v
	return moved
}

// head looks at the log around a position. The four values come from one statement, thus from one commit state.
func (s *source) head(ctx context.Context, seq int64) (head, error) {
	var h head
	err := s.headStmt.QueryRowContext(ctx, seq).Scan(&h.anchor, &h.first, &h.last, &h.oldestAt)
	if err != nil {
		return h, fmt.Errorf("%w: log head: %w", errSource, err)
	}
	return h, nil
}

// cut chooses where the next batch ends: always the end of a source transaction. last is one, and so is every
// recorded cut; a span without recorded cuts is applied whole, in pieces, by one PostgreSQL transaction.
func (s *source) cut(ctx context.Context, from, last int64) (int64, error) {
	if last-from <= batchMaxRows {
		return last, nil
	}
	var seq *int64
	err := s.db.QueryRowContext(ctx, `SELECT coalesce((SELECT max(seq) FROM _pgsync_cut WHERE seq>?1 AND seq<=?2),
		(SELECT min(seq) FROM _pgsync_cut WHERE seq>?1 AND seq<=?3))`, from, from+batchMaxRows, last).Scan(&seq)
	if err != nil {
		return 0, fmt.Errorf("%w: cut: %w", errSource, err)
	}
	if seq == nil {
		return last, nil
	}
	return *seq, nil
}

// at returns nonce and time of one entry.
func (s *source) at(ctx context.Context, seq int64) (nonce, at int64, err error) {
	err = s.atStmt.QueryRowContext(ctx, seq).Scan(&nonce, &at)
	if err != nil {
		err = fmt.Errorf("%w: log entry %d: %w", errSource, seq, err)
	}
	return nonce, at, err
}

// entries reads the log after `after`, through `through`, at most one chunk. The log only grows, so several calls
// see the same entries as one would.
func (s *source) entries(ctx context.Context, after, through int64) ([]entry, error) {
	rows, err := s.entriesStmt.QueryContext(ctx, after, through, chunkMaxRows)
	if err != nil {
		return nil, fmt.Errorf("%w: log: %w", errSource, err)
	}
	defer rows.Close()
	var out []entry
	for size := 0; size < chunkMaxBytes && rows.Next(); {
		var e entry
		if err := rows.Scan(&e.seq, &e.coll, &e.pk, &e.op, &e.at, &e.nonce, &e.img); err != nil {
			return nil, fmt.Errorf("%w: log: %w", errSource, err)
		}
		size += len(e.img) + len(e.pk) + 64
		if r, ok := parseRun(e.pk); ok && e.op == opAppended {
			size += int(r.rows()) * appendedRowBytes // they are read when their turn comes
		}
		out = append(out, e)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("%w: log: %w", errSource, err)
	}
	return out, nil
}

// shapes returns the armed tables together with the end of the log at which they are true.
func (s *source) shapes(ctx context.Context) (last int64, tables []*Table, err error) {
	return shapesIn(ctx, s.db)
}

// shapesIn is shapes as a connection or a transaction sees them.
func shapesIn(ctx context.Context, db interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}) (last int64, tables []*Table, err error) {
	rows, err := db.QueryContext(ctx, `SELECT coalesce((SELECT max(seq) FROM _pgsync_log),0), v
		FROM _pgsync_meta WHERE k LIKE ? ORDER BY k`, metaArmedPrefix+"%")
	if err != nil {
		return 0, nil, fmt.Errorf("%w: shapes: %w", errSource, err)
	}
	defer rows.Close()
	for rows.Next() {
		var text string
		if err := rows.Scan(&last, &text); err != nil {
			return 0, nil, fmt.Errorf("%w: shapes: %w", errSource, err)
		}
		t, err := decodeTable(text)
		if err != nil {
			return 0, nil, err
		}
		tables = append(tables, t)
	}
	return last, tables, rows.Err()
}

// id returns the source id, "" when the database was never armed.
func (s *source) id(ctx context.Context) (string, error) {
	var id string
	err := s.db.QueryRowContext(ctx, `SELECT v FROM _pgsync_meta WHERE k=?`, metaSourceID).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("%w: source id: %w", errSource, err)
	}
	return id, nil
}

// ackedHint is a position the mirror had once, 0 when none was noted.
func (s *source) ackedHint(ctx context.Context) int64 {
	var seq int64
	if err := s.db.QueryRowContext(ctx, `SELECT CAST(v AS INTEGER) FROM _pgsync_meta WHERE k=?`, metaAckedHint).Scan(&seq); err != nil {
		return 0
	}
	return seq
}

// image is a row as the log would show it.
type image struct {
	pk  string
	img []byte
}

// rowChunk is a piece of a table and the end of the log at which it is true.
type rowChunk struct {
	last, nonce, at int64
	rows            []image
	cursor          string // where the next chunk starts; "" after the last one
	more            bool   // the rows of this one are not all that were asked for
}

// chunk reads the next rows of a table in key order. Rows and log end come from one statement.
func (s *source) chunk(ctx context.Context, t *Table, cursor string) (rowChunk, error) {
	where, order, args := "", `"id"`, []any{}
	cursorExpr := `"id"`
	if t.plain() {
		keys := make([]string, len(t.Key))
		for i, k := range t.Key {
			keys[i] = quoteIdent(k)
		}
		order, cursorExpr = strings.Join(keys, ","), "json_array("+strings.Join(keys, ",")+")"
		if cursor != "" {
			if err := json.Unmarshal([]byte(cursor), &args); err != nil || len(args) != len(keys) {
				return rowChunk{}, fmt.Errorf("read cursor of %s: %q", t.Name, cursor)
			}
			for i := range args {
				if f, ok := args[i].(float64); ok {
					args[i] = int64(f)
				}
			}
			where = " WHERE (" + order + ")>(?" + strings.Repeat(",?", len(keys)-1) + ")"
		}
	} else if cursor != "" {
		where, args = ` WHERE "id">?`, []any{cursor}
	}
	args = append(args, chunkMaxRows)
	inner := fmt.Sprintf("SELECT %s AS pk, %s AS img, %s AS cur FROM %s%s ORDER BY %s LIMIT ?",
		t.keyExpr(""), t.imageExpr(""), cursorExpr, quoteIdent(t.Name), where, order)
	return s.rowChunk(ctx, inner, args)
}

// keys reads the named rows of a table, at most one chunk; those that do not exist are absent from the answer, and when it
// says that there are more, so are others.
func (s *source) keys(ctx context.Context, t *Table, pks []string) (rowChunk, error) {
	list, err := json.Marshal(pks)
	if err != nil {
		return rowChunk{}, err
	}
	inner := fmt.Sprintf("SELECT %s AS pk, %s AS img, '' AS cur FROM %s WHERE %s IN (SELECT value FROM json_each(?))",
		t.keyExpr(""), t.imageExpr(""), quoteIdent(t.Name), t.keyExpr(""))
	return s.rowChunk(ctx, inner, []any{string(list)})
}

// existing says which of the named rows a plain table has, without reading them: by its primary key, since no index knows
// the text of a key, and with the text compared, since 07/1 is no name of 7/1.
func (s *source) existing(ctx context.Context, t *Table, pks []string) (rowChunk, error) {
	list := make([][]string, 0, len(pks))
	for _, pk := range pks {
		if parts := strings.Split(pk, "/"); len(parts) == len(t.Key) {
			list = append(list, append([]string{pk}, parts...))
		}
	}
	text, err := json.Marshal(list)
	if err != nil {
		return rowChunk{}, err
	}
	inner := fmt.Sprintf("SELECT k.value->>0 AS pk, '' AS img, '' AS cur FROM json_each(?) k CROSS JOIN %s t WHERE %s = k.value->>0",
		quoteIdent(t.Name), t.keyExpr("t."))
	for i, name := range t.Key {
		inner += fmt.Sprintf(" AND t.%s = k.value->>%d", quoteIdent(name), i+1)
	}
	return s.rowChunk(ctx, inner, []any{string(text)})
}

func (s *source) rowChunk(ctx context.Context, inner string, args []any) (rowChunk, error) {
	var c rowChunk
	rows, err := s.db.QueryContext(ctx, `WITH h AS (SELECT seq, nonce, at FROM _pgsync_log ORDER BY seq DESC LIMIT 1)
		SELECT h.seq, h.nonce, h.at, r.pk, r.img, r.cur FROM h LEFT JOIN (`+inner+`) r ON true`, args...)
	if err != nil {
		return c, fmt.Errorf("%w: rows: %w", errSource, err)
	}
	defer rows.Close()
	size := 0
	for rows.Next() {
		var pk, cur *string
		var img []byte
		if err := rows.Scan(&c.last, &c.nonce, &c.at, &pk, &img, &cur); err != nil {
			return c, fmt.Errorf("%w: rows: %w", errSource, err)
		}
		if pk == nil {
			continue // no row at all, only the end of the log
		}
		c.rows = append(c.rows, image{*pk, img})
		if size += len(img); size >= chunkMaxBytes || len(c.rows) == chunkMaxRows {
			c.cursor, c.more = *cur, true
			break
		}
	}
	if err := rows.Err(); err != nil {
		return c, fmt.Errorf("%w: rows: %w", errSource, err)
	}
	return c, nil
}
