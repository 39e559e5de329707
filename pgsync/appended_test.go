package pgsync

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"firemode/internal/pgtest"
	"firemode/internal/testapp"

	"github.com/pocketbase/dbx"
	"github.com/pocketbase/pocketbase/core"
)

// logApp has a document and two actors, captured.
func logApp(t *testing.T) core.App {
	t.Helper()
	app := testapp.New(t, func(app core.App) { Register(app, Mirrored()) })
	if err := Arm(app, Mirrored()); err != nil {
		t.Fatal(err)
	}
	run(t, app, "INSERT INTO crdt_docs (id,key,n) VALUES (7,{:key},1)", dbx.Params{"key": newID(t)})
	run(t, app, "INSERT INTO crdt_actors (id,key,user,device) VALUES (3,'k','','tablet'), (4,'l','','phone')", nil)
	return app
}

func setHead(t *testing.T, app core.App, actor, seq int) {
	t.Helper()
	run(t, app, `INSERT INTO crdt_heads (doc,actor,seq,chain) VALUES (7,{:a},{:s},x'00') ON CONFLICT (doc,actor) DO UPDATE SET seq=excluded.seq`,
		dbx.Params{"a": actor, "s": seq})
}

func addOps(t *testing.T, app core.App, actor, fromN, fromSeq, count int) {
	t.Helper()
	run(t, app, `INSERT INTO crdt_ops (doc,n,actor,seq,recv,hash,line)
		WITH RECURSIVE c(i) AS (SELECT 0 UNION ALL SELECT i+1 FROM c WHERE i+1<{:count})
		SELECT 7,{:n}+i,{:a},{:s}+i,1,x'00ff',CAST('{"line":'||({:n}+i)||'}' AS BLOB) FROM c`,
		dbx.Params{"a": actor, "n": fromN, "s": fromSeq, "count": count})
}

func entriesOf(t *testing.T, app core.App, op int) (n int) {
	t.Helper()
	if err := app.DB().NewQuery("SELECT count(*) FROM _pgsync_log WHERE coll='crdt_ops' AND op={:op}").Bind(dbx.Params{"op": op}).Row(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// Operations below their head cost one log entry without an image and arrive all the same; one that somebody writes without
// setting the head is logged by itself.
func TestAppendedRunsArrive(t *testing.T) {
	t.Parallel()
	app := logApp(t)
	dsn := pgtest.Database(t)
	setHead(t, app, 3, 5)
	addOps(t, app, 3, 1, 1, 5)
	setHead(t, app, 3, 2000)
	addOps(t, app, 3, 6, 6, 1995) // more than a chunk
	setHead(t, app, 4, 1)
	addOps(t, app, 4, 2001, 1, 1)
	if runs, rows := entriesOf(t, app, opAppended), entriesOf(t, app, opInsert); runs != 3 || rows != 0 {
		t.Fatalf("log: got %d runs and %d rows, want 3 and 0", runs, rows)
	}
	addOps(t, app, 4, 2002, 2, 2) // the head stays behind
	if rows := entriesOf(t, app, opInsert); rows != 2 {
		t.Fatalf("log: got %d rows, want the 2 above their head", rows)
	}
	setHead(t, app, 4, 3) // names them once more
	drain(t, manual(t, app, Config{DSN: dsn}))
	if report := mustEqual(t, app, dsn); rowsOf(t, report, "crdt_ops") != 2003 {
		t.Errorf("mirrored: got %d operations, want 2003", rowsOf(t, report, "crdt_ops"))
	}
	conn := pg(t, dsn)
	if got := one[string](t, conn, "SELECT string_agg(pk, ' ' ORDER BY seq) FROM fm_sync.journal WHERE op = 7 AND img IS NULL"); got != "7/3/1/5 7/3/6/2000 7/4/1/1 7/4/2/3" {
		t.Errorf("journal: got runs %s", got)
	}
	// An erased value of such a row is carried like any change.
	run(t, app, "INSERT INTO crdt_redactions (doc,n,by_n) VALUES (7,3,9)", nil)
	run(t, app, `UPDATE crdt_ops SET q = q | 32, line = CAST('{}' AS BLOB) WHERE doc = 7 AND n = 3`, nil)
	drain(t, manual(t, app, Config{DSN: dsn}))
	mustEqual(t, app, dsn)
}

// A run whose rows are not all there holds the mirror, visibly, and goes on when they are.
func TestAppendedRunsAreWhole(t *testing.T) {
	t.Parallel()
	app := logApp(t)
	setHead(t, app, 3, 3)
	addOps(t, app, 3, 1, 1, 2)
	w := manual(t, app, Config{DSN: pgtest.Database(t)})
	var err error
	for more := true; more && err == nil; {
		more, err = w.step(deadline(t))
	}
	var hold *holdError
	if !errors.As(err, &hold) || !strings.Contains(hold.Error(), "names 3 rows, and 2 of them are there") {
		t.Fatalf("got %v, want the mirror held", err)
	}
	w.disconnect(deadline(t))
	addOps(t, app, 3, 3, 3, 1)
	drain(t, w)
	mustEqual(t, app, w.cfg.DSN)
}

// A log from before there were runs is carried, and the triggers change under it without a comparison of all rows.
func TestRunsAfterAnUpgrade(t *testing.T) {
	t.Parallel()
	app := testapp.New(t, func(app core.App) { Register(app, Mirrored()) })
	old := Mirrored()
	for i := range old.Tables {
		old.Tables[i].Appended = nil
	}
	if err := Arm(app, old); err != nil {
		t.Fatal(err)
	}
	run(t, app, "INSERT INTO crdt_docs (id,key,n) VALUES (7,{:key},1)", dbx.Params{"key": newID(t)})
	run(t, app, "INSERT INTO crdt_actors (id,key,user,device) VALUES (3,'k','','tablet')", nil)
	setHead(t, app, 3, 2)
	addOps(t, app, 3, 1, 1, 2)
	if err := Arm(app, Mirrored()); err != nil {
		t.Fatal(err)
	}
	setHead(t, app, 3, 4)
	addOps(t, app, 3, 3, 3, 2)
	got := fmt.Sprint(entriesOf(t, app, opInsert), entriesOf(t, app, opBarrier), entriesOf(t, app, opAppended), entriesOf(t, app, opResync))
	if got != "2 2 1 0" {
		t.Errorf("log: got %s, want 2 rows, 2 shapes, 1 run and no comparison", got)
	}
	dsn := pgtest.Database(t)
	drain(t, manual(t, app, Config{DSN: dsn}))
	mustEqual(t, app, dsn)
}

func TestRunKeys(t *testing.T) {
	t.Parallel()
	if r, ok := parseRun("7/3/6/2000"); !ok || fmt.Sprint(r.group) != "[7 3]" || r.rows() != 1995 {
		t.Errorf("got %+v, %v", r, ok)
	}
	for _, pk := range []string{"", "7", "7/1", "7/3/0/2", "7/3/3/2", "7/x/1/2", "7/3/1/2/", "7/3/-1/2"} {
		if r, ok := parseRun(pk); ok {
			t.Errorf("%q: got %+v, want refusal", pk, r)
		}
	}
}
