package pgsync

import (
	"errors"
	"regexp"
	"strings"
	"testing"

	"firemode/internal/pgtest"
	"firemode/internal/testapp"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/pocketbase/pocketbase/core"
)

// administrator is a role as managed servers give one: no superuser, owner of the database, may make roles.
func administrator(t *testing.T, server *pgtest.Server) (dsn func(user string) string, root *pgx.Conn) {
	t.Helper()
	postgres := pg(t, server.URL("postgres"))
	pgExec(t, postgres, "CREATE ROLE administrator LOGIN CREATEROLE")
	pgExec(t, postgres, "CREATE DATABASE fm OWNER administrator TEMPLATE template0 ENCODING 'UTF8'")
	return func(user string) string {
		return strings.Replace(server.DSN("fm"), "user=postgres", "user="+user, 1)
	}, pg(t, server.DSN("fm"))
}

// owners are those of everything in the mirror's schemas.
const owners = `SELECT DISTINCT o::regrole::text FROM (
	SELECT relowner AS o FROM pg_class WHERE relnamespace::regnamespace::text ~ '^fm_' AND relkind <> 'i'
	UNION ALL SELECT proowner FROM pg_proc WHERE pronamespace::regnamespace::text ~ '^fm_'
	UNION ALL SELECT nspowner FROM pg_namespace WHERE nspname ~ '^fm_') x`

// sqlState is PostgreSQL's code of an error, "" for any other.
func sqlState(err error) string {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return pg.Code
	}
	return ""
}

// readerExample is the commented part of the script, without its comment marks.
func readerExample(t *testing.T) string {
	t.Helper()
	_, tail, found := strings.Cut(Roles(), "\n-- CREATE ROLE firemode_reader")
	if !found {
		t.Fatal("the script has no example of a reader")
	}
	return "CREATE ROLE firemode_reader" + strings.ReplaceAll(tail, "\n-- ", "\n")
}

// On a fresh server the script is all that the worker and the readers need, and they get no more than they need.
func TestRolesOfAFreshMirror(t *testing.T) {
	t.Parallel()
	app := testapp.New(t, func(app core.App) { Register(app, Mirrored()) })
	if err := Arm(app, Mirrored()); err != nil {
		t.Fatal(err)
	}
	dsn, root := administrator(t, pgtest.NewServer(t))
	admin := pg(t, dsn("administrator"))
	for range 2 { // the second time it changes nothing
		pgExec(t, admin, Roles())
	}
	drain(t, manual(t, app, Config{DSN: dsn("fm_sync")}))
	mustEqual(t, app, dsn("fm_sync"))
	if got := lines(t, root, owners); len(got) != 1 || got[0] != "fm_owner" {
		t.Errorf("owners: got %v, want fm_owner alone", got)
	}
	if got := one[string](t, pg(t, dsn("fm_sync")), "SELECT session_user || ' ' || current_user || ' ' || current_setting('statement_timeout')"); got != "fm_sync fm_owner 1h" {
		t.Errorf("a connection of the worker is %s", got)
	}
	pgExec(t, root, "CREATE TABLE IF NOT EXISTS fm_hist.organisations (_origin smallint, id uuid, _ver bigint, _ver_to bigint, _op smallint, _valid tstzrange, name text); ALTER TABLE fm_hist.organisations OWNER TO fm_owner")
	drain(t, manual(t, app, Config{DSN: dsn("fm_sync")}))

	pgExec(t, admin, readerExample(t))
	reader := pg(t, dsn("firemode_reader"))
	views := lines(t, root, "SELECT relname::text FROM pg_class WHERE relnamespace = 'fm_report'::regnamespace")
	if len(views) < 25 {
		t.Errorf("%d views only", len(views))
	}
	for _, view := range append(views, "organisations_as_of(now())") {
		pgExec(t, reader, "SELECT * FROM fm_report."+view)
	}
	pgExec(t, reader, "SET default_transaction_read_only = off") // it is rights that must hold
	denied := regexp.MustCompile(`^(42501|55000)$`)              // rights, a view that cannot be written
	refused := func(statements ...string) {
		t.Helper()
		for _, statement := range statements {
			_, err := reader.Exec(deadline(t), statement)
			if err == nil || !denied.MatchString(sqlState(err)) {
				t.Errorf("%s: got %v, want it denied", statement, err)
			}
		}
	}
	refused("SELECT * FROM fm_mirror.users", "SELECT full_name FROM fm_mirror.users", "SELECT * FROM fm_sync.quarantine", "SELECT * FROM fm_sync.journal",
		"SELECT * FROM fm_sync.origin", "SELECT * FROM fm_hist.organisations", "SELECT fm_sync.advance(1::smallint,1,1,1,1,1,NULL,1,NULL,NULL)",
		"DELETE FROM fm_report.buildings", "UPDATE fm_report.buildings SET name = ''", "CREATE TABLE fm_report.x ()", "DROP VIEW fm_report.buildings",
		"CREATE OR REPLACE VIEW fm_report.freshness AS SELECT 1", "SET ROLE fm_owner", "CREATE SCHEMA x", "TRUNCATE fm_mirror.buildings")
	// Somebody without the role reads nothing at all, functions included.
	pgExec(t, admin, "CREATE ROLE stranger LOGIN")
	reader = pg(t, dsn("stranger"))
	refused("SELECT * FROM fm_report.freshness", "SELECT * FROM fm_report.organisations_as_of(now())", "SELECT * FROM fm_mirror.buildings")
	const public = `SELECT c.relname::text FROM pg_class c, aclexplode(c.relacl) a WHERE relnamespace::regnamespace::text ~ '^fm_' AND a.grantee NOT IN ('fm_owner'::regrole, 'fm_report'::regrole)
		UNION ALL SELECT p.proname FROM pg_proc p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a WHERE pronamespace = 'fm_report'::regnamespace AND a.grantee = 0
		UNION ALL SELECT c.relname FROM pg_class c, aclexplode(c.relacl) a WHERE relnamespace::regnamespace::text ~ '^fm_(mirror|sync|hist)' AND a.grantee = 'fm_report'::regrole`
	if got := lines(t, root, public); len(got) != 0 {
		t.Errorf("granted to others: %v", got)
	}
	pgExec(t, root, "GRANT SELECT ON fm_mirror.users TO PUBLIC")
	if got := lines(t, root, public); len(got) != 1 {
		t.Errorf("a grant to everybody is not seen: %v", got)
	}
}

