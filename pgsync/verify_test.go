package pgsync

import (
	"context"
	"errors"
	"testing"
	"time"

	"firemode/internal/pgtest"
)

// Every way in which one value can differ is found, in exactly the row where it is.
func TestVerifyFindsEveryDifference(t *testing.T) {
	t.Parallel()
	app := smallApp(t)
	dsn := pgtest.Database(t)
	parent := addParent(t, app, "p")
	addParent(t, app, "other")
	addKid(t, app, parent, "k")
	drain(t, manual(t, app, Config{DSN: dsn}))
	if r := mustEqual(t, app, dsn); !r.Equal {
		t.Fatalf("fresh mirror: %+v", r)
	}
	conn := pg(t, dsn)
	for _, damage := range []string{
		"name='P'", "name=''", "v=v+0.0000000001", "v='Infinity'", "kind=''", `tags='["z","x"]'`, `tags='[]'`,
		`meta='{"k":[1,2.51,"ü"]}'`, `meta='{"k":[1,2.50,"u"]}'`, "meta=NULL", "meta='null'", "seen=seen+interval '1 millisecond'",
		"seen=seen+interval '11 hours'", "seen=NULL", "ok=false", "secret=''", "secret=replace(secret,'Zm','Zn')",
	} {
		// One value changed, the stored hash left as it was.
		pgExec(t, conn, "UPDATE fm_mirror.parents SET "+damage+" WHERE id=$1", parent)
		r, err := Verify(deadline(t), app, dsn)
		if err != nil {
			t.Fatal(err)
		}
		found := 0
		for _, table := range r.Tables {
			found += int(table.Differing)
			if table.Differing > 0 && (table.Differences[0] != parent+" differs" || table.SourceRoot == table.MirrorRoot) {
				t.Errorf("%s: %+v", damage, table)
			}
		}
		if found != 1 || r.Equal {
			t.Errorf("%s: %d differences, want 1", damage, found)
		}
		pgExec(t, conn, `UPDATE fm_mirror.parents SET name='p', v=1.5, kind='a', tags='["x","z"]', meta='{"k":[1,2.50,"ü"]}',
			seen='2025-03-30 01:02:03.456Z', ok=true, secret=$2 WHERE id=$1`, parent, token)
	}
	pgExec(t, conn, "DELETE FROM fm_mirror.kids")
	pgExec(t, conn, "INSERT INTO fm_mirror.kids (_origin,id,_ver,_at,_hash) VALUES (1,gen_random_uuid(),1,now(),'')")
	r, err := Verify(deadline(t), app, dsn)
	if err != nil || r.Equal {
		t.Fatalf("verify: %+v, %v", r, err)
	}
}

// Verify waits for the mirror, and says so when it does not come.
func TestVerifyWaitsForTheMirror(t *testing.T) {
	t.Parallel()
	app := smallApp(t)
	dsn := pgtest.Database(t)
	addParent(t, app, "p")
	ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
	defer cancel()
	if _, err := Verify(ctx, app, dsn); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("verify without a worker: %v, want deadline exceeded", err)
	}
	w := started(t, app, Config{DSN: dsn})
	mustEqual(t, app, dsn)
	// A worker that stops carries what was committed before.
	for range 50 {
		addParent(t, app, "at the last moment")
	}
	w.Stop()
	mustEqual(t, app, dsn)
	// Afterwards nobody does, and Verify does not wait for ever.
	addParent(t, app, "too late")
	if _, err := Verify(deadline(t), app, dsn); !errors.Is(err, ErrNotFed) {
		t.Errorf("verify after the worker's end: %v, want %v", err, ErrNotFed)
	}
}

// A table that PostgreSQL does not list, or lists with other columns, is not equal by not being compared.
func TestVerifyNeedsEveryTable(t *testing.T) {
	t.Parallel()
	app := smallApp(t)
	dsn := pgtest.Database(t)
	addKid(t, app, addParent(t, app, "p"), "k")
	drain(t, manual(t, app, Config{DSN: dsn}))
	conn := pg(t, dsn)
	for _, damage := range []string{
		"DELETE FROM fm_sync.collection WHERE shape->>'name'='kids'",
		"UPDATE fm_sync.collection SET shape=replace(shape::text,'\"note\"','\"memo\"')::json WHERE shape->>'name'='kids'",
		"INSERT INTO fm_sync.collection (origin,coll,shape) SELECT origin,'other',replace(shape::text,coll,'other')::json FROM fm_sync.collection WHERE shape->>'name'='kids'",
	} {
		if r := mustEqual(t, app, dsn); !r.Equal {
			t.Fatalf("before: %+v", r)
		}
		pgExec(t, conn, "CREATE TABLE aside AS TABLE fm_sync.collection")
		pgExec(t, conn, damage)
		if r, err := Verify(deadline(t), app, dsn); heldReason(err) != holdControl {
			t.Errorf("%s: equal %t, %v; want held(%s)", damage, r.Equal, err, holdControl)
		}
		pgExec(t, conn, "DELETE FROM fm_sync.collection")
		pgExec(t, conn, "INSERT INTO fm_sync.collection TABLE aside")
		pgExec(t, conn, "DROP TABLE aside")
	}
}
