package pgsync

import (
	"testing"

	"firemode/internal/pgtest"
	"firemode/internal/testapp"

	"github.com/jackc/pgx/v5"
	"github.com/pocketbase/dbx"
	"github.com/pocketbase/pocketbase/core"
)

// sessionApp has a session with a name in its document and in the operation that wrote it, captured.
func sessionApp(t *testing.T) (app core.App, erase func()) {
	t.Helper()
	app = testapp.New(t, func(app core.App) { Register(app, Mirrored()) })
	if err := Arm(app, Mirrored()); err != nil {
		t.Fatal(err)
	}
	p := dbx.Params{"org": newID(t), "b": newID(t), "s": newID(t), "now": "2025-01-02 03:04:05.678Z"}
	run(t, app, "INSERT INTO organisations (id,name,created_at,updated_at) VALUES ({:org},'Acme',{:now},{:now})", p)
	run(t, app, `INSERT INTO buildings (id,name,address,building_type,owner_id,organisation_id,compliance_status,created_at,updated_at)
		VALUES ({:b},'Tower','1 High St','9a','',{:org},'pending',{:now},{:now})`, p)
	run(t, app, `INSERT INTO test_sessions (id,building_id,session_name,status,session_data,vector_clock,created_at,updated_at)
		VALUES ({:s},{:b},'Annual','active','{"remark":"Jane Citizen"}','{}',{:now},{:now})`, p)
	run(t, app, "INSERT INTO crdt_docs (id,key,n) VALUES (7,{:s},1)", p)
	run(t, app, "INSERT INTO crdt_actors (id,key,user,device) VALUES (3,'k','','tablet')", nil)
	run(t, app, `INSERT INTO crdt_ops (doc,n,actor,seq,recv,hash,line) VALUES (7,1,3,1,1,x'00ff',CAST('{"v":"Jane Citizen"}' AS BLOB)), (7,2,3,2,1,x'00fe',CAST('{"v":"stays"}' AS BLOB))`, nil)
	return app, func() {
		run(t, app, "INSERT INTO crdt_redactions (doc,n,by_n) VALUES (7,1,2)", nil)
		run(t, app, `UPDATE crdt_ops SET q = q | 32, line = CAST('{"v":{"$redacted":"x"}}' AS BLOB) WHERE doc = 7 AND n = 1`, nil)
		run(t, app, `UPDATE test_sessions SET session_data = '{"remark":null}' WHERE id = {:s}`, p)
	}
}

func setDocument(t *testing.T, app core.App, w *Worker, text string) {
	t.Helper()
	run(t, app, "UPDATE test_sessions SET session_data={:d}", dbx.Params{"d": text})
	drain(t, w)
}

// images counts the superseded versions and journal entries that hold text.
func images(t *testing.T, conn *pgx.Conn, text string) (history, journal int) {
	t.Helper()
	return one[int](t, conn, "SELECT count(*)::int FROM fm_hist.test_sessions h WHERE to_jsonb(h)::text LIKE '%'||$1||'%'", text),
		one[int](t, conn, "SELECT count(*)::int FROM fm_sync.journal WHERE img::text LIKE '%'||$1||'%'", text)
}

// An erasure reaches every older image, also when it comes while the tables are empty for a rebuild, or without its own image.
func TestErasureWhileTablesAreCompared(t *testing.T) {
	t.Parallel()
	bare := func(t *testing.T, app core.App, erase func()) {
		t.Helper()
		from := logEnd(t, app)
		erase()
		run(t, app, "UPDATE _pgsync_log SET img=NULL WHERE op<3 AND seq>{:s}", dbx.Params{"s": from})
	}
	marked := func(t *testing.T, app core.App, drop bool) {
		t.Helper()
		if _, err := Rebuild(app, Mirrored(), drop); err != nil {
			t.Fatal(err)
		}
	}
	for name, prepare := range map[string]func(t *testing.T, app core.App, w *Worker, erase func()){
		"between emptying and filling": func(t *testing.T, app core.App, w *Worker, erase func()) {
			if _, err := Rebuild(app, Mirrored(), true); err != nil {
				t.Fatal(err)
			}
			if err := w.ses.apply(deadline(t), w.src, logEnd(t, app)); err != nil {
				t.Fatal(err)
			}
			erase()
			if err := w.ses.apply(deadline(t), w.src, logEnd(t, app)); err != nil {
				t.Fatal(err)
			}
		},
		"images dropped": func(t *testing.T, app core.App, _ *Worker, erase func()) { bare(t, app, erase) },
		"images dropped, then marked": func(t *testing.T, app core.App, _ *Worker, erase func()) {
			bare(t, app, erase)
			marked(t, app, false)
		},
		"marked, then images dropped": func(t *testing.T, app core.App, _ *Worker, erase func()) {
			marked(t, app, false)
			bare(t, app, erase)
		},
		"images dropped, then emptied": func(t *testing.T, app core.App, _ *Worker, erase func()) {
			bare(t, app, erase)
			marked(t, app, true)
		},
		"emptied, then images dropped": func(t *testing.T, app core.App, _ *Worker, erase func()) {
			marked(t, app, true)
			bare(t, app, erase)
		},
		"of an operation without its document": func(t *testing.T, app core.App, w *Worker, erase func()) {
			pgExec(t, pg(t, w.cfg.DSN), "TRUNCATE fm_mirror.crdt_docs CASCADE")
			erase()
			drain(t, w)
			marked(t, app, false)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			app, erase := sessionApp(t)
			dsn := pgtest.Database(t)
			w := manual(t, app, Config{DSN: dsn})
			drain(t, w)
			setDocument(t, app, w, `{"remark":"Jane Citizen","n":2}`)
			conn := pg(t, dsn)
			if history, journal := images(t, conn, "Jane"); history == 0 || journal == 0 {
				t.Fatalf("%d versions and %d entries hold the name, so this tests nothing", history, journal)
			}
			prepare(t, app, w, erase)
			drain(t, w)
			mustEqual(t, app, dsn)
			if history, journal := images(t, conn, "Jane"); history+journal > 0 {
				t.Errorf("%d versions and %d entries hold the name", history, journal)
			}
		})
	}
}

