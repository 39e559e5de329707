//go:build !race

package pgsync

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"firemode/internal/pgtest"

	"github.com/jackc/pgx/v5"
	"github.com/pocketbase/dbx"
	"github.com/pocketbase/pocketbase/core"
)

// places are where in a batch of five rows the refused ones are.
var places = map[string]string{"first": "x....", "in the middle": "..x..", "last": "....x", "two at once": ".x.x.", "all": "xxxxx", "alone": "x"}

// A row of any class is refused at any place of a batch, alone or not, and it alone.
func TestPoisonAtEveryPlaceOfABatch(t *testing.T) {
	t.Parallel()
	for place, batch := range places {
		t.Run(place, func(t *testing.T) {
			t.Parallel()
			app := smallApp(t)
			dsn := pgtest.Database(t)
			w := manual(t, app, Config{DSN: dsn})
			conn := pg(t, dsn)
			home := addParent(t, app, "home")
			for _, tc := range poisons {
				refused := map[string]string{}
				err := app.RunInTransaction(func(tx core.App) error {
					for _, c := range batch {
						id := addParent(t, tx, "p")
						if strings.HasPrefix(tc.poison, "UPDATE kids") {
							id = addKid(t, tx, home, newID(t))
						}
						if c == 'x' {
							run(t, tx, tc.poison+" WHERE id={:id}", dbx.Params{"id": id})
							refused[id] = tc.state
						}
					}
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
				drain(t, w)
				quarantineIs(t, conn, tc.name, refused)
				mustEqual(t, app, dsn)
				for id := range refused {
					run(t, app, tc.mend+" WHERE id={:id}", dbx.Params{"id": id})
					if strings.Contains(tc.mend, "'short'") { // a unique value
						run(t, app, "UPDATE kids SET email={:id} WHERE id={:id}", dbx.Params{"id": id})
					}
				}
				drain(t, w)
				quarantineIs(t, conn, tc.name+", mended", nil)
			}
			mustEqual(t, app, dsn)
			journalCounts(t, app, conn)
		})
	}
}

// quarantineIs compares the quarantine with the rows and states that should be there.
func quarantineIs(t *testing.T, conn *pgx.Conn, when string, want map[string]string) {
	t.Helper()
	rows, err := conn.Query(deadline(t), "SELECT pk, sqlstate FROM fm_sync.quarantine")
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	var pk, state string
	if _, err := pgx.ForEachRow(rows, []any{&pk, &state}, func() error { got[pk] = state; return nil }); err != nil {
		t.Fatal(err)
	}
	if !maps.Equal(got, want) {
		t.Errorf("%s: quarantine = %v, want %v", when, got, want)
	}
}

// journalCounts is what can be said of a journal whose entries were redacted: none is missing.
func journalCounts(t *testing.T, app core.App, conn *pgx.Conn) {
	t.Helper()
	if got, want := one[int64](t, conn, "SELECT count(*) FROM fm_sync.journal"), logEnd(t, app); got != want {
		t.Errorf("the journal has %d entries, the log %d", got, want)
	}
}

// Whatever is written in whatever order, good rows are in their tables and refused ones in quarantine: each row of the
// source is in exactly one of them.
func TestTablesAndQuarantineTogetherAreTheSource(t *testing.T) {
	t.Parallel()
	seed, rounds := rand.Uint64(), 12
	if soak() {
		rounds = 400
	}
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	app := smallApp(t)
	dsn := pgtest.Database(t)
	w := manual(t, app, Config{DSN: dsn})
	conn := pg(t, dsn)
	home := addParent(t, app, "home")
	poisoned := map[string]string{} // row to state
	mends := map[string]string{}    // row to statement
	var rows []string
	kids := map[string]bool{}
	for range rounds {
		err := app.RunInTransaction(func(tx core.App) error {
			for range 1 + rnd.IntN(30) {
				switch n := rnd.IntN(10); {
				case n < 3 || len(rows) == 0:
					rows = append(rows, addParent(t, tx, "p"))
				case n < 5:
					id := addKid(t, tx, home, newID(t))
					rows, kids[id] = append(rows, id), true
				case n < 8:
					id, p := rows[rnd.IntN(len(rows))], poisons[rnd.IntN(len(poisons))]
					if poisoned[id] == "" && kids[id] == strings.HasPrefix(p.poison, "UPDATE kids") {
						run(t, tx, p.poison+" WHERE id={:id}", dbx.Params{"id": id})
						poisoned[id], mends[id] = p.state, strings.Replace(p.mend, "'short'", "id", 1)
					}
				case n < 9 && len(poisoned) > 0:
					id := slices.Sorted(maps.Keys(poisoned))[rnd.IntN(len(poisoned))]
					run(t, tx, mends[id]+" WHERE id={:id}", dbx.Params{"id": id})
					delete(poisoned, id)
				default:
					i := rnd.IntN(len(rows))
					run(t, tx, "DELETE FROM parents WHERE id={:id}", dbx.Params{"id": rows[i]})
					run(t, tx, "DELETE FROM kids WHERE id={:id}", dbx.Params{"id": rows[i]})
					delete(poisoned, rows[i])
					rows = slices.Delete(rows, i, i+1)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		drain(t, w)
		quarantineIs(t, conn, fmt.Sprint("seed ", seed), poisoned)
		good := len(rows) + 1 - len(poisoned)
		fresh := one[int](t, conn, "SELECT ((SELECT count(*) FROM fm_mirror.parents WHERE NOT _stale) + (SELECT count(*) FROM fm_mirror.kids WHERE NOT _stale))::int")
		if fresh != good {
			t.Errorf("seed %d: %d good rows, %d in the tables", seed, good, fresh)
		}
		if mustEqual(t, app, dsn); t.Failed() {
			return
		}
	}
	journalCounts(t, app, conn)
}
