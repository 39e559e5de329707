package pgsync

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/pocketbase/pocketbase/core"
)

// A Check is one thing that Examine has looked at, and what to do when it is not as it should be. It holds no secret.
type Check struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail"`
	Advice string `json:"advice,omitempty"`
}

// clockSkewMax is how far two clocks may differ before times in reports mislead.
const clockSkewMax = 5 * time.Second

// Examine looks at everything the mirror needs, from the address to the state of the last worker. It changes nothing. What
// cannot be asked after an earlier check has failed is left out.
func Examine(ctx context.Context, app core.App, dsn string) []Check {
	cfg := Config{DSN: dsn}.withDefaults()
	if err := cfg.validate(); err != nil {
		return []Check{{"address", false, err.Error(), "correct DATABASE_URL"}}
	}
	conn, err := dial(ctx, cfg)
	if err != nil {
		return []Check{{"connection", false, publicText(err), "check DATABASE_URL, that PostgreSQL runs and is the primary, and that pg_hba.conf admits this host and role"}}
	}
	defer conn.Close(context.WithoutCancel(ctx))
	checks := []Check{{Name: "connection", OK: true, Detail: "reached as " + conn.Config().User}}
	server, err := examineServer(ctx, conn)
	checks = append(checks, server...)
	if err != nil {
		return append(checks, Check{"server", false, publicText(err), "see PostgreSQL's log"})
	}
	reports, err := examineReports(ctx, conn)
	checks = append(checks, reports...)
	if err != nil {
		return append(checks, Check{"reports", false, publicText(err), "see PostgreSQL's log"})
	}
	st, err := ReadStatus(ctx, app, dsn)
	if err != nil {
		return append(checks, Check{"mirror", false, publicText(err), "run firemode migrate up"})
	}
	checks = append(checks, examineState(st)...)
	if st.State == StateConnecting {
		return checks // there is no mirror to have a history
	}
	history, err := examineHistory(ctx, app, conn)
	if err != nil {
		return append(checks, Check{"history", false, publicText(err), nextStep(err)})
	}
	return append(checks, history)
}

// examineHistory says whether the journal is one continuous log. A break is a fact of the past, and no fault.
func examineHistory(ctx context.Context, app core.App, conn *pgx.Conn) (Check, error) {
	src, err := openSource(ctx, app)
	if err != nil {
		return Check{}, err
	}
	defer src.close()
	sourceID, err := src.id(ctx)
	if err != nil {
		return Check{}, err
	}
	var breaks int
	var kind string
	var at time.Time
	if err := conn.QueryRow(ctx, sqlDiscontinuities, sourceID).Scan(&breaks, &kind, &at); err != nil {
		return Check{}, err
	}
	detail := "one continuous log"
	if breaks > 0 {
		detail = fmt.Sprintf("%d breaks, the last on %s (%s); fm_sync.discontinuity lists them", breaks, at.UTC().Format(time.DateOnly), kind)
	}
	return Check{"history", true, detail, ""}, nil
}

