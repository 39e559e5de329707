package pgsync

import (
	"testing"
	"time"

	"firemode/internal/pgtest"

	"github.com/jackc/pgx/v5"
	"github.com/pocketbase/dbx"
	"github.com/pocketbase/pocketbase/core"
)

// loseTail takes the log back to seq, with the rows that fn undoes, as a power cut on a disk that did not keep its word.
func loseTail(t *testing.T, app core.App, seq int64, undo string, params dbx.Params) {
	t.Helper()
	err := app.RunInTransaction(func(tx core.App) error {
		run(t, tx, undo, params)
		run(t, tx, "DELETE FROM _pgsync_log WHERE seq>{:s}", dbx.Params{"s": seq})
		run(t, tx, "UPDATE sqlite_sequence SET seq={:s} WHERE name='_pgsync_log'", dbx.Params{"s": seq})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A short end of the log that a power cut took is given up by itself: the mirror begins an epoch, notes how much is lost,
// and is equal to what is left. A longer one, and one of another place, is an operator's decision.
func TestLostTail(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		alter func(t *testing.T, app core.App, w *Worker, conn *pgx.Conn)
		lost  int64 // 0: held
	}{
		{"short", nil, 2},
		{"written to since", func(t *testing.T, app core.App, _ *Worker, _ *pgx.Conn) { addParent(t, app, "since") }, 2},
		{"long", func(t *testing.T, _ core.App, _ *Worker, conn *pgx.Conn) {
			pgExec(t, conn, "UPDATE fm_sync.journal SET at=at+interval '6 s' WHERE seq=(SELECT max(seq) FROM fm_sync.journal)")
		}, 0},
		{"with the clock set back", func(t *testing.T, _ core.App, _ *Worker, conn *pgx.Conn) {
			pgExec(t, conn, "UPDATE fm_sync.journal SET at=at+interval '1 h' WHERE seq=(SELECT max(seq)-1 FROM fm_sync.journal)")
		}, 0},
		{"journal without its end", func(t *testing.T, _ core.App, _ *Worker, conn *pgx.Conn) {
			pgExec(t, conn, "DELETE FROM fm_sync.journal WHERE seq=(SELECT max(seq) FROM fm_sync.journal)")
		}, 0},
		{"journal with a gap", func(t *testing.T, _ core.App, _ *Worker, conn *pgx.Conn) {
			pgExec(t, conn, "DELETE FROM fm_sync.journal WHERE seq=(SELECT max(seq)-1 FROM fm_sync.journal)")
		}, 0},
		{"fed from another place", func(t *testing.T, _ core.App, _ *Worker, conn *pgx.Conn) {
			pgExec(t, conn, "UPDATE fm_sync.origin SET place=gen_random_uuid()")
		}, 0},
		{"nothing in common", func(t *testing.T, _ core.App, _ *Worker, conn *pgx.Conn) {
			pgExec(t, conn, "UPDATE fm_sync.journal SET at=at+interval '1 ms'")
		}, 0},
		{"after another start of the machine", func(_ *testing.T, _ core.App, w *Worker, _ *pgx.Conn) {
			w.node = "0192f0c1-2b3c-7d4e-8f50-616263646566"
		}, 2},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			app := smallApp(t)
			dsn := pgtest.Database(t)
			parent := addParent(t, app, "kept")
			kept := logEnd(t, app)
			kid := addKid(t, app, parent, "k")
			run(t, app, "UPDATE parents SET name='lost' WHERE id={:p}", dbx.Params{"p": parent})
			w := manual(t, app, Config{DSN: dsn})
			drain(t, w)
			mustEqual(t, app, dsn)
			w.ses.resign(deadline(t))
			w.disconnect(deadline(t))

			conn := pg(t, dsn)
			loseTail(t, app, kept, "DELETE FROM kids WHERE id={:k}", dbx.Params{"k": kid})
			loseTail(t, app, kept, "UPDATE parents SET name='kept' WHERE id={:p}", dbx.Params{"p": parent})
			if tc.alter != nil {
				tc.alter(t, app, w, conn)
			}
			if tc.lost == 0 {
				if _, err := w.step(deadline(t)); heldReason(err) != "fork" {
					t.Fatalf("step: %v, want held(fork)", err)
				}
				if got := one[int](t, conn, "SELECT count(*)::int FROM fm_sync.discontinuity"); got != 0 {
					t.Errorf("%d discontinuities, want none", got)
				}
				return
			}
			drain(t, w)
			if r := mustEqual(t, app, dsn); r.Epoch != 2 || rowsOf(t, r, "kids") != 0 {
				t.Errorf("report = %+v, want epoch 2 without the lost row", r)
			}
			got := one[string](t, conn, "SELECT concat_ws(' ', kind, from_epoch, from_seq, epoch, seq, entries) FROM fm_sync.discontinuity")
			if want := one[string](t, conn, `SELECT concat_ws(' ', 'lost_tail', 1, max(seq) FILTER (WHERE epoch=1), 2,
				(SELECT min(seq) FROM fm_sync.discontinuity), 2) FROM fm_sync.journal`); got != want {
				t.Errorf("discontinuity %q, want %q", got, want)
			}
			addParent(t, app, "goes on")
			drain(t, w)
			mustEqual(t, app, dsn)
		})
	}
}

// The worker leaves a file that was swapped under it alone.
func TestReplacedFileIsHeld(t *testing.T) {
	t.Parallel()
	app := smallApp(t)
	w := manual(t, app, Config{DSN: pgtest.Database(t)})
	drain(t, w)
	w.opened, w.fileSeenAt = newID(t), time.Time{}
	if _, err := w.step(deadline(t)); heldReason(err) != "replaced" {
		t.Errorf("step: %v, want held(replaced)", err)
	}
}
