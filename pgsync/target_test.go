package pgsync

import (
	"strings"
	"testing"
	"time"

	"firemode/internal/pgtest"

	"github.com/pocketbase/pocketbase/core"
)

// Whatever is wrong with the target, the worker says what and what to do, loses nothing, and goes on by itself when it is
// put right.
func TestBadTargets(t *testing.T) {
	t.Parallel()
	server := pgtest.NewServer(t)
	admin := pg(t, server.URL("postgres"))
	pgExec(t, admin, "CREATE ROLE powerless LOGIN")
	pgExec(t, admin, "CREATE ROLE barred NOLOGIN")
	const others = "CREATE SCHEMA fm_sync; CREATE TABLE fm_sync.migration (version integer PRIMARY KEY, name text NOT NULL, sha256 text NOT NULL, at timestamptz)"
	for name, tc := range map[string]struct {
		options string   // instead of those of the server, in the address
		spoil   string   // run in the new database
		state   State    // what the worker is in then
		says    []string // in what is wrong and in the next step
		mend    string
	}{
		"no such role":     {options: "user=nobody_knows", state: StateHeld, says: []string{"28000", "mirror doctor"}},
		"a role barred":    {options: "user=barred", state: StateHeld, says: []string{"28000", "mirror doctor"}},
		"no such database": {options: "dbname=missing", state: StateHeld, says: []string{"3D000", "mirror doctor"}},
		"no rights": {options: "user=powerless", spoil: "REVOKE CREATE ON DATABASE %db FROM PUBLIC", state: StateHeld,
			says: []string{"42501", "mirror doctor"}, mend: "GRANT CREATE ON DATABASE %db TO powerless"},
		"read only": {spoil: "ALTER DATABASE %db SET default_transaction_read_only = on", state: StateConnecting,
			says: []string{"read only", "takes writes"}, mend: "ALTER DATABASE %db SET default_transaction_read_only = off"},
		"an option that PostgreSQL does not know": {options: "nonsense=1", state: StateHeld, says: []string{"nonsense", "DATABASE_URL"}},
		"schemas of another program": {spoil: others + "; INSERT INTO fm_sync.migration VALUES (1, 'x', 'y')", state: StateHeld,
			says: []string{"control", "another database"}, mend: "DROP SCHEMA fm_sync CASCADE"},
		"made by a newer version": {spoil: others + "; INSERT INTO fm_sync.migration SELECT i, 'x', 'y' FROM generate_series(1, 1000) i", state: StateHeld,
			says: []string{"newer", "newer FireMode"}, mend: "DROP SCHEMA fm_sync CASCADE"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			app := smallApp(t)
			addParent(t, app, "p")
			db := "fm_" + strings.ReplaceAll(newID(t), "-", "")
			pgExec(t, pg(t, server.DSN("postgres")), "CREATE DATABASE "+db)
			if tc.spoil != "" {
				for _, statement := range strings.Split(tc.spoil, "; ") {
					pgExec(t, pg(t, server.DSN(db)), strings.ReplaceAll(statement, "%db", db))
				}
			}
			w := started(t, app, Config{DSN: server.DSN(db) + " " + tc.options, HoldRetry: 20 * time.Millisecond, BackoffMax: 20 * time.Millisecond})
			eventually(t, "the worker says what is wrong", func() bool {
				st := w.Status()
				return st.State == tc.state && strings.Contains(st.LastError, tc.says[0]) && strings.Contains(st.NextStep, tc.says[1])
			})
			if st := w.Status(); strings.Contains(st.LastError+st.NextStep, "\n") {
				t.Errorf("more than one line: %+v", st)
			}
			addParent(t, app, "written meanwhile")
			if tc.mend == "" {
				return
			}
			mended := server.DSN("postgres")
			if !strings.Contains(tc.mend, "DATABASE") {
				mended = server.DSN(db)
			}
			pgExec(t, pg(t, mended), strings.ReplaceAll(tc.mend, "%db", db))
			mustEqual(t, app, server.DSN(db))
		})
	}
}

// A full disk of PostgreSQL is waited for: nothing is quarantined or skipped.
func TestFullDiskOfPostgres(t *testing.T) {
	t.Parallel()
	app := smallApp(t)
	dsn := pgtest.Database(t)
	w := started(t, app, Config{DSN: dsn, BackoffMax: 20 * time.Millisecond, HoldRetry: 20 * time.Millisecond})
	parent := addParent(t, app, "p")
	mustEqual(t, app, dsn)
	conn := pg(t, dsn)
	pgExec(t, conn, `CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
		RAISE 'could not extend file' USING ERRCODE = 'disk_full'; END $$`)
	pgExec(t, conn, "CREATE TRIGGER full_disk BEFORE INSERT ON fm_mirror.kids FOR EACH ROW EXECUTE FUNCTION full_disk()")
	err := app.RunInTransaction(func(tx core.App) error {
		addKid(t, tx, parent, "a")
		addKid(t, tx, parent, "b")
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the worker tries again", func() bool { return w.Status().FailuresBy["transient"] > 2 })
	if st := w.Status(); st.State != StateConnecting || !strings.Contains(st.LastError, "53100") || st.QuarantineRows != 0 {
		t.Errorf("status %+v, want connecting with 53100 and an empty quarantine", st)
	}
	pgExec(t, conn, "DROP TRIGGER full_disk ON fm_mirror.kids")
	mustEqual(t, app, dsn)
	journalEqualsLog(t, app, conn)
}
