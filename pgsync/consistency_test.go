package pgsync

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"firemode/internal/pgtest"

	"github.com/jackc/pgx/v5"
	"github.com/pocketbase/dbx"
	"github.com/pocketbase/pocketbase/core"
)

// Whoever reads PostgreSQL sees states that SQLite really had: transfers between two rows keep their sum, and a child
// written with its parent is never there alone, in every snapshot taken while the mirror catches up and while it is live.
func TestOnlyCommittedStatesAreVisible(t *testing.T) {
	t.Parallel()
	app := smallApp(t)
	dsn := pgtest.Database(t)
	a, b := addParent(t, app, "a"), addParent(t, app, "b")
	run(t, app, "UPDATE parents SET v=100")
	transfer := func(i int) {
		err := app.RunInTransaction(func(tx core.App) error {
			run(t, tx, "UPDATE parents SET v=v-{:n} WHERE id={:id}", dbx.Params{"id": a, "n": i % 7})
			p := newID(t)
			run(t, tx, "INSERT INTO parents (id,name,v,tags) VALUES ({:id},'',0,'[]')", dbx.Params{"id": p})
			addKid(t, tx, p, "")
			run(t, tx, "UPDATE parents SET v=v+{:n} WHERE id={:id}", dbx.Params{"id": b, "n": i % 7})
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
	for i := range 50 {
		transfer(i)
	}
	w := started(t, app, Config{DSN: dsn, Poll: time.Millisecond})
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	conn := pg(t, dsn)
	var states atomic.Int64
	wg.Go(func() {
		last := int64(-1)
		for ctx.Err() == nil {
			seq, sum, parents, kids, err := snapshot(conn)
			if err != nil {
				continue // the tables are not there yet
			}
			if seq != last {
				last = seq
				states.Add(1)
			}
			if parents > 0 && (sum != 200 || parents != kids+2) {
				t.Errorf("at %d: sum %v, %d parents, %d kids", seq, sum, parents, kids)
				return
			}
		}
	})
	for i := 0; states.Load() < 8 && !t.Failed(); i++ { // the mirror goes on meanwhile, however busy the machine is
		if i == 10_000 {
			t.Error("the reader saw no progress")
		}
		transfer(i)
	}
	if err := w.WaitMirrored(deadline(t), logEnd(t, app)); err != nil {
		t.Fatal(err)
	}
	cancel()
	wg.Wait()
	mustEqual(t, app, dsn)
}

func snapshot(conn *pgx.Conn) (seq int64, sum float64, parents, kids int, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	err = conn.QueryRow(ctx, `SELECT (SELECT seq FROM fm_sync.origin), (SELECT coalesce(sum(v),0)::float8 FROM fm_mirror.parents),
		(SELECT count(*) FROM fm_mirror.parents), (SELECT count(*) FROM fm_mirror.kids)`).Scan(&seq, &sum, &parents, &kids)
	return seq, sum, parents, kids, err
}
