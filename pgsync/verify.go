package pgsync

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/pocketbase/pocketbase/core"
)

const (
	// verifyPoll is how often Verify looks whether the mirror has reached the moment it froze in SQLite.
	verifyPoll = 20 * time.Millisecond
	// verifyPatience is how long Verify waits for a mirror that nobody feeds: a server that starts needs a moment.
	verifyPatience = 5 * time.Second
	// differencesMax bounds the list of one table; the counts are exact.
	differencesMax = 100
)

// ErrNotFed reports a mirror that is behind while no worker holds its lease.
var ErrNotFed = errors.New("the mirror is behind and no server feeds it: start one, then verify again")

// Report says whether both sides hold the same rows at one position of the log.
type Report struct {
	Epoch    int64         `json:"epoch"`
	Position int64         `json:"position"`
	Equal    bool          `json:"equal"` // no difference; rows in quarantine are listed apart
	Tables   []TableReport `json:"tables"`
}

// TableReport compares one table. A root is SHA-256 over (id, row hash) of all rows in the order of their ids.
type TableReport struct {
	Table       string   `json:"table"`
	SourceRows  int64    `json:"source_rows"`
	MirrorRows  int64    `json:"mirror_rows"`
	SourceRoot  string   `json:"source_root"`
	MirrorRoot  string   `json:"mirror_root"`
	Quarantined int64    `json:"quarantined"`           // rows the mirror could not take yet
	Differing   int64    `json:"differing"`             // rows that differ although they are not in quarantine
	Differences []string `json:"differences,omitempty"` // the first of them: id and which side
}

// Verify compares every mirrored row of both databases by its real columns, not by a stored hash, at one moment of the
// log: it freezes a view of SQLite, waits until the mirror is exactly there, and freezes that too. When the log grows
// meanwhile it starts over, so under constant writing the context's deadline may end it. A mirror that is behind and that
// nobody feeds is ErrNotFed after five seconds. Both databases stay writable.
func Verify(ctx context.Context, app core.App, dsn string) (Report, error) {
	cfg := Config{DSN: dsn}.withDefaults()
	if err := cfg.validate(); err != nil {
		return Report{}, err
	}
	src, err := openSource(ctx, app)
	if err != nil {
		return Report{}, err
	}
	defer src.close()
	conn, err := dial(ctx, cfg)
	if err != nil && ctx.Err() != nil {
		return Report{}, fmt.Errorf("verify: %w", ctx.Err())
	}
	if err != nil {
		return Report{}, fmt.Errorf("verify: %s", publicText(err))
	}
	defer conn.Close(context.WithoutCancel(ctx))
	fedAt := time.Now()
	for {
		report, met, err := verifyAt(ctx, src, conn)
		if err != nil || met.equal {
			return report, err
		}
		if met.fed {
			fedAt = time.Now()
		} else if time.Since(fedAt) > verifyPatience {
			return Report{}, fmt.Errorf("verify: %w", ErrNotFed)
		}
		select {
		case <-ctx.Done():
			return Report{}, fmt.Errorf("verify: the mirror did not catch up: %w", ctx.Err())
		case <-time.After(verifyPoll):
		}
	}
}

// meeting says whether both sides are at the same position, and whether a worker holds the lease of the mirror.
type meeting struct{ equal, fed bool }

// verifyAt compares when both sides are at the same position now.
func verifyAt(ctx context.Context, src *source, conn *pgx.Conn) (report Report, met meeting, err error) {
	tx, err := src.db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return report, met, fmt.Errorf("%w: %w", errSource, err)
	}
	defer tx.Rollback()
	var last int64
	var sourceID string
	err = tx.QueryRowContext(ctx, `SELECT coalesce((SELECT max(seq) FROM _pgsync_log),0),
		coalesce((SELECT v FROM _pgsync_meta WHERE k=?),'')`, metaSourceID).Scan(&last, &sourceID)
	if err != nil {
		return report, met, fmt.Errorf("%w: %w", errSource, err)
	}
	ptx, err := conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return report, met, err
	}
	defer ptx.Rollback(context.WithoutCancel(ctx))
	var origin int16
	var resyncing int64
	found, err := queryOne(ctx, conn, `SELECT origin, epoch, seq, lease_until > clock_timestamp(),
		(SELECT count(*) FROM fm_sync.collection c WHERE c.origin = o.origin AND resync IS NOT NULL)
		FROM fm_sync.origin o WHERE source_id = $1`, []any{sourceID}, &origin, &report.Epoch, &report.Position, &met.fed, &resyncing)
	if classify(err) == classDrift {
		return report, met, nil // the worker has not made the mirror yet
	}
	if err != nil || !found || report.Position != last || resyncing > 0 {
		return report, met, err
	}
	s := &session{conn: conn, origin: origin, reg: registry{}}
	if err := s.readShapes(ctx); err != nil {
		return report, met, err
	}
	report.Equal, met.equal = true, true
	for _, coll := range s.reg.order() {
		t, err := s.compare(ctx, tx, s.reg.table(coll))
		if err != nil {
			return report, met, fmt.Errorf("verify %s: %w", s.reg.table(coll).Name, err)
		}
		report.Tables = append(report.Tables, t)
		report.Equal = report.Equal && t.Differing == 0
	}
	return report, met, nil
}

