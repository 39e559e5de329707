package pgsync

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"firemode/internal/pgtest"

	"github.com/pocketbase/dbx"
)

// faultConn breaks the connection after a number of bytes in one direction, at an exact place that a proxy between the
// two could not choose.
type faultConn struct {
	net.Conn
	up, down       atomic.Int64 // bytes left; negative: no limit
	sent, received atomic.Int64
	once           sync.Once
}

func (c *faultConn) cut() { c.once.Do(func() { c.Conn.Close() }) }

func (c *faultConn) Write(b []byte) (int, error) {
	if left := c.up.Load(); left >= 0 && left < int64(len(b)) {
		n, _ := c.Conn.Write(b[:left])
		c.cut()
		return n, net.ErrClosed
	}
	n, err := c.Conn.Write(b)
	c.sent.Add(int64(n))
	if c.up.Load() >= 0 {
		c.up.Add(-int64(n))
	}
	return n, err
}

func (c *faultConn) Read(b []byte) (int, error) {
	left := c.down.Load()
	if left == 0 {
		// Wait for the server's next byte before the cut: it has then done what the client will never hear of.
		_, _ = c.Conn.Read(b[:1])
		c.cut()
		return 0, net.ErrClosed
	}
	if left > 0 && int64(len(b)) > left {
		b = b[:left]
	}
	n, err := c.Conn.Read(b)
	c.received.Add(int64(n))
	if left > 0 {
		c.down.Add(-int64(n))
	}
	return n, err
}

// faultDial keeps hold of one connection: the first one dialled after expect. Others, such as the cancel requests that
// pgx sends on its own, pass through.
type faultDial struct {
	waiting atomic.Bool
	conn    atomic.Pointer[faultConn]
}

func (d *faultDial) expect() { d.waiting.Store(true) }

func (d *faultDial) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
	if err != nil || !d.waiting.CompareAndSwap(true, false) {
		return conn, err
	}
	c := &faultConn{Conn: conn}
	c.up.Store(-1)
	c.down.Store(-1)
	d.conn.Store(c)
	return c, nil
}

// The postmaster is killed again and again under writing and shipping.
func TestServerKilledMidStream(t *testing.T) {
	t.Parallel()
	app := smallApp(t)
	server := pgtest.NewServer(t)
	dsn := server.URL("postgres")
	started(t, app, Config{DSN: dsn, BackoffMax: 100 * time.Millisecond, HoldRetry: 100 * time.Millisecond, Poll: time.Millisecond})

	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		parent := addParent(t, app, "p")
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			run(t, app, "UPDATE parents SET v={:i} WHERE id={:p}", dbx.Params{"i": i, "p": parent})
			kid := addKid(t, app, parent, "")
			if i%3 == 0 {
				run(t, app, "DELETE FROM kids WHERE id={:id}", dbx.Params{"id": kid})
			}
		}
	})
	for range 4 {
		end := logEnd(t, app) + 40
		eventually(t, "the writer went on", func() bool { return logEnd(t, app) > end })
		if err := server.Restart(deadline(t)); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	wg.Wait()
	mustEqual(t, app, dsn)
	journalEqualsLog(t, app, pg(t, dsn))
}

// A server that answers nothing must not be felt by writers, and the worker must leave it and come back.
func TestPausedServerDoesNotSlowWrites(t *testing.T) {
	t.Parallel()
	app := smallApp(t)
	server := pgtest.NewServer(t)
	dsn := server.URL("postgres")
	w := started(t, app, Config{DSN: dsn, Timeout: time.Second, BackoffMax: 100 * time.Millisecond})
	parent := addParent(t, app, "p")
	if err := w.WaitMirrored(deadline(t), logEnd(t, app)); err != nil {
		t.Fatal(err)
	}
	resume, err := server.Pause(deadline(t))
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	for range 50 {
		addKid(t, app, parent, "")
	}
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("50 writes took %v while the mirror hung", took)
	}
	resume()
	if err := w.WaitMirrored(deadline(t), logEnd(t, app)); err != nil {
		t.Fatalf("after the pause: %v; status %+v", err, w.Status())
	}
	mustEqual(t, app, dsn)
}

// Two workers on one database: whoever holds the lease carries, the other waits, and no entry is carried twice.
func TestTwoWorkersNeverDouble(t *testing.T) {
	t.Parallel()
	app := smallApp(t)
	dsn := pgtest.Database(t)
	cfg := Config{DSN: dsn, Lease: 300 * time.Millisecond, Poll: time.Millisecond}
	a, b := started(t, app, cfg), started(t, app, cfg)
	parent := addParent(t, app, "p")
	for i := range 100 {
		run(t, app, "UPDATE parents SET v={:i} WHERE id={:p}", dbx.Params{"i": i, "p": parent})
	}
	eventually(t, "one worker is live and the other stands by", func() bool {
		x, y := a.Status().State, b.Status().State
		return x == StateLive && y == StateStandby || x == StateStandby && y == StateLive
	})
	mustEqual(t, app, dsn)
	live, other := a, b
	if a.Status().State == StateStandby {
		live, other = b, a
	}
	live.Stop()
	addKid(t, app, parent, "")
	if err := other.WaitMirrored(deadline(t), logEnd(t, app)); err != nil {
		t.Fatalf("take over: %v; status %+v", err, other.Status())
	}
	mustEqual(t, app, dsn)
	journalEqualsLog(t, app, pg(t, dsn))
}

// A worker that was stopped by the scheduler and comes back after another took over must not change anything.
func TestFencedWorkerHasNoEffect(t *testing.T) {
	t.Parallel()
	app := smallApp(t)
	dsn := pgtest.Database(t)
	old := manual(t, app, Config{DSN: dsn})
	drain(t, old)
	addParent(t, app, "p")
	fresh := manual(t, app, Config{DSN: dsn})
	drain(t, fresh) // same node: takes the lease over
	addParent(t, app, "q")
	_, err := old.step(deadline(t))
	if classify(err) != classFenced {
		t.Fatalf("step of the old worker: %v, want fenced", err)
	}
	drain(t, fresh)
	conn := pg(t, dsn)
	if got := one[int64](t, conn, "SELECT seq FROM fm_sync.origin"); got != logEnd(t, app) {
		t.Errorf("position = %d, want %d", got, logEnd(t, app))
	}
	journalEqualsLog(t, app, conn)

	// The position alone would let it through here: the term does not.
	newest := manual(t, app, Config{DSN: dsn})
	drain(t, newest)
	addParent(t, app, "r")
	if _, err := fresh.step(deadline(t)); classify(err) != classFenced {
		t.Errorf("step of a worker that lost its lease: %v, want fenced", err)
	}
	// The term alone would let it through here: a position that somebody else knows better does not.
	drain(t, newest)
	stale := newest.ses.pos
	stale.Seq--
	if stale.Nonce, _, err = newest.src.at(deadline(t), stale.Seq); err != nil {
		t.Fatal(err)
	}
	newest.ses.pos = stale
	if _, err := newest.step(deadline(t)); classify(err) != classFenced {
		t.Errorf("step from a remembered position: %v, want fenced", err)
	}
	journalEqualsLog(t, app, conn)

	// Another node does not get a lease that is alive.
	stranger := manual(t, app, Config{DSN: dsn})
	stranger.node = newID(t)
	if _, err := stranger.step(deadline(t)); !errors.Is(err, errStandby) {
		t.Errorf("another node: %v, want standby", err)
	}
}
