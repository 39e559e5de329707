package pgsync

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"firemode/internal/pgtest"

	"github.com/jackc/pgx/v5"
	"github.com/pocketbase/dbx"
	"github.com/pocketbase/pocketbase/core"
)

// lines are the rows of a query with one text column.
func lines(t testing.TB, conn *pgx.Conn, query string, args ...any) []string {
	t.Helper()
	rows, err := conn.Query(deadline(t), query, args...)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return list
}

// viewColumns are those of a view, in order.
func viewColumns(t testing.TB, conn *pgx.Conn, view string) string {
	t.Helper()
	return strings.Join(lines(t, conn, `SELECT column_name::text FROM information_schema.columns
		WHERE table_schema = 'fm_report' AND table_name = $1 ORDER BY ordinal_position`, view), " ")
}

// A view shows a table under its own names from the very transaction in which they change, whatever the change.
func TestReportsFollowTheShape(t *testing.T) {
	t.Parallel()
	app := smallApp(t)
	dsn := pgtest.Database(t)
	conn := pg(t, dsn)
	w := manual(t, app, Config{DSN: dsn})
	parent := addParent(t, app, "first")
	addKid(t, app, parent, "k@example.com")
	drain(t, w)
	const before = "origin data_as_of id name v kind tags meta seen ok is_stale" // no sealed column
	if got := viewColumns(t, conn, "parents"); got != before {
		t.Fatalf("columns: got %s, want %s", got, before)
	}
	// One step carries the change; upkeep has had no turn yet.
	for _, c := range []struct {
		what          string
		change        func(c *core.Collection)
		columns, show string
	}{
		{"add, also names that the view needs itself", func(c *core.Collection) {
			c.Fields.Add(&core.TextField{Name: "extra"}, &core.TextField{Name: "is_stale"}, &core.TextField{Name: "origin"})
		}, "name v kind tags meta seen ok extra", "name || '/' || extra"},
		{"swap", func(c *core.Collection) {
			name, extra := c.Fields.GetByName("name"), c.Fields.GetByName("extra")
			name.SetName("swap")
			extra.SetName("name")
			name.SetName("extra")
		}, "extra v kind tags meta seen ok name", "extra || '/' || name"},
		{"another type", func(c *core.Collection) { c.Fields.GetByName("kind").(*core.SelectField).MaxSelect = 2 },
			"extra v kind tags meta seen ok name", "kind ->> 0"},
		{"remove", func(c *core.Collection) { c.Fields.RemoveByName("meta") }, "extra v kind tags seen ok name", "extra"},
		{"rename the table", func(c *core.Collection) { c.Name = "elders" }, "extra v kind tags seen ok name", "extra"},
	} {
		name := "parents"
		change1(t, app, name, c.change)
		run(t, app, "UPDATE kids SET note = note || '.'")
		if _, err := w.step(deadline(t)); err != nil {
			t.Fatalf("%s: %v", c.what, err)
		}
		if c.what == "rename the table" {
			if got := viewColumns(t, conn, name); got != "" {
				t.Errorf("the view of the old name is still there: %s", got)
			}
			name = "elders"
		}
		if got, want := viewColumns(t, conn, name), "origin data_as_of id "+c.columns+" is_stale"; got != want {
			t.Errorf("%s: got columns %s, want %s", c.what, got, want)
		}
		drain(t, w) // a changed type is compared first
		show := one[string](t, conn, "SELECT "+c.show+" FROM fm_report."+name)
		if want := map[string]string{"add, also names that the view needs itself": "first/", "swap": "first/", "another type": "a"}[c.what]; want != "" && show != want {
			t.Errorf("%s: the view shows %q, want %q", c.what, show, want)
		}
	}
	want := []string{"elders.is_stale name", "elders.origin name", "elders.secret sealed"}
	if got := lines(t, conn, "SELECT collection || '.' || field || ' ' || reason FROM fm_report.coverage WHERE collection = 'elders' ORDER BY 1"); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("coverage: got %v, want %v", got, want)
	}
	c, err := app.FindCollectionByNameOrId("kids")
	if err != nil {
		t.Fatal(err)
	}
	if err := app.Delete(c); err != nil {
		t.Fatal(err)
	}
	drain(t, w)
	if got := viewColumns(t, conn, "kids"); got != "" {
		t.Errorf("a deleted collection has a view: %s", got)
	}
	mustEqual(t, app, dsn)
}

