package pgsync

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// The schema fm_report holds views for people: one per mirrored table, and answers to what a compliance officer asks. The
// worker makes them and nobody else. A view pins the columns it was made from, so those that read a table go before it
// changes its shape and come back in the same transaction; a reader never sees a value under the wrong name.

const (
	schemaReport = "fm_report"
	// roleReport is granted what the schema holds, when there is such a role.
	roleReport = "fm_report"
	// reportRetry is how long the worker leaves a schema alone that it could not make.
	reportRetry = time.Minute
	// reportLock serialises workers of several databases that mirror into one PostgreSQL.
	reportLock = migrationLock + 1
)

// A report is one view of fm_report, or the function that shows a table as of a time.
type report struct {
	name     string // of the view or function
	function bool
	create   string // the statement that makes it
	comment  string
}

// Reports names the views that answer questions, beside the one of each mirrored table, with their questions.
func Reports() map[string]string {
	questions := map[string]string{}
	for _, r := range fixedReports() {
		questions[r.name] = r.comment
	}
	return questions
}

// fixedReports are those of sql/reports, sorted by name. The first line of a file is its question.
func fixedReports() []report {
	names, err := fs.Glob(sqlFiles, "sql/reports/*.sql")
	if err != nil || len(names) == 0 {
		panic(fmt.Sprintf("pgsync: internal error: %d reports: %v", len(names), err)) // embedded
	}
	var list []report
	for _, file := range names {
		name := strings.TrimSuffix(path.Base(file), ".sql")
		text := statement("reports/" + name)
		question, _, _ := strings.Cut(text, "\n")
		list = append(list, report{name: name, create: text, comment: strings.TrimPrefix(question, "-- ")})
	}
	return list
}

func (r *report) qualified() string { return pgx.Identifier{schemaReport, r.name}.Sanitize() }

func (r *report) object() string {
	if r.function {
		return "FUNCTION " + r.qualified() + "(timestamptz)"
	}
	return "VIEW " + r.qualified()
}

// grants lets the readers' role use the report, and nobody else: PUBLIC may execute a new function by itself.
func (r *report) grants() string {
	if r.function {
		return "GRANT EXECUTE ON " + r.object() + " TO " + roleReport
	}
	return "GRANT SELECT ON " + r.qualified() + " TO " + roleReport
}

// script makes the report in one round trip.
func (r *report) script(grant bool) string {
	steps := []string{r.create, "COMMENT ON " + r.object() + " IS " + quoteText(r.comment)}
	if r.function {
		steps = append(steps, "REVOKE ALL ON "+r.object()+" FROM PUBLIC")
	}
	if grant {
		steps = append(steps, r.grants())
	}
	return strings.Join(steps, ";\n")
}

var relationName = regexp.MustCompile(`"?(fm_(?:mirror|hist|sync))"?\."?(\w+)"?`)