// hashedRow is one row of either side; pk sorts like the bytes of the id.
type hashedRow struct {
	pk   string
	hash string
	ok   bool // false after the last row
}

// compare walks both tables in the order of their ids.
func (s *session) compare(ctx context.Context, tx *sql.Tx, t *Table) (TableReport, error) {
	report := TableReport{Table: t.Name}
	quarantined, err := s.quarantinedKeys(ctx, t.Coll)
	if err != nil {
		return report, err
	}
	report.Quarantined = int64(len(quarantined))
	source, err := tx.QueryContext(ctx, fmt.Sprintf("SELECT %s AS pk, %s FROM %s ORDER BY pk", t.keyExpr(""), t.imageExpr(""), quoteIdent(t.Name)))
	if err != nil {
		return report, fmt.Errorf("%w: %w", errSource, err)
	}
	defer source.Close()
	mirror, err := s.conn.Query(ctx, t.readAll(), s.origin)
	if err != nil {
		return report, err
	}
	defer mirror.Close()

	sourceRoot, mirrorRoot := sha256.New(), sha256.New()
	a, err := nextSource(source, t, sourceRoot, &report.SourceRows)
	if err != nil {
		return report, err
	}
	b, err := nextMirror(mirror, t, mirrorRoot, &report.MirrorRows)
	for err == nil && (a.ok || b.ok) {
		switch {
		case a.ok && (!b.ok || a.pk < b.pk):
			report.differ(quarantined, a.pk, "is missing in the mirror")
			a, err = nextSource(source, t, sourceRoot, &report.SourceRows)
		case b.ok && (!a.ok || b.pk < a.pk):
			report.differ(quarantined, b.pk, "is in the mirror only")
			b, err = nextMirror(mirror, t, mirrorRoot, &report.MirrorRows)
		default:
			if a.hash != b.hash {
				report.differ(quarantined, a.pk, "differs")
			}
			if a, err = nextSource(source, t, sourceRoot, &report.SourceRows); err == nil {
				b, err = nextMirror(mirror, t, mirrorRoot, &report.MirrorRows)
			}
		}
	}
	report.SourceRoot, report.MirrorRoot = hex.EncodeToString(sourceRoot.Sum(nil)), hex.EncodeToString(mirrorRoot.Sum(nil))
	return report, err
}

func (r *TableReport) differ(quarantined map[string]bool, pk, how string) {
	if quarantined[safeText(pk)] {
		return
	}
	r.Differing++
	if len(r.Differences) < differencesMax {
		r.Differences = append(r.Differences, safeText(pk)+" "+how)
	}
}

// readAll reads every column back in wire form, in the byte order of the ids.
func (t *Table) readAll() string {
	return "SELECT id::text, " + t.readColumns() + " FROM " + t.pgName() + " WHERE _origin = $1 ORDER BY id"
}

// readColumns reads every column back in wire form.
func (t *Table) readColumns() string {
	exprs := make([]string, len(t.Columns))
	for i := range t.Columns {
		exprs[i] = t.Columns[i].readExpr()
	}
	return strings.Join(exprs, ", ")
}

func nextSource(rows *sql.Rows, t *Table, root hash.Hash, count *int64) (hashedRow, error) {
	if !rows.Next() {
		return hashedRow{}, rows.Err()
	}
	var row hashedRow
	var img []byte
	if err := rows.Scan(&row.pk, &img); err != nil {
		return row, err
	}
	row.ok = true
	// A row that has no mirrored form equals nothing: it must be in quarantine.
	if cells, err := decodeImage(t, img); err == nil {
		row.hash = string(rowHash(t, cells))
	}
	*count++
	return row, addLeaf(root, row)
}

func nextMirror(rows pgx.Rows, t *Table, root hash.Hash, count *int64) (hashedRow, error) {
	if !rows.Next() {
		return hashedRow{}, rows.Err()
	}
	row := hashedRow{ok: true}
	cells := make([]cell, len(t.Columns))
	dest := []any{&row.pk}
	for i := range cells {
		dest = append(dest, &cells[i])
	}
	if err := rows.Scan(dest...); err != nil {
		return row, err
	}
	row.hash = string(rowHash(t, cells))
	*count++
	return row, addLeaf(root, row)
}

func addLeaf(root hash.Hash, row hashedRow) error {
	sum := sha256.Sum256([]byte("\x00" + row.pk + "\x00" + row.hash))
	_, err := root.Write(sum[:])
	return err
}

func (s *session) quarantinedKeys(ctx context.Context, coll string) (map[string]bool, error) {
	rows, err := s.conn.Query(ctx, `SELECT pk FROM fm_sync.quarantine WHERE origin = $1 AND coll = $2`, s.origin, coll)
	if err != nil {
		return nil, err
	}
	pks, err := pgx.CollectRows(rows, pgx.RowTo[string])
	keys := make(map[string]bool, len(pks))
	for _, pk := range pks {
		keys[pk] = true
	}
	return keys, err
}