// A rebuild takes nothing out of the history that was recorded after an erasure.
func TestRebuildErasesNothingAnew(t *testing.T) {
	t.Parallel()
	app, erase := sessionApp(t)
	dsn := pgtest.Database(t)
	w := manual(t, app, Config{DSN: dsn})
	drain(t, w)
	erase()
	setDocument(t, app, w, `{"remark":"later"}`)
	setDocument(t, app, w, `{"remark":"last"}`)
	if _, err := Rebuild(app, Mirrored(), true); err != nil {
		t.Fatal(err)
	}
	drain(t, w)
	mustEqual(t, app, dsn)
	conn := pg(t, dsn)
	// Nor does another epoch in which the operation is written again.
	pgExec(t, conn, "UPDATE fm_mirror.crdt_ops SET line='by hand' WHERE n=1")
	w.ses.resign(deadline(t))
	w.disconnect(deadline(t))
	if err := Adopt(deadline(t), app, dsn); err != nil {
		t.Fatal(err)
	}
	drain(t, w)
	mustEqual(t, app, dsn)
	if history, journal := images(t, conn, "later"); history != 1 || journal != 1 {
		t.Errorf("later: %d versions and %d entries, want 1 and 1", history, journal)
	}
	if history, journal := images(t, conn, "Jane"); history+journal > 0 {
		t.Errorf("the erased name: %d versions and %d entries, want none", history, journal)
	}
}

// An erasure also reaches a document that was set aside with its column.
func TestErasureReachesColumnsSetAside(t *testing.T) {
	t.Parallel()
	app, erase := sessionApp(t)
	dsn := pgtest.Database(t)
	w := manual(t, app, Config{DSN: dsn})
	conn := pg(t, dsn)
	drain(t, w)
	setDocument(t, app, w, `{"remark":"Jane Citizen","n":2}`)
	change1(t, app, "test_sessions", func(c *core.Collection) { c.Fields.RemoveByName("session_data") })
	change1(t, app, "test_sessions", func(c *core.Collection) { c.Fields.Add(&core.JSONField{Name: "session_data"}) })
	drain(t, w)
	const stands = "SELECT count(*)::int FROM fm_mirror.test_sessions m WHERE to_jsonb(m)::text LIKE '%Jane%'"
	if one[int](t, conn, stands) == 0 {
		t.Fatal("no column holds the name, so this tests nothing")
	}
	erase()
	drain(t, w)
	mustEqual(t, app, dsn)
	if history, journal := images(t, conn, "Jane"); history+journal+one[int](t, conn, stands) > 0 {
		t.Errorf("%d versions, %d entries and %d rows hold the name", history, journal, one[int](t, conn, stands))
	}
}

// A session whose newest version is in quarantine stands with an older one, which becomes a superseded one after the erasure.
func TestErasureOfAQuarantinedDocument(t *testing.T) {
	t.Parallel()
	app, erase := sessionApp(t)
	dsn := pgtest.Database(t)
	w := manual(t, app, Config{DSN: dsn})
	conn := pg(t, dsn)
	drain(t, w)
	run(t, app, "UPDATE test_sessions SET building_id={:b}", dbx.Params{"b": nowhere})
	drain(t, w)
	erase()
	drain(t, w)
	if r := mustEqual(t, app, dsn); !r.Equal || r.Quarantined != 1 {
		t.Fatalf("equal %t with %d rows in quarantine, want 1", r.Equal, r.Quarantined)
	}
	if one[int](t, conn, "SELECT count(*)::int FROM fm_mirror.test_sessions m WHERE to_jsonb(m)::text LIKE '%Jane%'") > 0 {
		t.Error("the version that stands holds the name")
	}
	run(t, app, "UPDATE test_sessions SET building_id=(SELECT id FROM buildings)")
	drain(t, w)
	if r := mustEqual(t, app, dsn); !r.Equal || r.Quarantined != 0 {
		t.Errorf("equal %t with %d rows in quarantine, want none", r.Equal, r.Quarantined)
	}
	if history, journal := images(t, conn, "Jane"); history+journal > 0 {
		t.Errorf("%d versions and %d entries hold the name", history, journal)
	}
}
