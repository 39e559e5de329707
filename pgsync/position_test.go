package pgsync

import (
	"testing"

	"firemode/internal/pgtest"

	"github.com/pocketbase/dbx"
)

// The position moves from exactly where it is, for the holder of the lease alone: each part of the fence stops a worker
// that is wrong in this one part.
func TestPositionMovesOnlyFromWhereItIs(t *testing.T) {
	t.Parallel()
	app := smallApp(t)
	dsn := pgtest.Database(t)
	addParent(t, app, "p")
	w := manual(t, app, Config{DSN: dsn})
	drain(t, w)
	conn := pg(t, dsn)
	const position = "SELECT concat_ws(' ', epoch, seq, nonce, term, node) FROM fm_sync.origin"
	before := one[string](t, conn, position)
	nothing := func(*txn) error { return nil }
	for wrong, change := range map[string]func(s *session){
		"epoch": func(s *session) { s.pos.Epoch++ },
		"seq":   func(s *session) { s.pos.Seq-- },
		"nonce": func(s *session) { s.pos.Nonce++ },
		"term":  func(s *session) { s.term-- },
		"node":  func(s *session) { s.node = newID(t) },
	} {
		s := *w.ses
		change(&s)
		to := w.ses.pos
		to.Seq++
		if err := s.attempt(deadline(t), to, 0, false, nothing); classify(err) != classFenced {
			t.Errorf("another %s: %v, want fenced", wrong, err)
		}
		if wrong == "term" || wrong == "node" {
			if err := s.renew(deadline(t)); classify(err) != classFenced {
				t.Errorf("lease of another %s: %v, want fenced", wrong, err)
			}
		}
	}
	if after := one[string](t, conn, position); after != before {
		t.Errorf("position, term and node went from %s to %s", before, after)
	}
	if err := w.ses.attempt(deadline(t), w.ses.pos, 0, false, nothing); err != nil {
		t.Errorf("the holder itself: %v", err)
	}
}

// Keys that are text sort by their bytes, as SQLite sorts them, whatever the locale of the database is.
func TestTextKeysSortByBytes(t *testing.T) {
	t.Parallel()
	app := smallApp(t)
	run(t, app, "CREATE TABLE heads (doc INTEGER PRIMARY KEY, n INTEGER); CREATE TABLE lines (doc INTEGER, n INTEGER, line TEXT, PRIMARY KEY (doc,n))")
	if err := Arm(app, Source{Collections: small.Collections, Tables: []PlainTable{runs}}); err != nil {
		t.Fatal(err)
	}
	dsn := pgtest.Database(t)
	drain(t, manual(t, app, Config{DSN: dsn}))
	conn := pg(t, dsn)
	const texts = `SELECT coalesce(string_agg(c.relname||'.'||a.attname||' '||l.collname, ', '), '') FROM pg_attribute a
		JOIN pg_class c ON c.oid = a.attrelid AND c.relkind = 'r' JOIN pg_namespace n ON n.oid = c.relnamespace
		JOIN pg_collation l ON l.oid = a.attcollation
		WHERE n.nspname = 'fm_mirror' AND a.attnum > 0 AND NOT a.attisdropped AND (l.collname = 'C') = $1`
	if got := one[string](t, conn, texts, false); got != "" {
		t.Errorf("columns that sort by a locale: %s", got)
	}
	if got := one[string](t, conn, texts, true); got == "" {
		t.Error("no column sorts by bytes: the query proves nothing")
	}
}

// An entry that is missing among those to carry holds the mirror: it is not passed over.
func TestForksInWhatIsNewAreHeld(t *testing.T) {
	t.Parallel()
	app := smallApp(t)
	dsn := pgtest.Database(t)
	parent := addParent(t, app, "p")
	w := manual(t, app, Config{DSN: dsn})
	drain(t, w)
	before := w.ses.pos
	for range 3 {
		addKid(t, app, parent, "")
	}
	for _, missing := range []int64{before.Seq + 2, before.Seq + 1} {
		run(t, app, "DELETE FROM _pgsync_log WHERE seq={:s}", dbx.Params{"s": missing})
		if _, err := w.step(deadline(t)); heldReason(err) != "gap" {
			t.Errorf("without entry %d: %v, want held(gap)", missing-before.Seq, err)
		}
	}
	if got := one[int64](t, pg(t, dsn), "SELECT seq FROM fm_sync.origin"); got != before.Seq {
		t.Errorf("the position moved from %d to %d", before.Seq, got)
	}
}
