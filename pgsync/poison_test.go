package pgsync

import (
	"strings"
	"testing"
	"time"

	"firemode/internal/pgtest"

	"github.com/pocketbase/dbx"
)

// nowhere is an id that no row has.
const nowhere = "0192f0c1-2b3c-7d4e-8f50-616263646566"

// poisons are rows that PostgreSQL, or the mirror before it, must refuse, and how each is mended.
var poisons = []struct{ name, poison, state, mend string }{
	{"NUL in text", "UPDATE parents SET name='a'||char(0)||'b'", "22021", "UPDATE parents SET name='ab'"},
	{"invalid UTF-8", "UPDATE parents SET name=CAST(x'61ff62' AS TEXT)", "22021", "UPDATE parents SET name='ab'"},
	{"NUL in JSON", `UPDATE parents SET meta='{"a":"\u0000"}'`, "22P05", `UPDATE parents SET meta='{}'`},
	{"lone surrogate in JSON", `UPDATE parents SET meta='{"a":"\ud800"}'`, "22P02", `UPDATE parents SET meta='null'`},
	{"broken JSON", `UPDATE parents SET meta='{"a":'`, "22P02", `UPDATE parents SET meta=NULL`},
	{"number too large for jsonb", `UPDATE parents SET meta='[1e400000]'`, "22003", `UPDATE parents SET meta='[1]'`},
	{"not a date", "UPDATE parents SET seen='soon'", "22007", "UPDATE parents SET seen=''"},
	{"value outside the enum", "UPDATE parents SET kind='c'", "23514", "UPDATE parents SET kind='b'"},
	{"value outside the list", `UPDATE parents SET tags='["x","q"]'`, "23514", `UPDATE parents SET tags='[]'`},
	{"plain text in a sealed column", "UPDATE parents SET secret='canary 0412 345 678'", statePlaintext, "UPDATE parents SET secret=''"},
	{"relation to nothing", "UPDATE kids SET parent='" + nowhere + "'", "23503", "UPDATE kids SET parent=''"},
	{"relation that is no id", "UPDATE kids SET parent='x'", "22P02", "UPDATE kids SET parent=''"},
	{"index entry too large", "UPDATE kids SET email=hex(randomblob(20000))", "54000", "UPDATE kids SET email='short'"},
}

// The neighbours of a refused row in the same batch arrive, it goes to quarantine, and when it is mended it leaves.
func TestPoisonRowsGoToQuarantineAndTheirNeighboursArrive(t *testing.T) {
	t.Parallel()
	app := smallApp(t)
	dsn := pgtest.Database(t)
	w := manual(t, app, Config{DSN: dsn})
	conn := pg(t, dsn)
	for _, tc := range poisons {
		t.Run(tc.name, func(t *testing.T) {
			parent := addParent(t, app, "good")
			kid := addKid(t, app, parent, newID(t))
			drain(t, w)

			table, victim := "parents", parent
			if strings.HasPrefix(tc.poison, "UPDATE kids") {
				table, victim = "kids", kid
			}
			before := addParent(t, app, "before")
			run(t, app, tc.poison+" WHERE id={:id}", dbx.Params{"id": victim})
			after := addKid(t, app, before, newID(t))
			drain(t, w)

			if got := one[string](t, conn, "SELECT coalesce(string_agg(pk||' '||sqlstate, ','), 'empty') FROM fm_sync.quarantine"); got != victim+" "+tc.state {
				t.Errorf("quarantine = %s, want %s %s", got, victim, tc.state)
			}
			if !one[bool](t, conn, "SELECT _stale FROM fm_mirror."+table+" WHERE id=$1", victim) {
				t.Error("the last good version is gone or not marked")
			}
			if !one[bool](t, conn, "SELECT EXISTS (SELECT 1 FROM fm_mirror.kids WHERE id=$1 AND parent=$2)", after, before) {
				t.Error("the neighbours did not arrive")
			}
			if got := one[int64](t, conn, "SELECT seq FROM fm_sync.origin"); got != logEnd(t, app) {
				t.Errorf("position = %d, want %d", got, logEnd(t, app))
			}
			if got := one[int64](t, conn, "SELECT count(*) FROM fm_sync.journal"); got != logEnd(t, app) {
				t.Errorf("journal has %d entries, want %d", got, logEnd(t, app))
			}
			leaked := one[bool](t, conn, `SELECT EXISTS (SELECT 1 FROM fm_sync.journal WHERE img::text LIKE '%canary 0412%')
				OR EXISTS (SELECT 1 FROM fm_sync.quarantine WHERE position('canary 0412'::bytea IN img) > 0)`)
			if leaked {
				t.Error("plain text of a sealed column reached PostgreSQL")
			}
			r := mustEqual(t, app, dsn)
			if !r.Equal {
				t.Errorf("rows beside the quarantined one differ: %+v", r)
			}

			run(t, app, tc.mend+" WHERE id={:id}", dbx.Params{"id": victim})
			drain(t, w)
			if got := one[int](t, conn, "SELECT count(*)::int FROM fm_sync.quarantine"); got != 0 {
				t.Errorf("%d rows in quarantine after the repair, want 0", got)
			}
			mustEqual(t, app, dsn)
		})
	}
}

