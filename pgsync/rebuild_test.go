package pgsync

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"firemode/internal/pgtest"

	"github.com/jackc/pgx/v5"
	"github.com/pocketbase/dbx"
	"github.com/pocketbase/pocketbase/core"
)

// writing adds, changes and deletes rows until stop is called.
func writing(t *testing.T, app core.App) (stop func()) {
	t.Helper()
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; ; i++ {
			select {
			case <-quit:
				return
			default:
			}
			p := addParent(t, app, "under load")
			addKid(t, app, p, newID(t))
			run(t, app, "UPDATE parents SET v={:v} WHERE id=(SELECT id FROM parents LIMIT 1 OFFSET {:n})", dbx.Params{"v": i, "n": i % 500})
			if i%3 == 0 {
				run(t, app, "DELETE FROM kids WHERE parent={:p}", dbx.Params{"p": p})
				run(t, app, "DELETE FROM parents WHERE id={:p}", dbx.Params{"p": p})
			}
		}
	}()
	return sync.OnceFunc(func() { close(quit); <-done })
}

func journalDigest(t *testing.T, conn *pgx.Conn, through int64) string {
	t.Helper()
	return one[string](t, conn, "SELECT count(*) || md5(string_agg(j::text, '' ORDER BY seq)) FROM fm_sync.journal j WHERE seq <= $1", through)
}

// The mirror can be lost and made anew while the application writes: dropped by the command, or by hand in any way. The
// journal stays, other databases' rows stay, the keys come back, and a sealed comparison finds both sides equal.
func TestRebuildUnderLoad(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		damage string
		drop   bool
	}{
		"dropped":                       {"", true},
		"dropped beside another origin": {"INSERT INTO fm_sync.origin (origin, source_id) VALUES (99, gen_random_uuid()); INSERT INTO fm_mirror.parents (_origin,id,_ver,_at,_hash) VALUES (99,gen_random_uuid(),1,now(),'')", true},
		"truncated by hand":             {"TRUNCATE fm_mirror.parents, fm_mirror.kids", false},
		"schema dropped by hand":        {"DROP SCHEMA fm_mirror CASCADE", false},
		"in place":                      {"UPDATE fm_mirror.parents SET name='x'", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			app := smallApp(t)
			dsn := pgtest.Database(t)
			addParents(t, app, 2500)
			parent := addParent(t, app, "p")
			addKid(t, app, parent, "k")
			w := started(t, app, Config{DSN: dsn, RetryQuarantine: 50 * time.Millisecond, BackoffMax: 50 * time.Millisecond, HoldRetry: 50 * time.Millisecond})
			conn := pg(t, dsn)
			mustEqual(t, app, dsn)
			keys := "SELECT count(*) FROM pg_constraint WHERE conname LIKE 'fm\\_fk\\_%'"
			eventually(t, "the keys are attached", func() bool { return one[int](t, conn, keys) == 1 })
			through := logEnd(t, app)
			before := journalDigest(t, conn, through)
			if tc.damage != "" {
				pgExec(t, conn, tc.damage)
			}
			stop := writing(t, app)
			defer stop()
			r, err := Rebuild(app, small, tc.drop)
			if err != nil || len(r.Tables) != 2 || r.Rows < 2500 {
				t.Fatalf("rebuild: %+v (%v)", r, err)
			}
			if err := w.WaitMirrored(deadline(t), r.Position); err != nil {
				t.Fatal(err)
			}
			var got Comparison
			eventually(t, "both tables are complete", func() bool {
				list, err := Comparisons(deadline(t), app, dsn)
				if err != nil {
					t.Fatal(err)
				}
				for _, c := range list {
					if c.Run == r.Run {
						got = c
					}
				}
				return got.Tables == 2 && got.Open == 0
			})
			stop()
			if sum := sealed(t, app, dsn); !sum.Equal {
				t.Errorf("after the rebuild: %+v", sum)
			}
			if got.Mode != ModeRebuild || got.Rows < 2500 || got.Ended == nil || tc.damage != "DROP SCHEMA fm_mirror CASCADE" && got.Repaired == 0 {
				t.Errorf("the line of the run: %+v", got)
			}
			if after := journalDigest(t, conn, through); after != before {
				t.Errorf("the journal was %s and is %s", before, after)
			}
			eventually(t, "the keys are attached again", func() bool { return one[int](t, conn, keys) == 1 })
			if strings.Contains(tc.damage, "99") && one[int](t, conn, "SELECT count(*) FROM fm_mirror.parents WHERE _origin=99") != 1 {
				t.Error("another database's row is gone")
			}
		})
	}
}