// Nothing is made anew when nothing has changed; what is lost or has another text is, and only that.
func TestReportsAreMadeOnce(t *testing.T) {
	t.Parallel()
	app := smallApp(t)
	dsn := pgtest.Database(t)
	conn := pg(t, dsn)
	addParent(t, app, "p")
	drain(t, manual(t, app, Config{DSN: dsn}))
	oids := func() map[string]string {
		m := map[string]string{}
		for _, line := range lines(t, conn, "SELECT c.relname || ' ' || c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'fm_report'") {
			name, oid, _ := strings.Cut(line, " ")
			m[name] = oid
		}
		return m
	}
	reconnect := func(what string, anew ...string) {
		t.Helper()
		before := oids()
		drain(t, manual(t, app, Config{DSN: dsn}))
		after := oids()
		var changed []string
		for _, name := range []string{"coverage", "freshness", "integrity_findings", "kids", "parents"} {
			if after[name] == "" {
				t.Errorf("%s: %s is not there", what, name)
			}
			if before[name] != after[name] {
				changed = append(changed, name)
			}
		}
		if fmt.Sprint(changed) != fmt.Sprint(anew) {
			t.Errorf("%s: made anew are %v, want %v", what, changed, anew)
		}
	}
	reconnect("nothing has changed")
	pgExec(t, conn, "DROP VIEW fm_report.kids")
	reconnect("dropped by hand", "kids")
	pgExec(t, conn, "UPDATE fm_sync.report SET print = 'of an earlier version' WHERE name = 'freshness'")
	reconnect("another text", "freshness")
	pgExec(t, conn, "CREATE VIEW fm_report.mine AS SELECT 1 AS one")
	pgExec(t, conn, "INSERT INTO fm_sync.report VALUES ('mine', '', '')")
	reconnect("a view of an earlier version goes")
	if got := viewColumns(t, conn, "mine"); got != "" {
		t.Errorf("a view that is not wanted any more stays: %s", got)
	}
	pgExec(t, conn, "DROP SCHEMA fm_report CASCADE")
	reconnect("all", "coverage", "freshness", "integrity_findings", "kids", "parents")

	// The last comparison of both sides shows.
	if got := one[bool](t, conn, "SELECT verified_equal IS NULL FROM fm_report.freshness"); !got {
		t.Error("there was no comparison, and one shows")
	}
	pgExec(t, conn, `INSERT INTO fm_sync.verify_run
		SELECT gen_random_uuid(), 1, 1, n, now() - (9 - n) * interval '1 day', n = 9, n / 3, 0, CASE n WHEN 9 THEN 0 ELSE 1 END, sha256('a'), sha256('a'), '[]' FROM unnest(ARRAY[7, 9]) n`)
	if got := one[string](t, conn, "SELECT verified_position || ' ' || verified_equal || ' ' || verified_rows FROM fm_report.freshness"); got != "9 true 3" {
		t.Errorf("the last comparison: got %s", got)
	}
}

