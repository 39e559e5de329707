package pgsync

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"firemode/internal/pgtest"
	"firemode/internal/testapp"

	"github.com/pocketbase/dbx"
	"github.com/pocketbase/pocketbase/core"
)

// Rows that are older than the log, or than what is left of it, arrive by comparison; so do deletes nobody logged.
func TestSnapshotWithoutLog(t *testing.T) {
	t.Parallel()
	app := testapp.New(t)
	if err := addCollections(app); err != nil { // before Register and Arm: nothing is captured
		t.Fatal(err)
	}
	var parents []string
	for i := range 2*chunkMaxRows/100 + 5 {
		parents = append(parents, addParent(t, app, fmt.Sprint("p", i)))
	}
	run(t, app, "INSERT INTO kids (id,parent,email) VALUES ({:id},'0192f0c1-2b3c-7d4e-8f50-616263646566','')", dbx.Params{"id": newID(t)})
	for _, p := range parents {
		addKid(t, app, p, "")
	}
	Register(app, small)
	if err := Arm(app, small); err != nil {
		t.Fatal(err)
	}
	dsn := pgtest.Database(t)
	drain(t, manual(t, app, Config{DSN: dsn}))
	r := mustEqual(t, app, dsn)
	if got, want := rowsOf(t, r, "parents"), int64(len(parents)); got != want {
		t.Errorf("parents = %d, want %d", got, want)
	}
	conn := pg(t, dsn)
	if got := one[int](t, conn, "SELECT count(*)::int FROM fm_sync.quarantine WHERE sqlstate='23503'"); got != 1 {
		t.Errorf("%d dangling rows in quarantine, want 1", got)
	}

	// Another mirror meets a log whose beginning is gone.
	run(t, app, "DELETE FROM _pgsync_log WHERE seq < (SELECT max(seq) FROM _pgsync_log)")
	second := pgtest.Database(t)
	w := manual(t, app, Config{DSN: second})
	if more, err := w.step(deadline(t)); err != nil || !more || w.Status().State != StateResync {
		t.Fatalf("first step: %v, %v, %s; want resync", more, err, w.Status().State)
	}
	addParent(t, app, "meanwhile")
	run(t, app, "DELETE FROM parents WHERE id={:id}", dbx.Params{"id": newestParent(t, app)})
	drain(t, w)
	mustEqual(t, app, second)

	// Triggers were lost and rows changed behind them: Arm notices and has everything compared.
	for _, name := range triggerNames(mustCollection(t, app, "kids").Id) {
		run(t, app, "DROP TRIGGER IF EXISTS `"+name+"`")
	}
	run(t, app, "DELETE FROM kids WHERE rowid % 3 = 0")
	run(t, app, "UPDATE kids SET note='silent' WHERE rowid % 3 = 1")
	if err := Arm(app, small); err != nil {
		t.Fatal(err)
	}
	drain(t, w)
	mustEqual(t, app, second)
}

func newestParent(t *testing.T, app core.App) string {
	t.Helper()
	var id string
	if err := app.DB().NewQuery("SELECT id FROM parents ORDER BY id DESC LIMIT 1").Row(&id); err != nil {
		t.Fatal(err)
	}
	return id
}

