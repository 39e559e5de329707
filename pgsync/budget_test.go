package pgsync

import (
	"fmt"
	"testing"
	"time"

	"firemode/internal/pgtest"

	"github.com/pocketbase/dbx"
	"github.com/pocketbase/pocketbase/core"
)

// rewrite changes a row of about a kilobyte, each time in a transaction of its own.
func rewrite(t *testing.T, app core.App, parent string, times int) {
	t.Helper()
	for i := range times {
		run(t, app, "UPDATE parents SET v={:i}, name=hex(randomblob(400)) WHERE id={:p}", dbx.Params{"i": i, "p": parent})
	}
}

// While PostgreSQL is away the log stays within its limit: the oldest images go, never silently, and both sides are equal
// in the end although a row was written that nobody has an image of.
func TestTheLogStaysWithinItsLimit(t *testing.T) {
	t.Parallel()
	app := smallApp(t)
	dsn := pgtest.Database(t)
	const limit = 100 << 10
	w := manual(t, app, Config{DSN: dsn, LogMaxBytes: limit})
	parent := addParent(t, app, "p")
	drain(t, w)
	w.trimmedSeq = w.ses.pos.Seq // what is mirrored already may go too, but is in the journal with its image
	w.disconnect(deadline(t))
	early := addParent(t, app, "early")
	addKid(t, app, early, "of a parent without an image")
	rewrite(t, app, parent, 300)
	change1(t, app, "parents", func(c *core.Collection) { c.Fields.Add(&core.TextField{Name: "added"}) })
	last := addKid(t, app, early, "young")

	for i := 0; ; i++ {
		w.trimAt = time.Time{}
		if err := w.trim(deadline(t)); err != nil {
			t.Fatal(err)
		}
		st := w.Status()
		if st.LogBytes <= limit {
			break
		}
		if i > 20 {
			t.Fatalf("the log stays at %d bytes, above %d", st.LogBytes, st.LogBytesMax)
		}
	}
	var bare, kept, shapes int
	if err := app.DB().NewQuery(`SELECT count(*) FILTER (WHERE op<3 AND img IS NULL), count(*) FILTER (WHERE op=4 AND img IS NOT NULL), count(*) FILTER (WHERE op=4)
		FROM _pgsync_log`).Row(&bare, &kept, &shapes); err != nil {
		t.Fatal(err)
	}
	if bare == 0 || kept != shapes {
		t.Fatalf("%d images dropped, %d of %d shapes kept", bare, kept, shapes)
	}
	drain(t, w)
	mustEqual(t, app, dsn)
	conn := pg(t, dsn)
	journalEqualsLog(t, app, conn)
	got := one[int64](t, conn, "SELECT coalesce(sum(entries),0)::bigint FROM fm_sync.discontinuity WHERE kind='history_gap'")
	if got != int64(bare) {
		t.Errorf("gaps of %d entries are noted, want %d", got, bare)
	}
	if n := one[int](t, conn, "SELECT count(*)::int FROM fm_mirror.kids WHERE id=$1", last); n != 1 {
		t.Errorf("the newest row: %d, want 1", n)
	}
	// A log that is large enough loses nothing.
	roomy := manual(t, app, Config{DSN: dsn})
	rewrite(t, app, parent, 3)
	if err := roomy.trim(deadline(t)); err != nil {
		t.Fatal(err)
	}
	if st := roomy.Status(); st.LogBytes == 0 || st.LogBytesMax < st.LogBytes {
		t.Errorf("status %+v, want a size within the limit", st)
	}
	drain(t, roomy)
	if n := one[int64](t, conn, "SELECT coalesce(sum(entries),0)::bigint FROM fm_sync.discontinuity WHERE kind='history_gap'"); n != got {
		t.Errorf("gaps of %d entries, want still %d", n, got)
	}
}

// The size is an estimate from a thousand entries; it must be near the truth for small logs, uneven ones and empty ones.
func TestLogBytes(t *testing.T) {
	t.Parallel()
	app := smallApp(t)
	w := manual(t, app, Config{DSN: "host=/nonexistent"})
	run(t, app, "DELETE FROM _pgsync_log")
	for _, rows := range []int{0, 1, 10, 5000, 40_000} {
		t.Run(fmt.Sprint(rows), func(t *testing.T) {
			run(t, app, "DELETE FROM _pgsync_log")
			run(t, app, `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n) INSERT INTO _pgsync_log (coll,pk,op,at,nonce,img)
				SELECT 'x','',1,0,i,CASE WHEN i<{:n}/2 THEN NULL ELSE hex(zeroblob(abs(random())%1000)) END FROM n LIMIT {:n}`, dbx.Params{"n": rows})
			var want int64
			if err := app.DB().NewQuery("SELECT coalesce(sum(coalesce(octet_length(img),0)+100),0) FROM _pgsync_log").Row(&want); err != nil {
				t.Fatal(err)
			}
			got, err := w.src.logBytes(deadline(t))
			if err != nil || got < want*8/10 || got > want*12/10 {
				t.Errorf("%d rows: %d bytes, %v; they are %d", rows, got, err, want)
			}
		})
	}
}