// Views of tables that somebody's own schema lacks are left out and named; the mirror takes no notice.
func TestReportsOfAnotherSchemaAreLeftOut(t *testing.T) {
	t.Parallel()
	app := smallApp(t)
	dsn := pgtest.Database(t)
	conn := pg(t, dsn)
	addParent(t, app, "p")
	w := manual(t, app, Config{DSN: dsn})
	drain(t, w)
	mustEqual(t, app, dsn)
	out := lines(t, conn, "SELECT collection FROM fm_report.coverage WHERE reason = 'left out' AND note LIKE 'PostgreSQL 42P01%' ORDER BY 1")
	if len(out) != len(Reports())-3 || !strings.Contains(strings.Join(out, " "), "fm_report.open_defects") {
		t.Errorf("left out: got %v, want all of %d but three", out, len(Reports()))
	}
	if n := one[int](t, conn, "SELECT count(*)::int FROM fm_report.coverage WHERE reason = 'absent'"); n < 12 {
		t.Errorf("%d declared tables are named as absent", n)
	}
	if plan, err := planReports(deadline(t), conn); err != nil || !plan.empty() {
		t.Errorf("what cannot be made is tried again and again: %+v (%v)", plan, err)
	}
	// Once it can be made, it is.
	pgExec(t, conn, `CREATE TABLE fm_mirror.as1851_rules (_origin smallint, id uuid, rule_code text, version text, rule_name text, pack text,
		provenance text, is_active boolean, rule_sha256 text)`)
	pgExec(t, conn, `CREATE TABLE fm_mirror.classifications (_origin smallint, rule_id uuid, outcome text, created_at timestamptz, rule_sha256 text, rule_version text)`)
	drain(t, manual(t, app, Config{DSN: dsn}))
	if got := viewColumns(t, conn, "classifications_by_rule"); got == "" {
		t.Error("a view whose tables have come is not made")
	}
}

// A reader in the middle of a long query of one view holds up no change of another table, and one of the table's own view
// makes the change give way, as before there were views.
func TestReportsHoldNothingUp(t *testing.T) {
	t.Parallel()
	app := smallApp(t)
	dsn := pgtest.Database(t)
	conn, reader := pg(t, dsn), pg(t, dsn)
	addKid(t, app, addParent(t, app, "p"), "k")
	w := manual(t, app, Config{DSN: dsn})
	drain(t, w)
	read := func(view string) (end func()) {
		pgExec(t, reader, "BEGIN; SELECT * FROM fm_report."+view)
		return func() { pgExec(t, reader, "COMMIT") }
	}
	addField := func(name string) {
		change1(t, app, "parents", func(c *core.Collection) { c.Fields.Add(&core.TextField{Name: name}) })
	}
	end := read("kids")
	addField("one")
	drain(t, w) // whoever waited for the reader would meet the lock timeout
	if got := viewColumns(t, conn, "parents"); !strings.HasSuffix(got, " one is_stale") {
		t.Errorf("while another view is read, this one has %s", got)
	}
	end()

	end = read("parents")
	addField("two")
	_, err := w.step(deadline(t))
	if classify(err) != classTransient {
		t.Errorf("a reader of the table itself: got %v, want a lock timeout", err)
	}
	w.disconnect(deadline(t))
	if got := viewColumns(t, conn, "parents"); !strings.HasSuffix(got, " one is_stale") {
		t.Errorf("meanwhile the view has %s", got)
	}
	end()
	drain(t, w)

	// A view that is in use cannot be made anew, and stands in the way of others. Rows go on; what reads the changed table is
	// away rather than wrong until then.
	end = read("freshness")
	pgExec(t, conn, "UPDATE fm_sync.report SET print = '' WHERE name = 'freshness'")
	w.ses.reportsDue = true
	addField("three")
	drain(t, w)
	mustEqual(t, app, dsn)
	if !w.ses.reportsDue || w.ses.reportsAt.IsZero() {
		t.Error("reports that could not be made are not tried again")
	}
	if got := viewColumns(t, conn, "parents"); got != "" {
		t.Errorf("meanwhile the view has %s, want none", got)
	}
	end()
	w.ses.reportsAt = time.Time{}
	drain(t, w)
	if got := viewColumns(t, conn, "parents"); !strings.HasSuffix(got, " two three is_stale") {
		t.Errorf("afterwards the view has %s", got)
	}
	if plan, err := planReports(deadline(t), conn); err != nil || !plan.empty() {
		t.Errorf("afterwards the reports are not all there: %+v (%v)", plan, err)
	}
}