// A rebuild that is cut off anywhere goes on where it was, and says until then that tables are incomplete.
func TestRebuildResumes(t *testing.T) {
	t.Parallel()
	app := smallApp(t)
	dsn := pgtest.Database(t)
	addParents(t, app, 3500)
	drain(t, manual(t, app, Config{DSN: dsn}))
	r, err := Rebuild(app, small, true)
	if err != nil {
		t.Fatal(err)
	}
	conn := pg(t, dsn)
	counts := []int{}
	for {
		w := manual(t, app, Config{DSN: dsn})
		for range 2 { // connect, and one piece
			if _, err := w.step(deadline(t)); err != nil {
				t.Fatal(err)
			}
		}
		w.disconnect(deadline(t))
		counts = append(counts, one[int](t, conn, "SELECT count(*) FROM fm_mirror.parents"))
		if one[int](t, conn, "SELECT count(*) FROM fm_sync.collection WHERE resync IS NOT NULL") == 0 {
			break
		}
		if st, err := ReadStatus(deadline(t), app, dsn); err != nil || st.ResyncTables == 0 || st.State != StateResync {
			t.Fatalf("status meanwhile: %+v (%v)", st, err)
		}
	}
	if len(counts) < 4 || counts[0] != 1000 || counts[len(counts)-1] != 3500 {
		t.Errorf("rows after each piece: %v", counts)
	}
	list, err := Comparisons(deadline(t), app, dsn)
	if err != nil || list[0].Run != r.Run || list[0].Rows != 3500 || list[0].Repaired != 3500 || list[0].Open != 0 {
		t.Errorf("the line of the run: %+v (%v)", list, err)
	}
	drain(t, manual(t, app, Config{DSN: dsn}))
	mustEqual(t, app, dsn)
	st, err := ReadStatus(deadline(t), app, dsn)
	if err != nil || st.LastComparison == nil || st.LastComparison.Mode != ModeRebuild || st.LastComparison.Diffs != 3500 {
		t.Errorf("status afterwards: %+v (%v)", st, err)
	}
}

// A rebuild whose tables turn out to be gone only when they are compared stays the run that was asked for.
func TestRebuildOfTablesFoundMissing(t *testing.T) {
	t.Parallel()
	app := smallApp(t)
	dsn := pgtest.Database(t)
	addParent(t, app, "p")
	w := manual(t, app, Config{DSN: dsn})
	drain(t, w)
	r, err := Rebuild(app, small, false)
	if err != nil {
		t.Fatal(err)
	}
	h, err := w.src.head(deadline(t), w.ses.pos.Seq)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.ses.apply(deadline(t), w.src, h.last); err != nil { // the marks pass without a look at the tables
		t.Fatal(err)
	}
	pgExec(t, pg(t, dsn), "DROP SCHEMA fm_mirror CASCADE")
	w.disconnect(deadline(t))
	drain(t, w)
	mustEqual(t, app, dsn)
	list, err := Comparisons(deadline(t), app, dsn)
	if err != nil || len(list) == 0 || list[0].Run != r.Run || list[0].Open != 0 || list[0].Tables != 2 {
		t.Errorf("the run is lost: %+v (%v), want %s", list, err, r.Run)
	}
}

