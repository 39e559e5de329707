package pgsync

import (
	"context"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"firemode/internal/pgtest"

	"github.com/pocketbase/dbx"
	"github.com/pocketbase/pocketbase/core"
)

// gate stops a worker as the scheduler may: between two instructions, here before it sends anything.
type gate struct {
	mu   sync.Mutex
	open chan struct{} // closed while the worker may go on
}

func newGate() *gate {
	g := &gate{open: make(chan struct{})}
	close(g.open)
	return g
}

func (g *gate) stop() { g.mu.Lock(); g.open = make(chan struct{}); g.mu.Unlock() }
func (g *gate) goOn() { g.mu.Lock(); close(g.open); g.mu.Unlock() }

func (g *gate) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := plainDial(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	return &wireConn{Conn: conn, onUp: func(b []byte) (int, error) {
		g.mu.Lock()
		open := g.open
		g.mu.Unlock()
		<-open
		return len(b), nil
	}}, nil
}

// startedAs starts a worker as another node, as if the same log lay on another machine.
func startedAs(t *testing.T, app core.App, cfg Config, node string) *Worker {
	t.Helper()
	w, err := New(app, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.prepare(deadline(t)); err != nil {
		t.Fatal(err)
	}
	w.node, w.done = node, make(chan struct{})
	ctx, cancel := context.WithCancel(context.Background())
	w.cancel = cancel
	go w.run(ctx)
	return w
}

// Five nodes want the mirror. Whoever has it is stopped for longer than its lease, again and again, and goes on in the
// belief that it still has it: every entry is carried once.
func TestFiveNodesCarryEveryEntryOnce(t *testing.T) {
	t.Parallel()
	seed, rounds := rand.Uint64(), 8
	if soak() {
		rounds = 300
	}
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	app := smallApp(t)
	dsn := pgtest.Database(t)
	parent := addParent(t, app, "p")
	gates := map[string]*gate{}
	var workers []*Worker
	for range 5 {
		node, g := newID(t), newGate()
		gates[node] = g
		workers = append(workers, startedAs(t, app, Config{DSN: dsn, Dial: g.dial, Lease: 150 * time.Millisecond, Poll: time.Millisecond,
			BackoffMax: 20 * time.Millisecond, HoldRetry: 20 * time.Millisecond}, node))
	}
	finish := meanwhile(t, 5*time.Millisecond, func(i int) {
		run(t, app, "UPDATE parents SET v={:i} WHERE id={:p}", dbx.Params{"i": i, "p": parent})
	})
	eventually(t, "the mirror exists", func() bool { _, err := number(t, dsn, "SELECT seq FROM fm_sync.origin"); return err == nil })
	conn := pg(t, dsn)
	for range rounds {
		end := logEnd(t, app) + int64(rnd.IntN(10))
		eventually(t, "somebody carries", func() bool { return one[int64](t, conn, "SELECT seq FROM fm_sync.origin") >= end })
		holder := one[string](t, conn, "SELECT node::text FROM fm_sync.origin")
		gates[holder].stop()
		end = logEnd(t, app) + int64(rnd.IntN(10))
		eventually(t, "another node has the lease and carries", func() bool {
			return one[bool](t, conn, "SELECT node <> $1::text::uuid AND seq >= $2 FROM fm_sync.origin", holder, end)
		})
		gates[holder].goOn()
	}
	finish()
	mustEqual(t, app, dsn)
	journalEqualsLog(t, app, conn)
	if term := one[int](t, conn, "SELECT term::int FROM fm_sync.origin"); term <= rounds {
		t.Errorf("term %d after %d take-overs", term, rounds)
	}
	for _, w := range workers {
		w.Stop()
	}
}

// A lease is counted by PostgreSQL's clock alone: what the clocks of the clients say goes into the log, and neither
// lengthens nor shortens it.
func TestLeaseKnowsNoClientClock(t *testing.T) {
	t.Parallel()
	app := smallApp(t)
	dsn := pgtest.Database(t)
	conn := pg(t, dsn)
	w := manual(t, app, Config{DSN: dsn, Lease: 30 * time.Second})
	drain(t, w)
	const year = 365 * 24 * time.Hour
	for name, skew := range map[string]time.Duration{"fast": 10 * year, "slow": -10 * year} {
		addParent(t, app, name)
		run(t, app, "UPDATE _pgsync_log SET at=at+{:s}", dbx.Params{"s": skew.Milliseconds()})
		for step, act := range map[string]func() error{
			"carry": func() error { _, err := w.step(deadline(t)); return err },
			"renew": func() error { return w.ses.renew(deadline(t)) },
			"claim": func() error { w.disconnect(deadline(t)); _, err := w.step(deadline(t)); return err },
		} {
			if err := act(); err != nil {
				t.Fatalf("%s with a %s clock: %v", step, name, err)
			}
			left := one[float64](t, conn, "SELECT extract(epoch FROM lease_until - clock_timestamp())::float8 FROM fm_sync.origin")
			if left <= 0 || left > 30 {
				t.Errorf("%s with a %s clock: the lease has %.0f s left, want 0 to 30", step, name, left)
			}
		}
		drain(t, w)
		if got := one[bool](t, conn, "SELECT abs(extract(epoch FROM cut_at - clock_timestamp())) > 31536000 FROM fm_sync.origin"); !got {
			t.Errorf("the %s clock is not to be seen: the test proves nothing", name)
		}
		run(t, app, "UPDATE _pgsync_log SET at=at-{:s}", dbx.Params{"s": skew.Milliseconds()})
	}
	// Nothing but durations, identities and positions goes into the statements of the lease.
	for name, statement := range map[string]string{"claim": sqlClaim, "renew": sqlRenew} {
		for _, word := range []string{"timestamp '", "::timestamp", "to_timestamp"} {
			if strings.Contains(statement, word) {
				t.Errorf("%s takes a time from its client: %s", name, statement)
			}
		}
	}
}