// Rows as they were: from the table and from its history, which may lack newer columns.
func TestReportsAsOf(t *testing.T) {
	t.Parallel()
	app := smallApp(t)
	dsn := pgtest.Database(t)
	conn := pg(t, dsn)
	parent := addParent(t, app, "new")
	gone := newID(t)
	drain(t, manual(t, app, Config{DSN: dsn}))
	pgExec(t, conn, `CREATE SCHEMA IF NOT EXISTS fm_hist`)
	pgExec(t, conn, `CREATE TABLE IF NOT EXISTS fm_hist.parents (_origin smallint, id uuid, _ver bigint, _ver_to bigint, _op smallint, _valid tstzrange,
		name text, v numeric, kind text, tags jsonb, seen timestamptz, ok boolean, secret text)`)
	pgExec(t, conn, `UPDATE fm_mirror.parents SET _at = '2025-03-01Z'`)
	insert := `INSERT INTO fm_hist.parents (_origin, id, _ver, _ver_to, _op, _valid, name, tags) VALUES (1, $1, $2::bigint, $2::bigint + 1, 2, $3::text::tstzrange, $4, '[]')`
	pgExec(t, conn, insert, parent, 1, "[2025-01-01Z,2025-02-01Z)", "oldest")
	pgExec(t, conn, insert, parent, 2, "[2025-02-01Z,2025-03-01Z)", "old")
	pgExec(t, conn, insert, gone, 1, "[2025-01-15Z,2025-02-15Z)", "gone")
	drain(t, manual(t, app, Config{DSN: dsn}))
	for at, want := range map[string]string{
		"2024-12-31Z": "", "2025-01-01Z": "oldest", "2025-01-31Z": "gone oldest", "2025-02-01Z": "gone old",
		"2025-02-20Z": "old", "2025-03-01Z": "new", "2099-01-01Z": "new",
	} {
		got := strings.Join(lines(t, conn, "SELECT name FROM fm_report.parents_as_of($1::text::timestamptz) WHERE origin = 1 AND data_as_of > '2025-01-01' ORDER BY 1", at), " ")
		if got != want {
			t.Errorf("as of %s: got %q, want %q", at, got, want)
		}
	}
	if got := one[string](t, conn, "SELECT string_agg(coalesce(meta::text, 'none'), ' ' ORDER BY name) FROM fm_report.parents_as_of('2025-01-31Z')"); got != "none none" {
		t.Errorf("a column that the history lacks: got %s", got)
	}
	const overlaps = "SELECT count(*)::int FROM fm_report.integrity_findings WHERE kind = 'overlap' AND record_id = $1 AND collection = 'parents'"
	if n := one[int](t, conn, overlaps, parent); n != 0 {
		t.Errorf("%d overlaps, want none", n)
	}
	pgExec(t, conn, insert, parent, 3, "[2025-02-28Z,2025-03-02Z)", "twice")
	if n := one[int](t, conn, overlaps, parent); n != 1 {
		t.Errorf("%d overlaps, want the one made by hand", n)
	}
	// The table changes its shape under the function's feet.
	w := manual(t, app, Config{DSN: dsn})
	change1(t, app, "parents", func(c *core.Collection) { c.Fields.GetByName("name").SetName("title") })
	run(t, app, "UPDATE parents SET v = 2 WHERE id = {:id}", dbx.Params{"id": parent})
	drain(t, w)
	if got := one[string](t, conn, "SELECT title FROM fm_report.parents_as_of('2099-01-01Z')"); got != "new" {
		t.Errorf("after a rename: got %s", got)
	}
}