// rollRound lets the worker compare until it has been through all tables once more.
func rollRound(t *testing.T, w *Worker) {
	t.Helper()
	for last := w.rolling.run; w.rolling.run == last || len(w.rolling.tables) > 0; { // a lease that is due goes first
		w.rolling.next = time.Now().Add(-time.Second)
		for more := true; more; {
			var err error
			if more, err = w.step(deadline(t)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// What somebody changes in PostgreSQL by hand is found and repaired by itself, in small pieces, and leaves a line. A round
// that finds nothing writes nothing but its line, of which there is one per table.
func TestRollingReconcile(t *testing.T) {
	t.Parallel()
	app := smallApp(t)
	dsn := pgtest.Database(t)
	addParents(t, app, 2500)
	parent := addParent(t, app, "p")
	addKid(t, app, parent, "k")
	w := manual(t, app, Config{DSN: dsn})
	drain(t, w)
	conn := pg(t, dsn)
	for _, damage := range []string{
		"UPDATE fm_mirror.parents SET ok = NOT ok WHERE id IN (SELECT id FROM fm_mirror.parents ORDER BY id LIMIT 1 OFFSET 1700)",
		"DELETE FROM fm_mirror.kids",
		"INSERT INTO fm_mirror.kids (_origin,id,_ver,_at,_hash) VALUES (1,gen_random_uuid(),1,now(),'')",
		"UPDATE fm_mirror.kids SET _hash = ''",
	} {
		pgExec(t, conn, damage)
		drain(t, w)
		if strings.Contains(damage, "_hash = ") == (sealed(t, app, dsn).Differing != 0) {
			t.Fatalf("%s: the damage is not seen, or seen before its time", damage)
		}
		lines := one[int](t, conn, "SELECT count(*) FROM fm_sync.reconcile_run WHERE mode='rolling' AND diffs=1 AND repaired=1 AND ended IS NOT NULL")
		rollRound(t, w)
		mustEqual(t, app, dsn)
		if n := one[int](t, conn, "SELECT count(*) FROM fm_sync.reconcile_run WHERE mode='rolling' AND diffs=1 AND repaired=1 AND ended IS NOT NULL"); n != lines+1 {
			t.Errorf("%s: %d lines with a difference, want one more than %d", damage, n, lines)
		}
	}
	batches := "SELECT batches::int FROM fm_sync.origin"
	before := one[int](t, conn, batches)
	rollRound(t, w)
	rollRound(t, w)
	if n := one[int](t, conn, batches) - before; n != 4 {
		t.Errorf("two rounds without a difference wrote %d times, want once per table and round", n)
	}
	if n := one[int](t, conn, "SELECT count(*) FROM fm_sync.reconcile_run WHERE mode='rolling' AND diffs=0"); n != 2 {
		t.Errorf("%d lines without a difference, want one per table", n)
	}
	if rows := one[int](t, conn, "SELECT sum(rows)::int FROM fm_sync.reconcile_run WHERE mode='rolling' AND diffs=0"); rows != 2502 {
		t.Errorf("the round compared %d rows, want 2502", rows)
	}
	// It never comes twice at once, and spreads over the time of a round.
	if wait := time.Until(w.rolling.next); wait <= 0 || w.rolling.pause > rollingPause {
		t.Errorf("the next piece comes in %v, after pauses of %v", wait, w.rolling.pause)
	}
}

// Lines are bounded, the newest stay, and those under way are never pruned.
func TestRunsArePruned(t *testing.T) {
	t.Parallel()
	app := smallApp(t)
	dsn := pgtest.Database(t)
	w := manual(t, app, Config{DSN: dsn})
	drain(t, w)
	conn := pg(t, dsn)
	pgExec(t, conn, fmt.Sprintf(`INSERT INTO fm_sync.reconcile_run (run, origin, epoch, seq, coll, mode, started, ended)
		SELECT gen_random_uuid(), 1, 1, n, 'c', 'repair', now() - n * interval '1 hour', CASE WHEN n > 0 THEN now() - n * interval '1 hour' END
		  FROM generate_series(0, %d) n`, runsMax+50))
	if err := w.prune(deadline(t)); err != nil {
		t.Fatal(err)
	}
	if n, open := one[int](t, conn, "SELECT count(*) FROM fm_sync.reconcile_run WHERE coll='c'"), one[int](t, conn, "SELECT count(*) FROM fm_sync.reconcile_run WHERE ended IS NULL"); n < runsMax || n > runsMax+2 || open != 1 {
		t.Errorf("%d lines and %d open, want %d and one", n, open, runsMax)
	}
	if n := one[int](t, conn, "SELECT max(seq)::int FROM fm_sync.reconcile_run WHERE coll='c'"); n > runsMax+1 {
		t.Errorf("line %d is left, older than the newest %d", n, runsMax)
	}
}

// A rebuild that empties the tables is no history: superseded versions stay as they are, no row is said to have been deleted,
// and every row comes back with the version and the time it had.
func TestRebuildLeavesTheHistoryAlone(t *testing.T) {
	t.Parallel()
	app := smallApp(t)
	dsn := pgtest.Database(t)
	w := manual(t, app, Config{DSN: dsn})
	parent := addParent(t, app, "first")
	gone := addKid(t, app, parent, "gone")
	drain(t, w)
	run(t, app, "UPDATE parents SET name='second'")
	run(t, app, "DELETE FROM kids WHERE id={:id}", dbx.Params{"id": gone})
	addKid(t, app, parent, "stays")
	drain(t, w)
	conn := pg(t, dsn)
	const history = `SELECT string_agg(h::text, E'\n' ORDER BY h::text) FROM (SELECT to_jsonb(p) FROM fm_hist.parents p UNION ALL SELECT to_jsonb(k) FROM fm_hist.kids k) h`
	const current = `SELECT string_agg(c::text, E'\n' ORDER BY c::text) FROM (SELECT id, _ver, _at FROM fm_mirror.parents UNION ALL SELECT id, _ver, _at FROM fm_mirror.kids) c`
	past, now := one[string](t, conn, history), one[string](t, conn, current)
	if strings.Count(past, "\n") != 1 {
		t.Fatalf("the history should be a replaced and a deleted row:\n%s", past)
	}
	if _, err := Rebuild(app, small, true); err != nil {
		t.Fatal(err)
	}
	drain(t, w)
	mustEqual(t, app, dsn)
	if got := one[string](t, conn, history); got != past {
		t.Errorf("history after the rebuild:\n%s\nbefore:\n%s", got, past)
	}
	if got := one[string](t, conn, current); got != now {
		t.Errorf("versions after the rebuild:\n%s\nbefore:\n%s", got, now)
	}
	// The control: rows that somebody deletes are a part of it.
	pgExec(t, conn, "DELETE FROM fm_mirror.kids")
	if got := one[string](t, conn, history); got == past {
		t.Error("a deletion by hand leaves no trace in the history")
	}
}