// print changes with the text of the report and with anything in the tables it reads that it could pin.
func (r *report) print(cat catalog) string {
	h := sha256.New()
	h.Write([]byte(r.create + "\x00" + r.comment))
	seen := map[string]bool{}
	for _, m := range relationName.FindAllStringSubmatch(r.create, -1) {
		name := m[1] + "." + m[2]
		if !seen[name] {
			seen[name] = true
			fmt.Fprintf(h, "\x00%s\x00%s", name, cat[name].print())
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}

// reportPlan is what differs between the reports that there should be and those that there are.
type reportPlan struct {
	schema   bool     // the schema is missing
	role     bool     // there is a role to grant to
	closed   []report // exist, and the role may not use them
	drop     []report // exist, and are others than they should be
	make     []report
	prints   map[string]string // of those to make
	forget   []string          // rows of fm_sync.report
	coverage []gap             // to be written; nil: as it is
}

func (p *reportPlan) empty() bool {
	return len(p.closed)+len(p.drop)+len(p.make)+len(p.forget)+len(p.coverage) == 0
}

// planReports compares fm_report with the tables that there are. It changes nothing.
func planReports(ctx context.Context, conn *pgx.Conn) (*reportPlan, error) {
	cat, err := readCatalog(ctx, conn)
	if err != nil {
		return nil, err
	}
	tables, err := reportTables(ctx, conn)
	if err != nil {
		return nil, err
	}
	objects, records, err := existingReports(ctx, conn)
	if err != nil {
		return nil, fmt.Errorf("read reports: %w", err)
	}
	p := &reportPlan{prints: map[string]string{}}
	err = conn.QueryRow(ctx, `SELECT to_regnamespace($1) IS NULL, EXISTS (SELECT FROM pg_roles WHERE rolname = $2)`, schemaReport, roleReport).
		Scan(&p.schema, &p.role)
	if err != nil {
		return nil, err
	}
	wanted, gaps := wantedReports(tables, cat)
	for _, r := range wanted {
		before := records[r.name]
		delete(records, r.name)
		closed, exists := objects[r.name]
		print := r.print(cat)
		switch {
		case before.print != print || !exists && before.reason == "":
			p.make, p.prints[r.name] = append(p.make, r), print
			if exists {
				p.drop = append(p.drop, r)
			}
		case exists && closed:
			p.closed = append(p.closed, r)
		}
	}
	for name := range records {
		p.forget = append(p.forget, name)
		if _, exists := objects[name]; exists {
			p.drop = append(p.drop, report{name: name, function: strings.HasSuffix(name, asOfSuffix)})
		}
	}
	slices.Sort(p.forget)
	same, err := sameCoverage(ctx, conn, gaps)
	if err == nil && !same {
		p.coverage = gaps
	}
	return p, err
}

type reportRecord struct{ print, reason string }

// existingReports are the views and functions that there are, true for one that the readers' role may not use, and what
// was noted when they were made.
func existingReports(ctx context.Context, conn *pgx.Conn) (map[string]bool, map[string]reportRecord, error) {
	rows, err := conn.Query(ctx, sqlReportObjects)
	if err != nil {
		return nil, nil, err
	}
	objects, records := map[string]bool{}, map[string]reportRecord{}
	var name string
	var closed bool
	_, err = pgx.ForEachRow(rows, []any{&name, &closed}, func() error {
		objects[name] = closed
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	if rows, err = conn.Query(ctx, `SELECT name, print, reason FROM fm_sync.report`); err != nil {
		return nil, nil, err
	}
	var rec reportRecord
	_, err = pgx.ForEachRow(rows, []any{&name, &rec.print, &rec.reason}, func() error {
		records[name] = rec
		return nil
	})
	return objects, records, err
}

// report makes fm_report what it should be, in a transaction of its own. problem says why it is not; that stands in
// nobody's way and is tried again. err ends the session.
func (s *session) report(ctx context.Context) (problem, err error) {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	plan, err := planReports(ctx, s.conn)
	if err != nil {
		return nil, fmt.Errorf("plan reports: %w", err)
	}
	if plan.empty() {
		s.reportsDue = false
		return nil, nil
	}
	err = s.attempt(ctx, s.pos, 0, false, func(x *txn) error {
		if err := x.flush(ctx); err != nil {
			return err
		}
		problem, err = x.renewReports(ctx)
		return err
	})
	return problem, err
}

// renewReports works in a savepoint: a view must never stand in the way of a row.
func (x *txn) renewReports(ctx context.Context) (problem, err error) {
	ctx, cancel := x.s.bounded(ctx)
	defer cancel()
	conn := x.s.conn
	if _, err := conn.Exec(ctx, "SAVEPOINT reports"); err != nil {
		return nil, err
	}
	err = x.makeReports(ctx)
	var refused *pgconn.PgError
	if err == nil {
		x.s.reportsDue = false
		_, err = conn.Exec(ctx, "RELEASE SAVEPOINT reports")
		return nil, err
	}
	if !errors.As(err, &refused) || conn.IsClosed() {
		return nil, err
	}
	problem, x.s.reportsAt = err, time.Now().Add(reportRetry)
	_, err = conn.Exec(ctx, "ROLLBACK TO SAVEPOINT reports")
	return problem, err
}

func (x *txn) makeReports(ctx context.Context) error {
	conn := x.s.conn
	if _, err := conn.Exec(ctx, `SELECT pg_advisory_xact_lock($1)`, int64(reportLock)); err != nil {
		return err
	}
	p, err := planReports(ctx, conn) // again: another worker may have been faster
	if err != nil {
		return err
	}
	if p.schema {
		if _, err := conn.Exec(ctx, "CREATE SCHEMA "+schemaReport); err != nil {
			return err
		}
	}
	if p.role && len(p.make)+len(p.closed) > 0 {
		if _, err := conn.Exec(ctx, "GRANT USAGE ON SCHEMA "+schemaReport+" TO "+roleReport); err != nil {
			return err
		}
	}
	for _, r := range p.drop {
		// What others built on a view goes with it; it could not be kept true anyway.
		if _, err := conn.Exec(ctx, "DROP "+r.object()+" CASCADE"); err != nil {
			return fmt.Errorf("drop report %s: %w", r.name, err)
		}
	}
	for _, r := range p.closed {
		if _, err := conn.Exec(ctx, r.grants()); err != nil {
			return fmt.Errorf("grant report %s: %w", r.name, err)
		}
	}
	for _, r := range p.make {
		reason, err := x.makeReport(ctx, &r, p.role)
		if err != nil {
			return fmt.Errorf("create report %s: %w", r.name, err)
		}
		x.batch.Queue(sqlReportSave, r.name, p.prints[r.name], reason)
	}
	if len(p.forget) > 0 {
		x.batch.Queue("DELETE FROM fm_sync.report WHERE name = ANY ($1)", p.forget)
	}
	if p.coverage != nil {
		x.saveCoverage(p.coverage)
	}
	return x.flush(ctx)
}

// makeReport returns why a report is left out: a schema of somebody's own may lack a column that it needs.
func (x *txn) makeReport(ctx context.Context, r *report, grant bool) (reason string, err error) {
	run := func(sql string) error { return x.s.conn.PgConn().Exec(ctx, sql).Close() }
	err = run("SAVEPOINT report;\n" + r.script(grant) + ";\nRELEASE SAVEPOINT report")
	var refused *pgconn.PgError
	if errors.As(err, &refused) && strings.HasPrefix(refused.Code, "42") && refused.Code != "42501" {
		return publicText(err), run("ROLLBACK TO SAVEPOINT report")
	}
	return "", err
}

// dropReaders drops the views that read the tables: before they change, since in this order a query of the view, which
// locks it first and its tables then, waits its turn. What reads a table holds that table's lock, which the change
// needs anyway, so this makes nobody wait longer.
func (x *txn) dropReaders(ctx context.Context, tables ...*Table) error {
	if err := x.flush(ctx); err != nil {
		return err
	}
	ctx, cancel := x.s.bounded(ctx)
	defer cancel()
	var names []string
	for _, t := range tables {
		if t != nil {
			names = append(names, t.pgName(), pgx.Identifier{schemaHistory, t.Name}.Sanitize())
		}
	}
	rows, err := x.s.conn.Query(ctx, sqlReportReaders, names)
	if err != nil {
		return err
	}
	views, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return fmt.Errorf("find readers: %w", err)
	}
	x.reshaped, x.s.reportsDue = true, true
	if len(views) == 0 {
		return nil
	}
	if _, err := x.s.conn.Exec(ctx, "DROP VIEW "+strings.Join(views, ", ")+" CASCADE"); err != nil {
		return fmt.Errorf("drop readers: %w", err)
	}
	return nil
}
