package pgsync

import (
	"database/sql"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"firemode/internal/sqlite"
)

// modelSchema has what makes capture hard: a unique column that REPLACE deletes by, and a cascade.
const modelSchema = `CREATE TABLE p(id TEXT PRIMARY KEY NOT NULL, u TEXT UNIQUE, v INTEGER);
CREATE TABLE k(id TEXT PRIMARY KEY NOT NULL, p TEXT REFERENCES p(id) ON DELETE CASCADE ON UPDATE CASCADE, v REAL);
CREATE TABLE _pgsync_log(seq INTEGER PRIMARY KEY AUTOINCREMENT, coll TEXT NOT NULL, pk TEXT NOT NULL, op INTEGER NOT NULL,
	at INTEGER NOT NULL, nonce INTEGER NOT NULL, img TEXT);`

var modelTables = []*Table{
	{Coll: "cp", Name: "p", Columns: []Column{{Field: "u", Name: "u", Kind: KindText}, {Field: "v", Name: "v", Kind: KindInteger}}},
	{Coll: "ck", Name: "k", Columns: []Column{{Field: "p", Name: "p", Kind: KindText}, {Field: "v", Name: "v", Kind: KindNumber}}},
}

// mutation of the capture that the model must notice.
type mutation struct {
	insert string // first words of the trigger body
	schema string // appended to the schema
	pragma string
}

