package pgsync

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
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

// Report says whether both sides hold the same rows at one position of the log. Each root is over all rows of its side;
// what PostgreSQL holds of a row in quarantine is the image that is kept there, and so the roots are equal although its
// tables lack the row.
type Report struct {
	Run         string        `json:"run"`
	SourceID    string        `json:"source_id"`
	Epoch       int64         `json:"epoch"`
	Position    int64         `json:"position"`
	At          time.Time     `json:"at"` // when the comparison began
	Equal       bool          `json:"equal"`
	Sealed      bool          `json:"sealed"`      // stored in fm_sync.verify_run
	Rows        int64         `json:"rows"`        // of the source
	Quarantined int64         `json:"quarantined"` // rows the tables of the mirror lack or have an older version of
	Differing   int64         `json:"differing"`
	SourceRoot  string        `json:"source_root"`
	MirrorRoot  string        `json:"mirror_root"`
	Tables      []TableReport `json:"tables"` // in the order of their collection ids
}

// TableReport compares one table. A root is that of an RFC 6962 tree over all rows in the order of their ids.
type TableReport struct {
	Table       string   `json:"table"`
	Collection  string   `json:"collection"` // id, or the table's name for a plain table
	Shape       string   `json:"shape"`      // digest of the columns
	SourceRows  int64    `json:"source_rows"`
	MirrorRows  int64    `json:"mirror_rows"`  // of the table in PostgreSQL
	MirrorHolds int64    `json:"mirror_holds"` // rows of the mirror's tree: those of the table, and what is kept in quarantine
	SourceRoot  string   `json:"source_root"`
	MirrorRoot  string   `json:"mirror_root"`
	Quarantined int64    `json:"quarantined"`           // rows the mirror could not take yet
	Differing   int64    `json:"differing"`             // rows that differ, by their columns or by what is kept in quarantine
	Differences []string `json:"differences,omitempty"` // the first of them: id and which side
}

// Verify compares every mirrored row of both databases by its real columns, not by a stored hash, at one moment of the
// log: it freezes a view of SQLite, waits until the mirror is exactly there, and freezes that too. When the log grows
// meanwhile it starts over, so under constant writing the context's deadline may end it. A mirror that is behind and that
// nobody feeds is ErrNotFed after five seconds. Both databases stay writable.
func Verify(ctx context.Context, app core.App, dsn string) (Report, error) {
	return verify(ctx, app, dsn, func(context.Context, *pgx.Conn, *Report, int16) error { return nil })
}

// VerifySealed is Verify whose outcome is stored in fm_sync.verify_run, equal or not, for [Prove] and for auditors. What
// the caller writes about it into SQLite comes after the position that was compared.
func VerifySealed(ctx context.Context, app core.App, dsn string) (Report, error) {
	return verify(ctx, app, dsn, storeRun)
}

func verify(ctx context.Context, app core.App, dsn string, store func(context.Context, *pgx.Conn, *Report, int16) error) (Report, error) {
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
		return Report{}, fmt.Errorf("connect: %w", ctx.Err())
	}
	if err != nil {
		return Report{}, errors.New(publicText(err))
	}
	defer conn.Close(context.WithoutCancel(ctx))
	fedAt := time.Now()
	for {
		report, met, err := verifyAt(ctx, src, conn)
		if err == nil && met.equal {
			err = store(ctx, conn, &report, met.origin)
		}
		if err != nil || met.equal {
			return report, err
		}
		if met.fed {
			fedAt = time.Now()
		} else if time.Since(fedAt) > verifyPatience {
			return Report{}, ErrNotFed
		}
		select {
		case <-ctx.Done():
			return Report{}, fmt.Errorf("the mirror did not catch up: %w", ctx.Err())
		case <-time.After(verifyPoll):
		}
	}
}

// meeting says whether both sides are at the same position, and whether a worker holds the lease of the mirror.
type meeting struct {
	equal, fed bool
	origin     int16
}

// verifyAt compares when both sides are at the same position now.
func verifyAt(ctx context.Context, src *source, conn *pgx.Conn) (report Report, met meeting, err error) {
	report = Report{Run: uuid.NewString(), At: time.Now().UTC()}
	tx, err := src.db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return report, met, fmt.Errorf("%w: %w", errSource, err)
	}
	defer tx.Rollback()
	var last int64
	err = tx.QueryRowContext(ctx, `SELECT coalesce((SELECT max(seq) FROM _pgsync_log),0),
		coalesce((SELECT v FROM _pgsync_meta WHERE k=?),'')`, metaSourceID).Scan(&last, &report.SourceID)
	if err != nil {
		return report, met, fmt.Errorf("%w: %w", errSource, err)
	}
	ptx, err := conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return report, met, err
	}
	defer ptx.Rollback(context.WithoutCancel(ctx))
	var resyncing int64
	found, err := queryOne(ctx, conn, `SELECT origin, epoch, seq, lease_until > clock_timestamp(),
		(SELECT count(*) FROM fm_sync.collection c WHERE c.origin = o.origin AND resync IS NOT NULL)
		FROM fm_sync.origin o WHERE source_id = $1`, []any{report.SourceID}, &met.origin, &report.Epoch, &report.Position, &met.fed, &resyncing)
	if classify(err) == classDrift {
		return report, met, nil // the worker has not made the mirror yet
	}
	if err != nil || !found || report.Position != last || resyncing > 0 {
		return report, met, err
	}
	s := &session{conn: conn, origin: met.origin, reg: registry{}}
	if err := s.readShapes(ctx); err != nil {
		return report, met, err
	}
	if err := s.checkRegistry(ctx, tx); err != nil {
		return report, met, fmt.Errorf("verify: %w", err)
	}
	for _, coll := range s.reg.sorted() {
		t, err := s.compare(ctx, tx, s.reg.table(coll))
		if errors.Is(err, errUnsettled) {
			return report, met, nil
		}
		if err != nil {
			return report, met, fmt.Errorf("compare %s: %w", s.reg.table(coll).Name, err)
		}
		report.Tables = append(report.Tables, t)
	}
	met.equal = true
	return report, met, report.conclude()
}