// A child whose parent comes later waits in quarantine and leaves it by itself.
func TestQuarantinedChildFollowsItsParent(t *testing.T) {
	t.Parallel()
	app := smallApp(t)
	dsn := pgtest.Database(t)
	w := started(t, app, Config{DSN: dsn, Poll: time.Millisecond, RetryQuarantine: 50 * time.Millisecond})
	if err := w.WaitMirrored(deadline(t), logEnd(t, app)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the foreign keys stand", func() bool { return w.Status().State == StateLive })
	parent := newID(t)
	kid := addKid(t, app, parent, "")
	eventually(t, "the child is in quarantine", func() bool { return w.Status().QuarantineRows == 1 })
	run(t, app, "INSERT INTO parents (id,name,tags) VALUES ({:id},'late','[]')", dbx.Params{"id": parent})
	eventually(t, "the quarantine is empty", func() bool { return w.Status().QuarantineRows == 0 })
	if !one[bool](t, pg(t, dsn), "SELECT EXISTS (SELECT 1 FROM fm_mirror.kids WHERE id=$1 AND NOT _stale)", kid) {
		t.Error("the child did not arrive")
	}
	mustEqual(t, app, dsn)
}

// Unique values that change hands within a batch offend nobody: the check waits for the end of the transaction.
func TestUniqueValuesSwapWithinABatch(t *testing.T) {
	t.Parallel()
	app := smallApp(t)
	dsn := pgtest.Database(t)
	w := manual(t, app, Config{DSN: dsn})
	a, b := addKid(t, app, "", "first"), addKid(t, app, "", "second")
	drain(t, w)
	for _, change := range []string{"email='' WHERE id={:a}", "email='first' WHERE id={:b}", "email='second' WHERE id={:a}"} {
		run(t, app, "UPDATE kids SET "+change, dbx.Params{"a": a, "b": b})
	}
	if _, err := w.step(deadline(t)); err != nil { // one, so that nobody mends what was refused
		t.Fatal(err)
	}
	if w.ses.quarantined != 0 {
		t.Errorf("%d rows were refused, want 0", w.ses.quarantined)
	}
	mustEqual(t, app, dsn)
}

// A quarantined row that is deleted at the source leaves nothing behind.
func TestDeletingAQuarantinedRow(t *testing.T) {
	t.Parallel()
	app := smallApp(t)
	dsn := pgtest.Database(t)
	w := manual(t, app, Config{DSN: dsn})
	run(t, app, "INSERT INTO parents (id,name,kind,tags) VALUES ({:id},'x','c','[]')", dbx.Params{"id": newID(t)})
	run(t, app, "INSERT INTO parents (id,name,tags) VALUES ('not-a-uuid','x','[]')")
	drain(t, w)
	conn := pg(t, dsn)
	if got := one[int](t, conn, "SELECT count(*)::int FROM fm_sync.quarantine"); got != 2 {
		t.Fatalf("%d rows in quarantine, want 2", got)
	}
	run(t, app, "DELETE FROM parents")
	drain(t, w)
	if got := one[int](t, conn, "SELECT count(*)::int FROM fm_sync.quarantine"); got != 0 {
		t.Errorf("%d rows in quarantine, want 0", got)
	}
	mustEqual(t, app, dsn)
}

// A round over the quarantine reads bounded pieces of the source. A row that had no room in one is not a row that is gone.
func TestLargeQuarantinedRowsStay(t *testing.T) {
	t.Parallel()
	app := smallApp(t)
	dsn := pgtest.Database(t)
	w := manual(t, app, Config{DSN: dsn})
	const rows = 8
	for range rows { // two of them fill a piece
		run(t, app, "INSERT INTO kids (id,parent,email,note) VALUES ({:id},{:p},'',hex(zeroblob({:n})))",
			dbx.Params{"id": newID(t), "p": nowhere, "n": chunkMaxBytes / 4})
	}
	drain(t, w)
	for range 2 {
		if r := mustEqual(t, app, dsn); !r.Equal || r.Quarantined != rows {
			t.Fatalf("%d rows in quarantine, equal %t; want %d", r.Quarantined, r.Equal, rows)
		}
		w.retryAt = time.Time{}
		drain(t, w)
	}
	run(t, app, "UPDATE kids SET parent=''")
	drain(t, w)
	if r := mustEqual(t, app, dsn); r.Quarantined != 0 || rowsOf(t, r, "kids") != rows {
		t.Errorf("%d rows in quarantine and %d in the table, want 0 and %d", r.Quarantined, rowsOf(t, r, "kids"), rows)
	}
}

// A row whose key cannot be written is looked for by no key. When it was lost with the end of the log, the comparison of its
// table finds that it is gone.
func TestARowOfABadKeyLeavesQuarantine(t *testing.T) {
	t.Parallel()
	app := smallApp(t)
	dsn := pgtest.Database(t)
	w := manual(t, app, Config{DSN: dsn})
	drain(t, w)
	run(t, app, "INSERT INTO parents (id,name) VALUES ('a'||char(0)||'stays','stays')")
	kept := logEnd(t, app)
	run(t, app, "INSERT INTO parents (id,name) VALUES ('a'||char(0)||'lost','lost')")
	drain(t, w)
	if r := mustEqual(t, app, dsn); !r.Equal || r.Quarantined != 2 {
		t.Fatalf("%d rows in quarantine, equal %t; want 2", r.Quarantined, r.Equal)
	}
	w.ses.resign(deadline(t))
	w.disconnect(deadline(t))
	loseTail(t, app, kept, "DELETE FROM parents WHERE name={:n}", dbx.Params{"n": "lost"})
	drain(t, w)
	if r := mustEqual(t, app, dsn); !r.Equal || r.Quarantined != 1 {
		t.Errorf("%d rows in quarantine, equal %t; want 1", r.Quarantined, r.Equal)
	}
}