// examineServer asks PostgreSQL about itself.
func examineServer(ctx context.Context, conn *pgx.Conn) ([]Check, error) {
	var version, encoding string
	var number int
	var readOnly, encrypted, local, mayCreate, schemas, mayUse bool
	var now time.Time
	before := time.Now()
	err := conn.QueryRow(ctx, sqlDoctor).Scan(&version, &number, &encoding, &readOnly, &encrypted, &local, &mayCreate, &schemas, &mayUse, &now)
	if err != nil {
		return nil, err
	}
	skew := now.Sub(before.Add(time.Since(before) / 2)).Round(time.Millisecond)
	rights := Check{"rights", mayUse, "may use fm_sync, fm_mirror and fm_hist", "GRANT USAGE, CREATE ON SCHEMA fm_sync, fm_mirror, fm_hist TO the role of DATABASE_URL, or make it their owner"}
	if !schemas {
		rights = Check{"rights", mayCreate, "may make the schemas fm_sync, fm_mirror and fm_hist", "GRANT CREATE ON DATABASE to the role of DATABASE_URL"}
	}
	if !rights.OK {
		rights.Detail = "not: " + rights.Detail
	}
	transport := "encrypted"
	switch {
	case local:
		transport = "on this machine"
	case !encrypted:
		transport = "not encrypted"
	}
	return []Check{
		{"version", number >= minServerVersion, "PostgreSQL " + version, "use PostgreSQL 14 or later"},
		{"encoding", encoding == "UTF8", encoding, "make the database with ENCODING 'UTF8' and name it in DATABASE_URL"},
		{"writable", !readOnly, map[bool]string{true: "read only", false: "takes writes"}[readOnly], "name the primary in DATABASE_URL, not a standby, and a role without default_transaction_read_only"},
		{"transport", encrypted || local, transport, "add sslmode=verify-full to DATABASE_URL"},
		rights,
		{"clock", skew.Abs() <= clockSkewMax, "PostgreSQL's differs by " + skew.String(), "let both machines follow the same time servers"},
	}, nil
}

// examineReports looks whether the views are there and the readers' role may use them. A database without a mirror has none.
func examineReports(ctx context.Context, conn *pgx.Conn) ([]Check, error) {
	var mirror, schema, role bool
	err := conn.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_class WHERE relnamespace = to_regnamespace('fm_sync') AND relname = 'origin'), to_regnamespace($1) IS NOT NULL, EXISTS (SELECT FROM pg_roles WHERE rolname = $2)`,
		schemaReport, roleReport).Scan(&mirror, &schema, &role)
	if err != nil || !mirror {
		return nil, err
	}
	rows, err := conn.Query(ctx, sqlReportObjects)
	if err != nil {
		return nil, err
	}
	var views, closed int
	var freshness bool
	var name string
	var isClosed bool
	_, err = pgx.ForEachRow(rows, []any{&name, &isClosed}, func() error {
		views++
		freshness = freshness || name == "freshness"
		if isClosed {
			closed++
		}
		return nil
	})
	detail := fmt.Sprintf("%d views and functions in fm_report", views)
	switch {
	case err != nil:
		return nil, err
	case !schema:
		return []Check{{"reports", false, "the schema fm_report is missing", "have an administrator run what firemode mirror roles prints, or GRANT CREATE ON DATABASE to the role of DATABASE_URL"}}, nil
	case !freshness:
		return []Check{{"reports", false, detail, "start firemode serve, which makes them; its log says what stands in the way"}}, nil
	case closed > 0:
		return []Check{{"reports", false, fmt.Sprintf("%s; the role fm_report may not read %d of them", detail, closed), "have an administrator run what firemode mirror roles prints"}}, nil
	case !role:
		return []Check{{"reports", true, detail + "; there is no role fm_report to read them", ""}}, nil
	}
	return []Check{{"reports", true, detail + "; the role fm_report reads them", ""}}, nil
}

// examineState says what the last worker has left.
func examineState(st Status) []Check {
	fed := Check{"worker", true, string(st.State), ""}
	switch st.State {
	case StateStopped:
		fed = Check{"worker", false, "no server feeds the mirror", "start firemode serve"}
	case StateHeld:
		fed = Check{"worker", false, "held: " + st.LastError, st.NextStep}
	case StateConnecting:
		fed = Check{"worker", false, st.LastError, st.NextStep}
	}
	checks := []Check{fed}
	if st.State == StateConnecting {
		return checks
	}
	return append(checks,
		Check{"backlog", st.BacklogEntries == 0 || st.LagSeconds < stalledAfter.Seconds(),
			fmt.Sprintf("%d changes, the oldest %s old", st.BacklogEntries, time.Duration(st.LagSeconds*float64(time.Second)).Round(time.Second)),
			"see the server's log for what holds it up"},
		Check{"quarantine", st.QuarantineRows == 0, strconv.FormatInt(st.QuarantineRows, 10) + " rows", "firemode mirror quarantine says which and why"},
	)
}