// checkRegistry holds unless PostgreSQL lists the tables of the source with their columns, as it must at one position of the
// log: a table that it does not list would not be compared.
func (s *session) checkRegistry(ctx context.Context, tx *sql.Tx) error {
	_, tables, err := shapesIn(ctx, tx)
	if err != nil {
		return err
	}
	armed := map[string]bool{}
	for _, t := range tables {
		armed[t.Coll] = true
		if have := s.reg.table(t.Coll); have == nil || have.Name != t.Name || !bytes.Equal(have.shapeDigest(), t.shapeDigest()) {
			return &holdError{holdControl, "fm_sync.collection does not have the table " + t.Name + " as it is in SQLite"}
		}
	}
	for coll := range s.reg {
		if !armed[coll] {
			return &holdError{holdControl, "fm_sync.collection has the table " + s.reg.name(coll) + ", which SQLite does not mirror"}
		}
	}
	return nil
}

// conclude adds the tables up and makes the roots.
func (r *Report) conclude() error {
	r.Rows, r.Quarantined, r.Differing = 0, 0, 0
	for _, t := range r.Tables {
		r.Rows, r.Quarantined, r.Differing = r.Rows+t.SourceRows, r.Quarantined+t.Quarantined, r.Differing+t.Differing
	}
	head := treeHead{r.SourceID, r.Epoch, r.Position, r.Run}
	var sides [2][]tableSum
	for _, t := range r.Tables {
		source, mirror, err := t.sums()
		if err != nil {
			return err
		}
		sides[0], sides[1] = append(sides[0], source), append(sides[1], mirror)
	}
	source, mirror := head.rootOf(sides[0]), head.rootOf(sides[1])
	r.SourceRoot, r.MirrorRoot = hex.EncodeToString(source), hex.EncodeToString(mirror)
	// The two are found in different ways, and must agree.
	r.Equal = r.Differing == 0 && bytes.Equal(source, mirror)
	return nil
}

// sums are the leaves of the table on either side.
func (t TableReport) sums() (source, mirror tableSum, err error) {
	shape, err1 := hex.DecodeString(t.Shape)
	sourceRoot, err2 := hex.DecodeString(t.SourceRoot)
	mirrorRoot, err3 := hex.DecodeString(t.MirrorRoot)
	source = tableSum{t.Collection, t.Table, shape, t.SourceRows, sourceRoot}
	mirror = tableSum{t.Collection, t.Table, shape, t.MirrorHolds, mirrorRoot}
	return source, mirror, errors.Join(err1, err2, err3)
}

// compare walks both sides of a table in the order of the ids. Each is read in a goroutine of its own.
func (s *session) compare(ctx context.Context, tx *sql.Tx, t *Table) (TableReport, error) {
	report := TableReport{Table: t.Name, Collection: t.Coll, Shape: hex.EncodeToString(t.shapeDigest())}
	kept, err := s.kept(ctx, t, math.MaxInt64)
	if err != nil {
		return report, err
	}
	report.Quarantined = int64(len(kept))
	nextSource, stopSource := ahead(sourceRows(ctx, tx, t))
	defer stopSource()
	nextMirror, stopMirror := ahead(withKept(s.columnRows(ctx, t, math.MaxInt64), kept, &report.MirrorRows))
	defer stopMirror()

	sourceTree, mirrorTree := newTree(), newTree()
	var leaf []byte
	pull := func(next func() (hashedRow, bool, error), into *tree) (hashedRow, bool) {
		row, ok, failed := next()
		if err = errors.Join(err, failed); ok {
			leaf = appendRowLeaf(leaf[:0], row.pk, row.hash)
			into.add(leaf)
		}
		return row, ok && err == nil
	}
	a, inSource := pull(nextSource, sourceTree)
	b, inMirror := pull(nextMirror, mirrorTree)
	for err == nil && (inSource || inMirror) {
		order := strings.Compare(a.pk, b.pk)
		switch {
		case inSource && (!inMirror || order < 0):
			report.differ(a.pk, "is missing in the mirror")
			a, inSource = pull(nextSource, sourceTree)
		case inMirror && (!inSource || order > 0):
			report.differ(b.pk, "is in the mirror only")
			b, inMirror = pull(nextMirror, mirrorTree)
		default:
			if !bytes.Equal(a.hash, b.hash) {
				report.differ(a.pk, "differs")
			}
			a, inSource = pull(nextSource, sourceTree)
			b, inMirror = pull(nextMirror, mirrorTree)
		}
	}
	report.SourceRows, report.MirrorHolds = sourceTree.size(), mirrorTree.size()
	report.SourceRoot, report.MirrorRoot = hex.EncodeToString(sourceTree.root()), hex.EncodeToString(mirrorTree.root())
	return report, err
}

func (r *TableReport) differ(pk, how string) {
	r.Differing++
	if len(r.Differences) < differencesMax {
		r.Differences = append(r.Differences, safeText(pk)+" "+how)
	}
}

// sorted lists collections by their ids.
func (r registry) sorted() []string {
	colls := r.order()
	slices.Sort(colls)
	return colls
}

// readColumns reads every column back in wire form.
func (t *Table) readColumns() string {
	exprs := make([]string, len(t.Columns))
	for i := range t.Columns {
		exprs[i] = t.Columns[i].readExpr()
	}
	return strings.Join(exprs, ", ")
}
