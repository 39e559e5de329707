package pgsync

import (
	"context"
	"database/sql"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"firemode/internal/pgtest"

	"github.com/pocketbase/pocketbase/core"
)

// blackhole is a PostgreSQL that is not there: it takes connections and never answers, or takes none and refuses none.
type blackhole struct {
	silent   bool         // takes no connection either
	attempts atomic.Int64 // connections asked for
	waiting  atomic.Int64 // of them, those in which the worker waits now for an answer that does not come
}

func (h *blackhole) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	h.attempts.Add(1)
	if h.silent {
		h.waiting.Add(1)
		defer h.waiting.Add(-1)
		<-ctx.Done()
		return nil, ctx.Err()
	}
	near, far := net.Pipe()
	go func() {
		defer far.Close()
		if _, err := far.Read(make([]byte, 1<<10)); err == nil { // the greeting
			h.waiting.Add(1)
			defer h.waiting.Add(-1)
		}
		_, _ = io.Copy(io.Discard, far)
	}()
	return near, nil
}

// No write waits for a PostgreSQL that does not answer: all of them are done while the worker sits in one and the same
// call, from before the first to after the last.
func TestWritesDoNotWaitForABlackhole(t *testing.T) {
	t.Parallel()
	for name, silent := range map[string]bool{"it answers nothing": false, "it takes no connection": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			app := smallApp(t)
			hole := &blackhole{silent: silent}
			w := started(t, app, Config{DSN: "host=127.0.0.1 user=u dbname=d sslmode=disable connect_timeout=60", Dial: hole.dial})
			eventually(t, "the worker waits for an answer", func() bool { return hole.waiting.Load() == 1 })
			before := hole.attempts.Load()
			parent := addParent(t, app, "p")
			for range 20 {
				addKid(t, app, parent, "")
			}
			if hole.waiting.Load() != 1 || hole.attempts.Load() != before {
				t.Errorf("%d attempts, %d waiting: the worker was not in the call all the time", hole.attempts.Load()-before, hole.waiting.Load())
			}
			if st := w.Status(); st.State != StateConnecting {
				t.Errorf("state = %s, want connecting", st.State)
			}
			begin := time.Now()
			w.Stop()
			if took := time.Since(begin); took > 30*time.Second {
				t.Errorf("the worker took %v to stop", took)
			}
		})
	}
}

// The write-ahead log of SQLite stays small while a large table is compared: the mirror holds no view of it for longer
// than one piece. One that did would be seen.
func TestComparisonLetsTheWriteAheadLogEnd(t *testing.T) {
	t.Parallel()
	const bound = 16 << 20
	for name, held := range map[string]bool{"as it is": false, "a view held open": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			app := smallApp(t)
			w := manual(t, app, Config{DSN: pgtest.Database(t)})
			for range 6 {
				addParents(t, app, chunkMaxRows)
			}
			drain(t, w)
			if _, _, err := Reconcile(app, small, "parents"); err != nil {
				t.Fatal(err)
			}
			run(t, app, "PRAGMA wal_checkpoint(TRUNCATE)")
			if held {
				tx, err := w.src.db.BeginTx(deadline(t), &sql.TxOptions{ReadOnly: true})
				if err != nil {
					t.Fatal(err)
				}
				defer tx.Rollback()
				if err := tx.QueryRow("SELECT count(*) FROM kids").Scan(new(int)); err != nil {
					t.Fatal(err)
				}
			}
			var largest int64
			pieces := 0
			for more := true; more; {
				var err error
				if more, err = w.step(deadline(t)); err != nil {
					t.Fatal(err)
				}
				if w.ses.reg.nextResync() == "" {
					continue
				}
				pieces++
				run(t, app, `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<20) INSERT INTO kids (id,parent,email,note)
					SELECT lower(printf('%s-%s-7%s-8%s-%s', hex(randomblob(4)), hex(randomblob(2)), substr(hex(randomblob(2)),2), substr(hex(randomblob(2)),2), hex(randomblob(6)))),
					'', '', hex(randomblob(50000)) FROM n`)
				info, err := os.Stat(filepath.Join(app.DataDir(), "data.db-wal"))
				if err != nil {
					t.Fatal(err)
				}
				largest = max(largest, info.Size())
			}
			t.Logf("%d pieces, %d MiB at most", pieces, largest>>20)
			if pieces < 5 {
				t.Fatalf("the table was compared in %d pieces, want at least 5", pieces)
			}
			if (largest > bound) != held {
				t.Errorf("the write-ahead log grew to %d MiB; bound %d MiB, a view held open: %v", largest>>20, bound>>20, held)
			}
		})
	}
}

// BenchmarkWriteLatency is one save of a record as the application does it, beside a mirror that works, beside one whose
// PostgreSQL answers nothing, and without any. The metrics are microseconds.
func BenchmarkWriteLatency(b *testing.B) {
	for _, c := range []struct {
		name   string
		worker func(b *testing.B, app core.App) *Worker
	}{
		{"healthy", func(b *testing.B, app core.App) *Worker {
			return started(b, app, Config{DSN: pgtest.Database(b)})
		}},
		{"blackholed", func(b *testing.B, app core.App) *Worker {
			hole := &blackhole{}
			w := started(b, app, Config{DSN: "host=127.0.0.1 user=u dbname=d sslmode=disable", Dial: hole.dial})
			eventually(b, "the worker waits for an answer", func() bool { return hole.waiting.Load() == 1 })
			return w
		}},
		{"no mirror", func(*testing.B, core.App) *Worker { return nil }},
	} {
		b.Run(c.name, func(b *testing.B) {
			app := smallApp(b)
			w := c.worker(b, app)
			parents, err := app.FindCollectionByNameOrId("parents")
			if err != nil {
				b.Fatal(err)
			}
			var took []time.Duration
			for i := 0; b.Loop(); i++ {
				r := core.NewRecord(parents)
				r.Id = newID(b)
				r.Set("name", "benchmark")
				r.Set("v", i)
				begin := time.Now()
				if err := app.Save(r); err != nil {
					b.Fatal(err)
				}
				took = append(took, time.Since(begin))
				if w != nil {
					w.Nudge()
				}
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-us")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-us")
		})
	}
}
