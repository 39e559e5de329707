package pgsync

import (
	"strings"
	"testing"

	"firemode/internal/pgtest"
	"firemode/internal/testapp"

	"github.com/pocketbase/dbx"
	"github.com/pocketbase/pocketbase/core"
)

// The whole declared schema, with rows that existed before the mirror was armed and rows written later.
func TestRealSchemaArrivesWhole(t *testing.T) {
	t.Parallel()
	app := testapp.New(t, func(app core.App) { Register(app, Mirrored()) })
	dsn := pgtest.Database(t)
	org, user, building := newID(t), newID(t), newID(t)
	now := "2025-01-02 03:04:05.678Z"
	run(t, app, "INSERT INTO organisations (id,name,created_at,updated_at) VALUES ({:id},'Acme',{:now},{:now})", dbx.Params{"id": org, "now": now})
	if err := Arm(app, Mirrored()); err != nil {
		t.Fatal(err)
	}
	run(t, app, `INSERT INTO users (id,username,email,password,tokenKey,full_name,phone,phone_index,role,organisation_id,is_active,created_at,updated_at)
		VALUES ({:id},'ann','ann@example.com','$argon2id$canary-hash','canary-token-key',{:token},'','canary-index','inspector',{:org},TRUE,{:now},{:now})`,
		dbx.Params{"id": user, "org": org, "token": token, "now": now})
	run(t, app, `INSERT INTO buildings (id,name,address,building_type,owner_id,organisation_id,compliance_status,contact_name,metadata,created_at,updated_at)
		VALUES ({:id},'Tower','1 High St','9a','',{:org},'pending',{:token},'{"floors":[1,2]}',{:now},{:now})`,
		dbx.Params{"id": building, "org": org, "token": token, "now": now})
	run(t, app, "INSERT INTO crdt_docs (id,key,n) VALUES (7,{:key},1)", dbx.Params{"key": newID(t)})
	run(t, app, "INSERT INTO crdt_actors (id,key,user,device) VALUES (3,'k',{:user},'tablet')", dbx.Params{"user": user})
	run(t, app, `INSERT INTO crdt_ops (doc,n,actor,seq,recv,hash,line) VALUES (7,1,3,1,1735787045678,x'00ff',CAST('{"b":1, "a":"\u0000"}' AS BLOB))`)

	drain(t, manual(t, app, Config{DSN: dsn}))
	report := mustEqual(t, app, dsn)
	for table, want := range map[string]int64{"organisations": 1, "users": 1, "buildings": 1, "crdt_ops": 1, "defects": 0} {
		if got := rowsOf(t, report, table); got != want {
			t.Errorf("%s has %d rows in the mirror, want %d", table, got, want)
		}
	}
	conn := pg(t, dsn)
	for query, want := range map[string]string{
		"SELECT organisation_id::text FROM fm_mirror.users":                                             org,
		"SELECT full_name FROM fm_mirror.users":                                                         token,
		"SELECT (metadata->'floors'->>1) FROM fm_mirror.buildings WHERE metadata @> '{\"floors\":[2]}'": "2",
		"SELECT coalesce(owner_id::text,'null') FROM fm_mirror.buildings":                               "null",
		"SELECT line FROM fm_mirror.crdt_ops":                                                           `{"b":1, "a":"\u0000"}`,
		"SELECT pg_typeof(created_at)::text FROM fm_mirror.users":                                       "timestamp with time zone",
		"SELECT extract(epoch FROM created_at)::text FROM fm_mirror.users":                              "1735787045.678000",
	} {
		if got := one[string](t, conn, query); got != want {
			t.Errorf("%s = %q, want %q", query, got, want)
		}
	}
	// Nothing of these may be anywhere: not in columns, journal, quarantine or the log they come from.
	if got := one[int](t, conn, "SELECT count(*)::int FROM fm_sync.journal WHERE img::text LIKE '%canary%' OR convert_from(coalesce(img_raw,''),'UTF8') LIKE '%canary%'"); got != 0 {
		t.Errorf("%d journal entries hold a secret", got)
	}
	if got := one[int](t, conn, "SELECT count(*)::int FROM information_schema.columns WHERE table_schema='fm_mirror' AND column_name IN ('password','tokenKey','phone_index','tokens_valid_after')"); got != 0 {
		t.Errorf("%d secret columns are mirrored", got)
	}
	checkCatalog(t, dsn)
}

// checkCatalog looks at what PostgreSQL itself will enforce.
func checkCatalog(t *testing.T, dsn string) {
	t.Helper()
	conn := pg(t, dsn)
	for query, atLeast := range map[string]int{
		"SELECT count(*)::int FROM pg_constraint WHERE contype='f' AND condeferrable AND condeferred AND conname LIKE 'fm\\_fk%'":       25,
		"SELECT count(*)::int FROM pg_constraint WHERE contype='c' AND conname LIKE 'fm\\_ck%' AND convalidated":                        10,
		"SELECT count(*)::int FROM pg_constraint WHERE contype='u' AND condeferrable AND conname LIKE 'fm\\_uq%'":                       5,
		"SELECT count(*)::int FROM pg_constraint WHERE contype='x' AND conname LIKE 'fm\\_uq%'":                                         2,
		"SELECT count(*)::int FROM pg_indexes WHERE schemaname='fm_mirror' AND indexdef LIKE '%USING gin%jsonb_path_ops%'":              8,
		"SELECT count(*)::int FROM information_schema.columns WHERE table_schema='fm_mirror' AND column_name='id' AND data_type='uuid'": 12,
	} {
		if got := one[int](t, conn, query); got < atLeast {
			t.Errorf("%s = %d, want at least %d", query, got, atLeast)
		}
	}
	// Every jsonb column has its GIN index, every foreign key an index that starts with its columns.
	if got := one[string](t, conn, `SELECT coalesce(string_agg(c.table_name||'.'||c.column_name, ', '), '') FROM information_schema.columns c
		WHERE table_schema='fm_mirror' AND data_type='jsonb' AND NOT EXISTS (SELECT 1 FROM pg_indexes i WHERE i.schemaname='fm_mirror'
		AND i.tablename=c.table_name AND i.indexdef LIKE '%USING gin ('||c.column_name||' %')`); got != "" {
		t.Errorf("jsonb without GIN: %s", got)
	}
	if got := one[string](t, conn, `SELECT coalesce(string_agg(k.conname, ', '), '') FROM pg_constraint k WHERE contype='f' AND conname LIKE 'fm\_fk%'
		AND NOT EXISTS (SELECT 1 FROM pg_index x WHERE x.indrelid=k.conrelid AND x.indkey::int2[] @> k.conkey)`); got != "" {
		t.Errorf("foreign keys without index: %s", got)
	}
	for _, write := range []string{
		"UPDATE fm_mirror.buildings SET compliance_status='fine'",
		"UPDATE fm_mirror.users SET phone='0412 345 678'",
		"DELETE FROM fm_mirror.organisations",
	} {
		if _, err := conn.Exec(deadline(t), write); err == nil || classify(err) != classData {
			t.Errorf("%s: %v, want it refused", write, err)
		}
	}
}

func TestHiddenAndSecretFieldsStayInSQLite(t *testing.T) {
	t.Parallel()
	app := smallApp(t)
	addParent(t, app, "p")
	var images string
	if err := app.DB().NewQuery("SELECT group_concat(img) FROM _pgsync_log").Row(&images); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(images, "canary-hidden") {
		t.Error("a hidden field is in the log")
	}
	if !strings.Contains(images, token) {
		t.Error("the sealed field is not in the log")
	}
}
