package pgsync

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"firemode/collections"
	"firemode/internal/pgtest"
	"firemode/internal/testapp"

	"github.com/jackc/pgx/v5"
	"github.com/pocketbase/dbx"
	"github.com/pocketbase/pocketbase/core"
)

// A value that was erased in SQLite is in no older image either: not in the log that waits for PostgreSQL, not in its
// journal and not in its history, whether it was carried before the erasure or not.
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
				run(t, app, `UPDATE test_sessions SET session_name='Yearly', session_data='{"remark":"Jane Citizen","n":2}'`, nil)
				drain(t, w)
			}
			run(t, app, "INSERT INTO crdt_redactions (doc,n,by_n) VALUES (7,1,2)", nil)
			run(t, app, `UPDATE crdt_ops SET q = q | 32, line = CAST('{"v":{"$redacted":"x"}}' AS BLOB) WHERE doc = 7 AND n = 1`, nil)
			run(t, app, `UPDATE test_sessions SET session_data = '{"remark":null}' WHERE id = {:s}`, p)
			redacted := logEnd(t, app)
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
			// Two versions with the value were superseded, one before the redaction and one by it.
			versions := 0
			if carriedBefore {
				versions = 2
			}
			const stood = "SELECT count(*)::int FROM fm_hist.test_sessions h WHERE session_name IN ('Annual', 'Yearly') AND to_jsonb(h)::text LIKE $1"
			if got := one[int](t, conn, stood, "%"); got != versions {
				t.Errorf("%d superseded versions, want %d", got, versions)
			}
			if got := one[int](t, conn, stood, "%Jane%"); got != 0 {
				t.Errorf("%d superseded versions hold the value", got)
			}
			run(t, app, `UPDATE test_sessions SET session_data = '{"remark":"later"}' WHERE id = {:s}`, p)
			drain(t, w)
			run(t, app, `UPDATE test_sessions SET session_data = '{"remark":"last"}' WHERE id = {:s}`, p)
			drain(t, w)
			// The same redaction once more takes nothing from versions that came after it.
			if err := w.ses.attempt(t.Context(), w.ses.pos, 0, false, func(x *txn) error {
				x.erased = []erasure{{session, x.ver(redacted)}}
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			if got := one[int](t, conn, stood, "%later%"); got != 1 {
				t.Errorf("a version from after the redaction: %d in the history, want 1", got)
			}
			// The control: the search finds the value where it still is.
			pgExec(t, conn, `UPDATE fm_hist.test_sessions SET session_data = '{"remark":"Jane"}'`)
			if one[int](t, conn, stood, "%Jane%") == 0 {
				t.Error("the search does not find the value")
			}
			if _, err := conn.Exec(t.Context(), "UPDATE fm_sync.journal SET img = json_build_object('x', 'Jane') WHERE seq = (SELECT min(seq) FROM fm_sync.journal)", pgx.QueryExecModeExec); err != nil {
				t.Fatal(err)
			}
			if got := one[int](t, conn, "SELECT count(*)::int FROM fm_sync.journal WHERE img::text LIKE '%Jane%'"); got != 1 {
				t.Errorf("the search finds %d, want 1", got)
			}
		})
	}
}

// Older images are found by an index, in the log of changes and in the journal: a redaction holds up every other write
// meanwhile, and a walk of a journal of years would not end within a batch's time.
func TestErasingWalksNoLog(t *testing.T) {
	t.Parallel()
	app := testapp.New(t, func(app core.App) { Register(app, Mirrored()) })
	dsn := pgtest.Database(t)
	if err := Arm(app, Mirrored()); err != nil {
		t.Fatal(err)
	}
	// The statements of the triggers, as they stand in the schema.
	for name, index := range map[string]string{"_pgsync_erase_document": "_pgsync_log_sessions", "_pgsync_erase_operation": "_pgsync_log_operations"} {
		text, err := objectSQL(app, name)
		if err != nil {
			t.Fatal(err)
		}
		_, statement, _ := strings.Cut(text, "BEGIN ")
		statement = regexp.MustCompile(`\bNEW\.\w+`).ReplaceAllString(strings.TrimSuffix(statement, "; END"), "1")
		var plan []struct {
			Detail string `db:"detail"`
		}
		if err := app.NonconcurrentDB().NewQuery("EXPLAIN QUERY PLAN " + statement).All(&plan); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
		if got := fmt.Sprint(plan); !strings.Contains(got, "USING INDEX "+index) || strings.Contains(got, "SCAN _pgsync_log") {
			t.Errorf("%s: got plan %s, want index %s", name, got, index)
		}
	}
	w := manual(t, app, Config{DSN: dsn})
	drain(t, w)
	conn := pg(t, dsn)
	for _, statement := range []string{
		`INSERT INTO fm_sync.journal (origin, epoch, seq, coll, pk, op, at, img)
			SELECT 1, 1, i, CASE i % 3 WHEN 0 THEN 'crdt_ops' WHEN 1 THEN 'sessions' ELSE 'other' END, i::text, 1, now(), '{}' FROM generate_series(1000, 40000) i`,
		"ANALYZE fm_sync.journal",
		`INSERT INTO fm_hist.test_sessions (_origin, id, _ver, _ver_to, _op, _valid, session_data)
			SELECT 1, gen_random_uuid(), i, i + 1, 2, 'empty', '{}' FROM generate_series(1, 40000) i`,
		"ANALYZE fm_hist.test_sessions",
	} {
		if _, err := conn.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	sessions := w.ses.reg.table(mustCollection(t, app, collections.TestSessions).Id)
	for name, row := range map[string]struct {
		statement string
		args      []any
		indexed   bool
	}{
		"rows":        {sqlEraseRows, []any{1, "crdt_ops", []string{"1002", "1005"}, []int64{50_000, 50_000}, epochShift}, true},
		"erasures":    {sqlErasures, []any{1, "crdt_ops", []string{"1002", "1005"}, opUpdate, epochShift}, true},
		"versions":    {sessions.history().eraseDocuments("session_data = NULL", "h._ver < e.ver"), []any{1, []string{nowhere, nowhere}, []int64{50_000, 50_000}}, true},
		"the control": {"UPDATE fm_sync.journal SET img = NULL WHERE (epoch, seq) < ($1, $2) AND pk = $3", []any{1, 50_000, "7"}, false},
	} {
		rows, err := conn.Query(t.Context(), "EXPLAIN "+row.statement, row.args...)
		if err != nil {
			t.Fatal(err)
		}
		lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			t.Fatal(err)
		}
		plan := strings.Join(lines, "\n")
		byRow := regexp.MustCompile(`Index Cond: \(\(origin = .*coll = .*pk = |Index Cond: \(\(_origin = .*id = CASE `).MatchString(plan)
		if byRow != row.indexed {
			t.Errorf("%s: by the index of rows: %t, want %t:\n%s", name, byRow, row.indexed, plan)
		}
	}
}
