package pgsync

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"firemode/internal/pgtest"
	"firemode/internal/sqlite"

	"github.com/pocketbase/dbx"
	"github.com/pocketbase/pocketbase/core"
	"github.com/pocketbase/pocketbase/tests"
)

// restored is an app on a copy of another one's database, as after a restored backup.
func restored(t *testing.T, from string) core.App {
	t.Helper()
	app, err := tests.NewTestAppWithConfig(core.BaseAppConfig{DataDir: from, DBConnect: sqlite.Connect})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(app.Cleanup)
	return app
}

// A restored backup is a fork: the mirror holds until an operator says that this is the source now, and is then equal.
func TestAdoptARestoredBackup(t *testing.T) {
	t.Parallel()
	app := smallApp(t)
	dsn := pgtest.Database(t)
	parent := addParent(t, app, "kept")
	kid := addKid(t, app, parent, "k")
	backup := t.TempDir()
	run(t, app, "VACUUM INTO {:to}", dbx.Params{"to": filepath.Join(backup, "data.db")})
	addParent(t, app, "lost")
	run(t, app, "UPDATE kids SET note='lost'")
	change1(t, app, "kids", func(c *core.Collection) { c.Fields.Add(&core.TextField{Name: "lost"}) })
	w := manual(t, app, Config{DSN: dsn})
	drain(t, w)
	mustEqual(t, app, dsn)
	w.ses.resign(deadline(t))
	w.disconnect(deadline(t))

	old := restored(t, backup)
	live := started(t, old, Config{DSN: dsn, HoldRetry: 10 * time.Millisecond})
	eventually(t, "the worker holds", func() bool { return live.Status().State == StateHeld })
	run(t, old, "DELETE FROM kids WHERE id={:id}", dbx.Params{"id": kid})
	addParent(t, old, "after the restore")
	if err := Adopt(deadline(t), old, dsn); err != nil {
		t.Fatal(err)
	}
	r := mustEqual(t, old, dsn)
	if r.Epoch != 2 || rowsOf(t, r, "parents") != 2 || rowsOf(t, r, "kids") != 0 {
		t.Errorf("after adoption: %+v", r)
	}
	addParent(t, old, "goes on")
	if err := live.WaitMirrored(deadline(t), logEnd(t, old)); err != nil {
		t.Fatalf("%v; %+v", err, live.Status())
	}
	mustEqual(t, old, dsn)

	// The database that was replaced is the fork now.
	again := manual(t, app, Config{DSN: dsn})
	live.Stop()
	if _, err := again.step(deadline(t)); heldReason(err) != "fork" {
		t.Errorf("the replaced database: %v, want held(fork)", err)
	}
	if _, err := os.Stat(filepath.Join(backup, "data.db")); err != nil {
		t.Error(err)
	}
}

// An operator may drop the control schema, the mirror's schema or both; the mirror builds itself anew.
func TestDroppedSchemasAreRebuilt(t *testing.T) {
	t.Parallel()
	app := smallApp(t)
	dsn := pgtest.Database(t)
	w := started(t, app, Config{DSN: dsn, BackoffMax: 20 * time.Millisecond, HoldRetry: 20 * time.Millisecond})
	conn := pg(t, dsn)
	for _, damage := range []string{"fm_sync", "fm_mirror", "fm_sync, fm_mirror"} {
		parent := addParent(t, app, damage)
		addKid(t, app, parent, newID(t))
		mustEqual(t, app, dsn)
		eventually(t, "the mirror is live", func() bool { return w.Status().State == StateLive })
		pgExec(t, conn, "INSERT INTO fm_mirror.kids (_origin,id,_ver,_at,_hash,note) VALUES (1,gen_random_uuid(),1::bigint<<60,now(),'','foreign')")
		pgExec(t, conn, "DROP SCHEMA "+damage+" CASCADE")
		addKid(t, app, parent, newID(t))
		mustEqual(t, app, dsn)
	}
}
