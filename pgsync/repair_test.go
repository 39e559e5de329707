package pgsync

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"firemode/internal/pgtest"

	"github.com/pocketbase/dbx"
)

// A table that was changed, or emptied, behind the mirror's back is equal again after a
// reconciliation, and a quarantined row comes in once the reason is gone.
func TestReconcileRepairs(t *testing.T) {
	t.Parallel()
	app := smallApp(t)
	dsn := pgtest.Database(t)
	w := manual(t, app, Config{DSN: dsn})
	conn := pg(t, dsn)
	parent := addParent(t, app, "p")
	addKid(t, app, parent, newID(t))
	drain(t, w)
	for name, c := range map[string]struct {
		damage string
		tables []string
	}{
		"a value":     {"UPDATE fm_mirror.parents SET name = 'x'", []string{"parents"}},
		"a table":     {"DELETE FROM fm_mirror.kids", []string{"kids"}},
		"all of them": {"TRUNCATE fm_mirror.parents, fm_mirror.kids", nil},
	} {
		pgExec(t, conn, c.damage)
		drain(t, w)
		if r, err := Verify(deadline(t), app, dsn); err != nil || r.Equal {
			t.Fatalf("%s: the damage is not seen (%v)", name, err)
		}
		tables, end, err := Reconcile(app, small, c.tables...)
		if err != nil || end != logEnd(t, app) || len(c.tables) > 0 && fmt.Sprint(tables) != fmt.Sprint(c.tables) || len(tables) == 0 {
			t.Fatalf("%s: got %v at %d (%v)", name, tables, end, err)
		}
		drain(t, w)
		mustEqual(t, app, dsn)
	}
	if _, _, err := Reconcile(app, small, "parents", "_superusers"); err == nil || !strings.Contains(err.Error(), "mirrored are parents, kids") {
		t.Errorf("a table that is not mirrored: got %v", err)
	}

	run(t, app, "UPDATE parents SET kind = 'c' WHERE id = {:id}", dbx.Params{"id": parent})
	drain(t, w)
	list, err := Quarantine(deadline(t), app, dsn)
	if err != nil || len(list) != 1 || list[0].Table != "parents" || list[0].ID != parent || list[0].SQLState != "23514" || list[0].Tries == 0 || list[0].FirstAt.IsZero() {
		t.Fatalf("quarantine: got %+v (%v), want the parent", list, err)
	}
	// The reason goes without the row changing.
	pgExec(t, conn, fmt.Sprintf("ALTER TABLE fm_mirror.parents DROP CONSTRAINT %q", list[0].Constraint))
	if _, _, err := Reconcile(app, small, "parents"); err != nil {
		t.Fatal(err)
	}
	drain(t, w)
	if list, err := Quarantine(deadline(t), app, dsn); err != nil || len(list) != 0 {
		t.Errorf("afterwards: got %+v (%v), want none", list, err)
	}
}

// Each thing that can be wrong is named, with what to do, and shows no password; a healthy
// mirror has nothing to name.
func TestExamine(t *testing.T) {
	t.Parallel()
	app := smallApp(t)
	server := pgtest.NewServer(t)
	admin := pg(t, server.URL("postgres"))
	pgExec(t, admin, "CREATE ROLE reader LOGIN PASSWORD 'topsecret'")
	pgExec(t, admin, "REVOKE CREATE ON DATABASE postgres FROM PUBLIC")
	pgExec(t, admin, "CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
	dsn := server.DSN("postgres")
	failing := func(ctx context.Context, dsn string) (names []string) {
		for _, c := range Examine(ctx, app, dsn) {
			if strings.Contains(c.Detail+c.Advice, "topsecret") {
				t.Errorf("%s shows the password: %+v", c.Name, c)
			}
			if c.Detail == "" || !c.OK && c.Advice == "" {
				t.Errorf("%s says too little: %+v", c.Name, c)
			}
			if !c.OK {
				names = append(names, c.Name)
			}
		}
		return names
	}
	expect := func(what, dsn, want string) {
		t.Helper()
		if got := fmt.Sprint(failing(deadline(t), dsn)); got != want {
			t.Errorf("%s: got %s, want %s", what, got, want)
		}
	}
	asReader := strings.Replace(dsn, "user=postgres", "user=reader password=topsecret", 1)
	expect("nothing there yet", dsn, "[worker]")
	expect("no address", "postgres://reader:topsecret@/%zz", "[address]")
	expect("nobody listens", "host=127.0.0.1 port=1 user=x password=topsecret dbname=x", "[connection]")
	expect("no rights", asReader, "[rights worker]")
	expect("read only", dsn+" default_transaction_read_only=on", "[connection]")
	expect("another encoding", server.DSN("latin"), "[encoding worker]")

	addParent(t, app, "p")
	w := started(t, app, Config{DSN: dsn})
	if err := w.WaitMirrored(deadline(t), logEnd(t, app)); err != nil {
		t.Fatal(err)
	}
	expect("its schemas are another's", asReader, "[rights worker]")
	eventually(t, "the views are there", func() bool { return fmt.Sprint(failing(deadline(t), dsn)) == "[]" })
	pgExec(t, admin, "CREATE ROLE fm_report")
	expect("views that their readers may not use", dsn, "[reports]")
	pgExec(t, admin, "GRANT USAGE ON SCHEMA fm_report TO fm_report; GRANT SELECT ON ALL TABLES IN SCHEMA fm_report TO fm_report; GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA fm_report TO fm_report")
	expect("views that they may", dsn, "[]")
	pgExec(t, admin, "DROP VIEW fm_report.freshness")
	expect("a view is gone", dsn, "[reports]")
	pgExec(t, admin, "DROP SCHEMA fm_report CASCADE")
	expect("all are gone", dsn, "[reports]")
	w.Stop()
	w = started(t, app, Config{DSN: dsn})
	eventually(t, "the views are there again", func() bool { return fmt.Sprint(failing(deadline(t), dsn)) == "[]" })
	run(t, app, "UPDATE parents SET kind = 'c'")
	if err := w.WaitMirrored(deadline(t), logEnd(t, app)); err != nil {
		t.Fatal(err)
	}
	expect("a row that is refused", dsn, "[quarantine]")
	w.Stop()
	expect("nobody feeds it", dsn, "[worker quarantine]")
	run(t, app, "DELETE FROM _pgsync_log")
	run(t, app, "DELETE FROM sqlite_sequence WHERE name = '_pgsync_log'")
	expect("another past", dsn, "[worker quarantine]")
}
