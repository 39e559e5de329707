package pgsync

import (
	"strings"
	"testing"
	"time"

	"firemode/internal/pgtest"
)

// A role that owns the three schemas needs nothing else: it may not even create schemas in the database.
func TestMirrorRoleNeedsOnlyItsSchemas(t *testing.T) {
	t.Parallel()
	app := smallApp(t)
	server := pgtest.NewServer(t)
	admin := pg(t, server.URL("postgres"))
	pgExec(t, admin, "CREATE ROLE fm_sync LOGIN")
	pgExec(t, admin, "REVOKE CREATE ON DATABASE postgres FROM PUBLIC")
	dsn := strings.Replace(server.DSN("postgres"), "user=postgres", "user=fm_sync", 1)

	addKid(t, app, addParent(t, app, "p"), "k")
	w := started(t, app, Config{DSN: dsn, HoldRetry: 20 * time.Millisecond})
	eventually(t, "the worker holds for lack of rights", func() bool {
		st := w.Status()
		return st.State == StateHeld && strings.Contains(st.LastError, "42501")
	})
	pgExec(t, admin, "CREATE SCHEMA fm_sync AUTHORIZATION fm_sync")
	pgExec(t, admin, "CREATE SCHEMA fm_mirror AUTHORIZATION fm_sync")
	pgExec(t, admin, "CREATE SCHEMA fm_hist AUTHORIZATION fm_sync")
	if err := w.WaitMirrored(deadline(t), logEnd(t, app)); err != nil {
		t.Fatalf("%v; status %+v", err, w.Status())
	}
	mustEqual(t, app, dsn)
	if st := w.Status(); st.AppliedEntries != logEnd(t, app) || st.Failures == 0 {
		t.Errorf("status = %+v, want every entry counted and the interruptions too", st)
	}

	// A restart knows about where it was before it reaches PostgreSQL.
	w.Stop()
	server.Kill()
	again := started(t, app, Config{DSN: dsn, BackoffMax: 20 * time.Millisecond})
	addParent(t, app, "q")
	eventually(t, "the failure shows, with a backlog of one", func() bool {
		st := again.Status()
		return st.Failures > 0 && st.BacklogEntries == 1 && st.LagSeconds > 0
	})
}
