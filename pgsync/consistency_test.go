package pgsync

import (
	"context"
	"fmt"
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

// A backlog that is carried in several batches shows a state that SQLite had after each of them. A cut in the middle of a
// transaction, which the worker never records, would be seen.
func TestBacklogIsCarriedThroughCommittedStates(t *testing.T) {
	t.Parallel()
	for name, wrong := range map[string]bool{"recorded cuts": false, "a cut inside a transaction": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			broken, states := catchUpStates(t, wrong)
			if states < 4 {
				t.Errorf("%d states were looked at, want at least 4", states)
			}
			if (broken != "") != wrong {
				t.Errorf("seen: %q, want a broken state: %v", broken, wrong)
			}
		})
	}
}

// catchUpStates makes a backlog, with cuts that are recorded while somebody writes, carries it and returns the first state
// that SQLite never had.
func catchUpStates(t *testing.T, wrong bool) (broken string, states int) {
	app := smallApp(t)
	dsn := pgtest.Database(t)
	a, b := addParent(t, app, "a"), addParent(t, app, "b")
	run(t, app, "UPDATE parents SET v=100")
	w := manual(t, app, Config{DSN: dsn})
	drain(t, w)
	w.disconnect(deadline(t)) // from here on the log is a backlog

	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for { // in turn with the writer, at moments of its own
			select {
			case <-stop:
				return
			default:
				w.recordCut(deadline(t), logEnd(t, app))
			}
		}
	})
	const each = 40
	for i := range 4 * batchMaxRows / (2*each + 2) {
		err := app.RunInTransaction(func(tx core.App) error {
			run(t, tx, "UPDATE parents SET v=v-{:n} WHERE id={:id}", dbx.Params{"id": a, "n": i%7 + 1})
			for range each {
				p := newID(t)
				run(t, tx, "INSERT INTO parents (id,name,v,tags) VALUES ({:id},'',0,'[]')", dbx.Params{"id": p})
				addKid(t, tx, p, "")
			}
			run(t, tx, "UPDATE parents SET v=v+{:n} WHERE id={:id}", dbx.Params{"id": b, "n": i%7 + 1})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	wg.Wait()
	if wrong {
		run(t, app, "DELETE FROM _pgsync_cut")
		for seq := int64(1000); seq < logEnd(t, app); seq += 1000 {
			run(t, app, "INSERT INTO _pgsync_cut (seq,at) VALUES ({:s},0)", dbx.Params{"s": seq})
		}
	}
	conn := pg(t, dsn)
	last := int64(-1)
	for more := true; more; {
		var err error
		if more, err = w.step(deadline(t)); err != nil {
			t.Fatal(err)
		}
		seq, sum, parents, kids, err := snapshot(conn)
		if err != nil {
			t.Fatal(err)
		}
		if seq != last {
			states++
		}
		if last = seq; broken == "" && (sum != 200 || parents != kids+2) {
			broken = fmt.Sprintf("at %d: sum %v, %d parents, %d kids", seq, sum, parents, kids)
		}
	}
	mustEqual(t, app, dsn)
	return broken, states
}

func snapshot(conn *pgx.Conn) (seq int64, sum float64, parents, kids int, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	err = conn.QueryRow(ctx, `SELECT (SELECT seq FROM fm_sync.origin), (SELECT coalesce(sum(v),0)::float8 FROM fm_mirror.parents),
		(SELECT count(*) FROM fm_mirror.parents), (SELECT count(*) FROM fm_mirror.kids)`).Scan(&seq, &sum, &parents, &kids)
	return seq, sum, parents, kids, err
}
