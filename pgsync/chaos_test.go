package pgsync

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"firemode/internal/pgtest"

	"github.com/jackc/pgx/v5"
	"github.com/pocketbase/pocketbase/core"
)

// Writer, worker and postmaster are killed at random, the worker also at chosen places of its conversation with the
// server, and it is stopped while another takes over. Nothing is lost, doubled or reordered,
// and whoever looks meanwhile sees states that SQLite had.
func TestEverybodyIsKilledAgainAndAgain(t *testing.T) {
	t.Parallel()
	events, seeds := 16, []uint64{rand.Uint64()}
	if soak() {
		events, seeds = 300, append(seeds, 1, 2, 3)
	}
	for _, seed := range seeds {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { newChaos(t, seed).run(events) })
	}
}

// chaos is one world of three processes and what was done to them.
type chaos struct {
	t              *testing.T
	app            core.App
	server         *pgtest.Server
	dsn, heard     string
	rnd            *rand.Rand
	seed           uint64
	writer, worker *process
	done           map[string]int
	first          int64 // batches before the first kill
	firstHeard     int64
}

func newChaos(t *testing.T, seed uint64) *chaos {
	app := smallApp(t)
	addParent(t, app, "a")
	addParent(t, app, "b")
	run(t, app, "UPDATE parents SET v=100")
	server := pgtest.NewServer(t)
	c := &chaos{t: t, app: app, server: server, dsn: server.URL("postgres"), seed: seed,
		heard: filepath.Join(t.TempDir(), "heard"), rnd: rand.New(rand.NewPCG(seed, 1)), done: map[string]int{}}
	if err := os.WriteFile(c.heard, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c.startWorker("")
	c.mirrored(logEnd(t, app))
	mustEqual(t, app, c.dsn)
	c.first, c.firstHeard = c.batches(), c.heardCommits()
	c.startWriter()
	return c
}

func (c *chaos) startWriter() {
	c.seed++
	c.writer = startRole(c.t, "writer", dirEnv+"="+c.app.DataDir(), fmt.Sprint(seedEnv, "=", c.seed))
}

func (c *chaos) startWorker(die string) {
	c.worker = startRole(c.t, "worker", dirEnv+"="+c.app.DataDir(), dsnEnv+"="+c.dsn, heardEnv+"="+c.heard, dieEnv+"="+die)
}

// mirrored waits until the position has passed seq.
func (c *chaos) mirrored(seq int64) {
	c.t.Helper()
	var position int64
	var err error
	defer func() {
		if c.t.Failed() {
			st, _ := ReadStatus(context.Background(), c.app, c.dsn)
			c.t.Logf("done so far: %v; position %d, %v; worker gone: %v; %+v", c.done, position, err, c.worker.gone(), st)
		}
	}()
	eventually(c.t, fmt.Sprintf("entry %d is mirrored", seq), func() bool {
		position, err = number(c.t, c.dsn, "SELECT coalesce(max(seq),0) FROM fm_sync.origin")
		return err == nil && position >= seq
	})
}

// number asks a server that may be away.
func number(t *testing.T, dsn, query string) (n int64, err error) {
	conn, err := pgx.Connect(deadline(t), dsn)
	if err != nil {
		return 0, err
	}
	defer conn.Close(deadline(t))
	return n, conn.QueryRow(deadline(t), query).Scan(&n)
}

func (c *chaos) batches() int64 {
	c.t.Helper()
	return one[int64](c.t, pg(c.t, c.dsn), "SELECT batches FROM fm_sync.origin")
}

func (c *chaos) heardCommits() int64 {
	c.t.Helper()
	info, err := os.Stat(c.heard)
	if err != nil {
		c.t.Fatal(err)
	}
	return info.Size()
}

// harm are the things that happen. Each leaves all three running.
var harm = map[string]func(c *chaos){
	"kill writer":     func(c *chaos) { c.writer.kill(); c.startWriter() },
	"kill worker":     func(c *chaos) { c.worker.kill(); c.startWorker("") },
	"kill postmaster": func(c *chaos) { c.restartServer() },
	"kill all": func(c *chaos) {
		c.writer.kill()
		c.worker.kill()
		c.restartServer()
		c.startWorker("")
		c.startWriter()
	},
	"worker dies sending":                       func(c *chaos) { c.suicide(fmt.Sprint("up ", c.rnd.IntN(30_000))) },
	"worker dies receiving":                     func(c *chaos) { c.suicide(fmt.Sprint("down ", c.rnd.IntN(600))) },
	"worker dies before it hears of its commit": func(c *chaos) { c.suicide("commit") },
	"worker stops while another takes over": func(c *chaos) {
		stopped := c.worker
		stopped.signal(syscall.SIGSTOP)
		c.startWorker("")
		c.mirrored(logEnd(c.t, c.app)) // by the other one
		stopped.signal(syscall.SIGCONT)
		c.mirrored(logEnd(c.t, c.app) + 20) // beside it
		stopped.kill()
	},
}

func (c *chaos) restartServer() {
	if err := c.server.Restart(deadline(c.t)); err != nil {
		c.t.Fatal(err)
	}
}

// suicide replaces the worker by one that kills itself somewhere, and that one by an ordinary one.
func (c *chaos) suicide(place string) {
	c.worker.kill()
	c.startWorker(place)
	eventually(c.t, "the worker killed itself", c.worker.gone)
	c.startWorker("")
}

func (c *chaos) run(events int) {
	t := c.t
	names := slices.Sorted(maps.Keys(harm))
	for i := range events {
		// Somewhere between two commits, or some dozens of them.
		end := logEnd(t, c.app) + int64(1+c.rnd.IntN(60))
		eventually(t, "the writer goes on", func() bool { return logEnd(t, c.app) >= end })
		if i < len(names) || c.rnd.IntN(2) == 0 {
			c.mirrored(end)
		}
		name := names[i%len(names)]
		if i >= len(names) {
			name = names[c.rnd.IntN(len(names))]
		}
		harm[name](c)
		c.done[name]++
		c.look()
	}
	c.writer.kill()
	mustEqual(t, c.app, c.dsn)
	journalEqualsLog(t, c.app, pg(t, c.dsn))
	batches, heard := c.batches()-c.first, c.heardCommits()-c.firstHeard
	t.Logf("%v; %d log entries in %d commits, %d of them ambiguous: done, though no worker heard of it", c.done, logEnd(t, c.app), batches, batches-heard)
	if batches-heard < int64(c.done["worker dies before it hears of its commit"]) {
		t.Errorf("%d commits, %d heard of: the deaths at the commit met none", batches, heard)
	}
}

// look reads what anybody could read now.
func (c *chaos) look() {
	conn, err := pgx.Connect(deadline(c.t), c.dsn)
	if err != nil {
		c.t.Fatal(err)
	}
	defer conn.Close(deadline(c.t))
	seq, sum, parents, kids, err := snapshot(conn)
	if err != nil {
		c.t.Fatal(err)
	}
	if sum != 200 || parents != kids+2 {
		c.t.Errorf("at %d: sum %v, %d parents, %d kids", seq, sum, parents, kids)
	}
}
