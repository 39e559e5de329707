package pgsync

import (
	"testing"

	"firemode/internal/pgtest"
)

// Rows that somebody added by hand to a plain table go with the next comparison, wherever their keys sort; the others stay.
func TestExtraRowsOfPlainTablesGo(t *testing.T) {
	t.Parallel()
	app := logApp(t)
	dsn := pgtest.Database(t)
	setHead(t, app, 3, 2500)
	// More than two pieces, the bytes of each beyond what is read at once.
	run(t, app, `INSERT INTO crdt_ops (doc,n,actor,seq,recv,hash,line)
		WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c WHERE i<2500) SELECT 7,i,3,i,1,x'00ff',CAST('"'||hex(zeroblob(3000))||'"' AS BLOB) FROM c`)
	w := manual(t, app, Config{DSN: dsn})
	drain(t, w)
	conn := pg(t, dsn)
	for _, id := range []string{"", "0/1", "7/1000000", "7/15x", "zz", "07/1", "7/1/1"} {
		pgExec(t, conn, `INSERT INTO fm_mirror.crdt_ops (_origin, id, _ver, _at, _hash, doc, n, actor, line) VALUES (1, $1, 1, now(), '', '7', 1, '3', 'by hand')`, id)
	}
	report, err := Verify(deadline(t), app, dsn)
	if err != nil || report.Equal {
		t.Fatalf("verify with rows by hand: equal %v, %v", report.Equal, err)
	}
	if _, _, err := Reconcile(app, Mirrored(), "crdt_ops"); err != nil {
		t.Fatal(err)
	}
	setHead(t, app, 4, 1)
	addOps(t, app, 4, 2501, 1, 1) // comes meanwhile
	drain(t, w)
	if report := mustEqual(t, app, dsn); rowsOf(t, report, "crdt_ops") != 2501 {
		t.Errorf("got %d operations, want 2501", rowsOf(t, report, "crdt_ops"))
	}
	if got := one[string](t, conn, "SELECT rows || ' ' || diffs || ' ' || repaired FROM fm_sync.reconcile_run WHERE mode='repair' AND ended IS NOT NULL"); got != "2501 7 7" {
		t.Errorf("the comparison's line: got %s, want 2501 rows, 7 differing and repaired", got)
	}
}