func TestComparisonRunsInPieces(t *testing.T) {
	t.Parallel()
	app := smallApp(t)
	dsn := pgtest.Database(t)
	const rows = 2*chunkMaxRows + 10
	err := app.RunInTransaction(func(tx core.App) error {
		for i := range rows {
			run(t, tx, "INSERT INTO kids (id,parent,email,note) VALUES ({:id},'','',{:n})", dbx.Params{"id": newID(t), "n": fmt.Sprint(i)})
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	w := manual(t, app, Config{DSN: dsn})
	drain(t, w) // one source transaction above every limit: applied in pieces, committed as one
	conn := pg(t, dsn)
	if got := one[int](t, conn, "SELECT batches::int FROM fm_sync.origin"); got > 3 {
		t.Errorf("%d batches, want the transaction in one", got)
	}
	mustEqual(t, app, dsn)

	kids := mustCollection(t, app, "kids").Id
	pgExec(t, conn, "DELETE FROM fm_mirror.kids WHERE note LIKE '%7'")
	pgExec(t, conn, "UPDATE fm_mirror.kids SET note='x', _hash='' WHERE note LIKE '%3'")
	pgExec(t, conn, "INSERT INTO fm_mirror.kids (_origin,id,_ver,_at,_hash,note) SELECT 1, gen_random_uuid(), 1, now(), '', 'foreign' FROM generate_series(1,50)")
	pgExec(t, conn, "UPDATE fm_sync.collection SET resync='' WHERE coll=$1", kids)
	w.disconnect(context.Background())
	w.wasFenced = false
	if _, err := w.step(deadline(t)); err != nil { // connects
		t.Fatal(err)
	}
	run(t, app, "UPDATE kids SET note='behind' WHERE rowid % 50 = 0")
	if err := w.ses.reconcile(deadline(t), w.src, kids); err != nil {
		t.Fatal(err)
	}
	if got := w.ses.pos.Seq; got != logEnd(t, app) {
		t.Errorf("rows were compared at %d while they were read at %d", got, logEnd(t, app))
	}
	steps := 0
	for {
		more, err := w.step(deadline(t))
		if err != nil {
			t.Fatal(err)
		}
		if steps++; !more {
			break
		}
		if w.ses.reg.nextResync() != "" { // the application goes on writing meanwhile
			run(t, app, "UPDATE kids SET note=note||'!' WHERE rowid % 100 = {:n}", dbx.Params{"n": steps})
		}
	}
	if steps < 3 {
		t.Errorf("%d steps, want the comparison in at least 3 pieces", steps+1)
	}
	mustEqual(t, app, dsn)
}

func TestForksAndGapsAreHeld(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, damage, reason string }{
		{"another entry at the position", "UPDATE _pgsync_log SET nonce=nonce+1 WHERE seq=(SELECT max(seq) FROM _pgsync_log)", "fork"},
		{"another log, shorter than the mirror", "UPDATE _pgsync_log SET at=at+1; DELETE FROM _pgsync_log WHERE seq > (SELECT max(seq)-3 FROM _pgsync_log)", "fork"},
		{"entries are missing", "DELETE FROM _pgsync_log; INSERT INTO _pgsync_log (coll,pk,op,at,nonce) VALUES ('x','',6,0,1),('x','',6,0,1)", "gap"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			app := smallApp(t)
			dsn := pgtest.Database(t)
			parent := addParent(t, app, "p")
			for range 5 {
				addKid(t, app, parent, "")
			}
			w := manual(t, app, Config{DSN: dsn})
			drain(t, w)
			conn := pg(t, dsn)
			before := one[int64](t, conn, "SELECT seq FROM fm_sync.origin")
			for _, q := range strings.Split(tc.damage, "; ") {
				run(t, app, q)
			}
			for range 2 { // on the open connection, and on the next one
				_, err := w.step(deadline(t))
				if got := heldReason(err); got != tc.reason {
					t.Fatalf("step: %s, want held(%s)", got, tc.reason)
				}
				w.disconnect(deadline(t))
			}
			st, err := ReadStatus(deadline(t), app, dsn)
			if err != nil || st.State != StateHeld || !strings.Contains(st.LastError, tc.reason) {
				t.Errorf("status = %+v, %v, want held(%s)", st, err, tc.reason)
			}
			live := started(t, app, Config{DSN: dsn, HoldRetry: time.Millisecond})
			eventually(t, "the worker holds", func() bool { return live.Status().State == StateHeld })
			live.Stop()
			if got := one[int64](t, conn, "SELECT seq FROM fm_sync.origin"); got != before {
				t.Errorf("position moved from %d to %d", before, got)
			}
		})
	}
}

// PostgreSQL may be absent for as long as it likes; writes do not notice, and the backlog is cut where transactions end.
func TestPostgresAbsentAtFirst(t *testing.T) {
	t.Parallel()
	app := smallApp(t)
	server := pgtest.NewServer(t)
	server.Kill()
	dsn := server.URL("postgres")
	w := started(t, app, Config{DSN: dsn, BackoffMax: 10 * time.Second, Poll: time.Millisecond})
	parent := addParent(t, app, "p")
	addKid(t, app, parent, "")
	eventually(t, "a cut is recorded", func() bool {
		var n int
		return app.DB().NewQuery("SELECT count(*) FROM _pgsync_cut").Row(&n) == nil && n > 0
	})
	st := w.Status()
	if st.State != StateConnecting || st.BacklogEntries == 0 || st.LagSeconds <= 0 || st.LastError == "" || st.Ready() {
		t.Errorf("status without PostgreSQL = %+v", st)
	}
	addKid(t, app, parent, "")
	offline, err := ReadStatus(deadline(t), app, dsn)
	if err != nil || offline.State != StateConnecting || offline.LastError == "" {
		t.Errorf("status of the command line = %+v, %v", offline, err)
	}
	if err := server.Up(deadline(t)); err != nil {
		t.Fatal(err)
	}
	if err := w.WaitMirrored(deadline(t), logEnd(t, app)); err != nil {
		t.Fatal(err)
	}
	mustEqual(t, app, dsn)
	eventually(t, "the worker is healthy", func() bool { return w.Status().Ready() && w.Status().LastError == "" })
	st, err = ReadStatus(deadline(t), app, dsn)
	if err != nil || st.State != StateLive || st.BacklogEntries != 0 || st.Position != logEnd(t, app) {
		t.Errorf("status = %+v, %v, want live without backlog", st, err)
	}
}

func TestBatchesEndAtRecordedCuts(t *testing.T) {
	t.Parallel()
	app := smallApp(t)
	run(t, app, "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<9000) INSERT INTO _pgsync_log (coll,pk,op,at,nonce) SELECT 'x','',6,0,i FROM n")
	w := manual(t, app, Config{DSN: "host=/nonexistent"})
	last := logEnd(t, app)
	for _, tc := range []struct {
		cuts []int64
		want int64
	}{
		{nil, last},
		{[]int64{500, 1500, 2500}, 1500},
		{[]int64{4000, 6000}, 4000}, // the first transaction alone is above the limit
	} {
		run(t, app, "DELETE FROM _pgsync_cut")
		for _, c := range tc.cuts {
			run(t, app, "INSERT INTO _pgsync_cut (seq,at) VALUES ({:s},0)", dbx.Params{"s": c})
		}
		if got, err := w.src.cut(deadline(t), 100, last); err != nil || got != tc.want {
			t.Errorf("cuts %v: batch ends at %d, %v, want %d", tc.cuts, got, err, tc.want)
		}
	}
}

func TestPruningKeepsTheAnchorAndYoungEntries(t *testing.T) {
	t.Parallel()
	app := smallApp(t)
	dsn := pgtest.Database(t)
	parent := addParent(t, app, "p")
	w := manual(t, app, Config{DSN: dsn, KeepLog: time.Hour})
	drain(t, w)
	position := w.ses.pos.Seq
	run(t, app, "UPDATE _pgsync_log SET at=at-7200000")
	addKid(t, app, parent, "")
	if err := w.prune(deadline(t)); err != nil {
		t.Fatal(err)
	}
	var first int64
	if err := app.DB().NewQuery("SELECT min(seq) FROM _pgsync_log").Row(&first); err != nil || first != position {
		t.Errorf("log starts at %d, %v, want the anchor %d", first, err, position)
	}
	addKid(t, app, parent, "")
	drain(t, w)
	mustEqual(t, app, dsn)
	if err := w.prune(deadline(t)); err != nil {
		t.Fatal(err)
	}
	if err := app.DB().NewQuery("SELECT min(seq) FROM _pgsync_log").Row(&first); err != nil || first != position+1 {
		t.Errorf("log starts at %d, %v, want the young entry %d, which is mirrored", first, err, position+1)
	}
	if end := logEnd(t, app); end != position+2 {
		t.Errorf("the log ends at %d, want %d", end, position+2)
	}
}

func TestWorkerLifecycle(t *testing.T) {
	t.Parallel()
	app := smallApp(t)
	dsn := pgtest.Database(t)
	var off *Worker
	if st := off.Status(); st.State != StateOff || !st.Ready() {
		t.Errorf("status of no worker = %+v", st)
	}
	for i := range 10 {
		w, err := New(app, Config{DSN: dsn, Poll: time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() { _ = w.Start(context.Background()) }) // a start after the stop is an error
			wg.Go(func() { w.Nudge(); w.Status() })
			wg.Go(w.Stop)
		}
		if i%2 == 0 {
			addParent(t, app, "p")
		}
		wg.Wait()
		w.Stop()
		if w.Start(context.Background()) == nil {
			t.Error("a stopped worker started again")
		}
	}
	w, err := New(app, Config{DSN: dsn})
	if err != nil {
		t.Fatal(err)
	}
	w.Stop()
	ctx, cancel := context.WithCancel(context.Background())
	last := started(t, app, Config{DSN: dsn})
	cancel()
	if err := last.WaitMirrored(ctx, logEnd(t, app)+1); !errors.Is(err, context.Canceled) {
		t.Errorf("wait: %v, want cancelled", err)
	}
	if err := last.WaitMirrored(deadline(t), logEnd(t, app)); err != nil {
		t.Error(err)
	}
	last.Stop()
	if st := last.Status(); st.State != StateStopped {
		t.Errorf("state = %s, want stopped", st.State)
	}
	mustEqual(t, app, dsn)
}

// An app whose database was never armed is told so, not mirrored by guess.
func TestUnarmedDatabaseIsHeld(t *testing.T) {
	t.Parallel()
	app := testapp.New(t)
	w := manual(t, app, Config{DSN: pgtest.Database(t)})
	if _, err := w.step(deadline(t)); heldReason(err) != "unarmed" {
		t.Errorf("step: %v, want held(unarmed)", err)
	}
	if _, err := os.Stat(filepath.Join(app.DataDir(), "data.db")); err != nil {
		t.Error(err)
	}
}