// A mirror of one role that owns everything goes on without the script, and after it under the roles.
func TestRolesOverAnOlderMirror(t *testing.T) {
	t.Parallel()
	app := smallApp(t)
	dsn, root := administrator(t, pgtest.NewServer(t))
	pgExec(t, root, "CREATE ROLE firemode LOGIN; GRANT CREATE ON DATABASE fm TO firemode; CREATE ROLE reader LOGIN")
	addParent(t, app, "before")
	w := manual(t, app, Config{DSN: dsn("firemode")})
	drain(t, w)
	if got := lines(t, root, owners); len(got) != 1 || got[0] != "firemode" {
		t.Errorf("owners: got %v, want firemode alone", got)
	}
	if got := one[string](t, pg(t, dsn("firemode")), "SELECT name FROM fm_report.parents"); got != "before" {
		t.Errorf("the owner reads %q", got)
	}
	w.ses.resign(deadline(t))
	w.disconnect(deadline(t))

	// The role of the readers alone, made by hand: the next worker grants what is there.
	pgExec(t, root, "CREATE ROLE fm_report; GRANT fm_report TO reader")
	drain(t, manual(t, app, Config{DSN: dsn("firemode")}))
	pgExec(t, pg(t, dsn("reader")), "SELECT * FROM fm_report.freshness")

	pgExec(t, root, "GRANT firemode TO administrator")
	pgExec(t, pg(t, dsn("administrator")), Roles())
	if got := lines(t, root, owners); len(got) != 1 || got[0] != "fm_owner" {
		t.Errorf("owners after the script: got %v, want fm_owner alone", got)
	}
	change1(t, app, "parents", func(c *core.Collection) { c.Fields.Add(&core.TextField{Name: "later"}) })
	run(t, app, "UPDATE parents SET later = 'now'")
	drain(t, manual(t, app, Config{DSN: dsn("fm_sync")}))
	mustEqual(t, app, dsn("fm_sync"))
	if got := one[string](t, pg(t, dsn("reader")), "SELECT name || ' ' || later FROM fm_report.parents"); got != "before now" {
		t.Errorf("the reader reads %q", got)
	}
}

// A role that may not make the schema of the reports mirrors all the same, and makes them once it is given one.
func TestReportsWithoutRights(t *testing.T) {
	t.Parallel()
	app := smallApp(t)
	dsn, root := administrator(t, pgtest.NewServer(t))
	pgExec(t, root, "CREATE ROLE firemode LOGIN; CREATE SCHEMA fm_sync AUTHORIZATION firemode; CREATE SCHEMA fm_mirror AUTHORIZATION firemode; CREATE SCHEMA fm_hist AUTHORIZATION firemode")
	addParent(t, app, "p")
	drain(t, manual(t, app, Config{DSN: dsn("firemode")}))
	mustEqual(t, app, dsn("firemode"))
	if one[bool](t, root, "SELECT to_regnamespace('fm_report') IS NOT NULL") {
		t.Error("the schema is there, so this tests nothing")
	}
	w := manual(t, app, Config{DSN: dsn("firemode")})
	drain(t, w)
	if problem, err := w.ses.report(deadline(t)); err != nil || sqlState(problem) != "42501" {
		t.Errorf("got the problem %v (%v), want missing rights", problem, err)
	}
	pgExec(t, root, "CREATE SCHEMA fm_report AUTHORIZATION firemode")
	if problem, err := w.ses.report(deadline(t)); err != nil || problem != nil || w.ses.reportsDue {
		t.Errorf("with a schema: got %v (%v)", problem, err)
	}
	if got := one[string](t, root, "SELECT name FROM fm_report.parents"); got != "p" {
		t.Errorf("the view shows %q", got)
	}
}
