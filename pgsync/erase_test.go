package pgsync

import (
	"testing"

	"firemode/internal/pgtest"
	"firemode/internal/testapp"

	"github.com/jackc/pgx/v5"
	"github.com/pocketbase/dbx"
	"github.com/pocketbase/pocketbase/core"
)

// A value that was erased in SQLite is in no older image either: not in the log that waits for PostgreSQL, not in its
// journal, whether it was carried before the erasure or not.
func TestErasedValuesLeaveNoImage(t *testing.T) {
	t.Parallel()
	for name, carriedBefore := range map[string]bool{"carried before": true, "waiting": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			app := testapp.New(t, func(app core.App) { Register(app, Mirrored()) })
			dsn := pgtest.Database(t)
			if err := Arm(app, Mirrored()); err != nil {
				t.Fatal(err)
			}
			org, building, session := newID(t), newID(t), newID(t)
			p := dbx.Params{"org": org, "b": building, "s": session, "now": "2025-01-02 03:04:05.678Z"}
			run(t, app, "INSERT INTO organisations (id,name,created_at,updated_at) VALUES ({:org},'Acme',{:now},{:now})", p)
			run(t, app, `INSERT INTO buildings (id,name,address,building_type,owner_id,organisation_id,compliance_status,created_at,updated_at)
				VALUES ({:b},'Tower','1 High St','9a','',{:org},'pending',{:now},{:now})`, p)
			run(t, app, `INSERT INTO test_sessions (id,building_id,session_name,status,session_data,vector_clock,created_at,updated_at)
				VALUES ({:s},{:b},'Annual','active','{"remark":"Jane Citizen"}','{}',{:now},{:now})`, p)
			run(t, app, "INSERT INTO crdt_docs (id,key,n) VALUES (7,{:s},1)", p)
			run(t, app, "INSERT INTO crdt_actors (id,key,user,device) VALUES (3,'k','','tablet')", nil)
			run(t, app, `INSERT INTO crdt_ops (doc,n,actor,seq,recv,hash,line) VALUES (7,1,3,1,1,x'00ff',CAST('{"v":"Jane Citizen"}' AS BLOB)), (7,2,3,2,1,x'00fe',CAST('{"v":"stays"}' AS BLOB))`, nil)
			w := manual(t, app, Config{DSN: dsn})
			if carriedBefore {
				drain(t, w)
			}
			run(t, app, "INSERT INTO crdt_redactions (doc,n,by_n) VALUES (7,1,2)", nil)
			run(t, app, `UPDATE crdt_ops SET q = q | 32, line = CAST('{"v":{"$redacted":"x"}}' AS BLOB) WHERE doc = 7 AND n = 1`, nil)
			run(t, app, `UPDATE test_sessions SET session_data = '{"remark":null}' WHERE id = {:s}`, p)
			var images int
			if err := app.DB().NewQuery("SELECT count(*) FROM _pgsync_log WHERE img LIKE '%Jane%'").Row(&images); err != nil || images != 0 {
				t.Errorf("%d images in the log of changes hold the value (%v)", images, err)
			}
			drain(t, w)
			mustEqual(t, app, dsn)
			conn := pg(t, dsn)
			if got := one[int](t, conn, "SELECT count(*)::int FROM fm_sync.journal WHERE img::text LIKE '%Jane%'"); got != 0 {
				t.Errorf("%d journal entries hold the value", got)
			}
			if got := one[int](t, conn, "SELECT count(*)::int FROM fm_sync.journal WHERE img::text LIKE '%stays%'"); got != 1 {
				t.Errorf("another operation's image: %d in the journal, want 1", got)
			}
			if got := one[string](t, conn, "SELECT line FROM fm_mirror.crdt_ops WHERE n = 1"); got != `{"v":{"$redacted":"x"}}` {
				t.Errorf("mirrored line: got %s", got)
			}
			// The control: the search finds the value where it still is.
			if _, err := conn.Exec(t.Context(), "UPDATE fm_sync.journal SET img = json_build_object('x', 'Jane') WHERE seq = (SELECT min(seq) FROM fm_sync.journal)", pgx.QueryExecModeExec); err != nil {
				t.Fatal(err)
			}
			if got := one[int](t, conn, "SELECT count(*)::int FROM fm_sync.journal WHERE img::text LIKE '%Jane%'"); got != 1 {
				t.Errorf("the search finds %d, want 1", got)
			}
		})
	}
}