// runModel runs random SQL and, after each step, replays the log of that step over a copy of the tables kept aside. It
// returns the first difference between that copy and the tables, or "".
func runModel(t *testing.T, seed uint64, steps int, m mutation) string {
	t.Helper()
	db, err := sqlite.Connect(filepath.Join(t.TempDir(), "m.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	raw := db.DB()
	raw.SetMaxOpenConns(1)
	must := func(query string) {
		t.Helper()
		if _, err := raw.Exec(query); err != nil {
			t.Fatalf("%s: %v", query, err)
		}
	}
	must("PRAGMA synchronous=OFF")
	must(modelSchema + m.schema)
	if m.pragma != "" {
		must(m.pragma)
	}
	for _, table := range modelTables {
		for _, tr := range table.triggersWith(m.insert) {
			must(tr.sql)
		}
	}
	rnd := rand.New(rand.NewPCG(seed, 1))
	shadow := map[string]string{}
	var position int64
	for range steps {
		script := randomStatements(rnd)
		_, _ = raw.Exec(script) // conflicts are part of it: what a failed statement left must be in the log as well
		_, _ = raw.Exec("ROLLBACK")
		if position, err = replay(raw, position, shadow); err != nil {
			t.Fatal(err)
		}
		if diff := compareShadow(t, raw, shadow); diff != "" {
			return fmt.Sprintf("seed %d: after %s: %s", seed, script, diff)
		}
	}
	return ""
}

func randomStatements(rnd *rand.Rand) string {
	id := func() string { return fmt.Sprintf("'%c'", 'a'+rnd.IntN(8)) }
	unique := func() string { return fmt.Sprintf("'u%d'", rnd.IntN(6)) }
	or := func() string {
		return []string{"", "", " OR REPLACE", " OR IGNORE", " OR ROLLBACK", " OR FAIL", " OR ABORT"}[rnd.IntN(7)]
	}
	one := func() string {
		switch rnd.IntN(12) {
		case 0, 1, 2:
			return fmt.Sprintf("INSERT%s INTO p VALUES(%s,%s,%d)", or(), id(), unique(), rnd.IntN(9))
		case 3:
			return fmt.Sprintf("INSERT%s INTO k VALUES(%s,%s,%g)", or(), id(), id(), rnd.Float64())
		case 4:
			return fmt.Sprintf("UPDATE%s p SET u=%s WHERE id IN (%s,%s)", or(), unique(), id(), id())
		case 5:
			return fmt.Sprintf("UPDATE%s p SET id=%s WHERE id=%s", or(), id(), id())
		case 6:
			return fmt.Sprintf("UPDATE%s k SET v=v+1, p=%s", or(), id())
		case 7:
			return fmt.Sprintf("DELETE FROM p WHERE id=%s", id())
		case 8:
			if rnd.IntN(4) == 0 {
				return "DELETE FROM k"
			}
			return fmt.Sprintf("DELETE FROM k WHERE id=%s", id())
		case 9:
			return fmt.Sprintf("INSERT INTO p VALUES(%s,%s,1) ON CONFLICT DO UPDATE SET v=v+1, u=excluded.u", id(), unique())
		case 10:
			return fmt.Sprintf("INSERT INTO p VALUES(%s,%s,1) ON CONFLICT(id) DO NOTHING", id(), unique())
		}
		return fmt.Sprintf("UPDATE%s p SET v=v+1", or())
	}
	var list []string
	for range 1 + rnd.IntN(4) {
		list = append(list, one())
	}
	switch rnd.IntN(5) {
	case 0:
		return "BEGIN; " + strings.Join(list, "; ") + "; COMMIT"
	case 1:
		return "BEGIN; " + strings.Join(list, "; ") + "; ROLLBACK"
	case 2:
		return "BEGIN; " + one() + "; SAVEPOINT s; " + strings.Join(list, "; ") + "; ROLLBACK TO s; " + one() + "; RELEASE s; COMMIT"
	}
	return strings.Join(list, "; ")
}

// replay applies the log after position to the shadow and checks that it has no gap.
func replay(db *sql.DB, position int64, shadow map[string]string) (int64, error) {
	rows, err := db.Query("SELECT seq, coll, pk, op, coalesce(img,'') FROM _pgsync_log WHERE seq>? ORDER BY seq", position)
	if err != nil {
		return position, err
	}
	defer rows.Close()
	for rows.Next() {
		var seq int64
		var coll, pk, img string
		var op int
		if err := rows.Scan(&seq, &coll, &pk, &op, &img); err != nil {
			return position, err
		}
		if seq != position+1 {
			return position, fmt.Errorf("entry %d follows entry %d", seq, position)
		}
		if op == opDelete {
			delete(shadow, coll+"/"+pk)
		} else {
			shadow[coll+"/"+pk] = img
		}
		position = seq
	}
	return position, rows.Err()
}

func compareShadow(t *testing.T, db *sql.DB, shadow map[string]string) string {
	t.Helper()
	real := map[string]string{}
	for _, table := range modelTables {
		rows, err := db.Query("SELECT " + table.keyExpr("") + ", " + table.imageExpr("") + " FROM " + table.Name)
		if err != nil {
			t.Fatal(err)
		}
		for rows.Next() {
			var pk, img string
			if err := rows.Scan(&pk, &img); err != nil {
				t.Fatal(err)
			}
			real[table.Coll+"/"+pk] = img
		}
		rows.Close()
	}
	for key, img := range real {
		if shadow[key] != img {
			return fmt.Sprintf("row %s is %s, the log says %q", key, img, shadow[key])
		}
	}
	for key := range shadow {
		if _, ok := real[key]; !ok {
			return fmt.Sprintf("row %s is gone, the log says it is there", key)
		}
	}
	return ""
}

func TestEveryCommittedChangeIsLogged(t *testing.T) {
	t.Parallel()
	for seed := uint64(1); seed <= 2; seed++ {
		if diff := runModel(t, seed, 250, mutation{insert: logInsert}); diff != "" {
			t.Error(diff)
		}
	}
}

// The model is worth something only when it notices captures that lose changes.
func TestTheModelNoticesLossyCapture(t *testing.T) {
	t.Parallel()
	for name, m := range map[string]mutation{
		"conflict policy in the body": {insert: "INSERT OR REPLACE", schema: "CREATE UNIQUE INDEX one_per_row ON _pgsync_log(coll,pk);"},
		"no recursive triggers":       {insert: logInsert, pragma: "PRAGMA recursive_triggers=OFF"},
	} {
		found := false
		for seed := uint64(1); seed <= 10 && !found; seed++ {
			found = runModel(t, seed, 200, m) != ""
		}
		if !found {
			t.Errorf("%s: nothing was noticed in 2,000 steps", name)
		}
	}
}

// seq has no gaps even over rolled back transactions, which is why a plain cursor over it misses nothing.
func TestTheLogHasNoGaps(t *testing.T) {
	t.Parallel()
	app := smallApp(t)
	db := rawDB(t, filepath.Join(app.DataDir(), "data.db"))
	parent := addParent(t, app, "p")
	for i := range 20 {
		tx, err := db.Begin()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tx.Exec("INSERT INTO kids (id,parent) VALUES (?,?)", newID(t), parent); err != nil {
			t.Fatal(err)
		}
		if i%2 == 0 {
			err = tx.Rollback()
		} else {
			err = tx.Commit()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	var count, last int64
	if err := db.QueryRow("SELECT count(*), max(seq) FROM _pgsync_log").Scan(&count, &last); err != nil {
		t.Fatal(err)
	}
	if count != last {
		t.Errorf("%d entries, last number %d", count, last)
	}
}
