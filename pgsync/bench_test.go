package pgsync

import (
	"fmt"
	"testing"
	"time"

	"firemode/internal/pgtest"

	"github.com/pocketbase/pocketbase/core"
)

// BenchmarkDrain carries a backlog: read, decode, hash, upsert, journal, commit. The metric is rows per second.
func BenchmarkDrain(b *testing.B) {
	const rows = 5000
	app := smallApp(b)
	w := manual(b, app, Config{DSN: pgtest.Database(b)})
	drain(b, w)
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		err := app.RunInTransaction(func(tx core.App) error {
			run(b, tx, fmt.Sprintf(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<%d)
				INSERT INTO parents (id,name,v,kind,tags,meta,seen,ok,secret)
				SELECT lower(printf('%%s-%%s-7%%s-8%%s-%%s', hex(randomblob(4)), hex(randomblob(2)), substr(hex(randomblob(2)),2), substr(hex(randomblob(2)),2), hex(randomblob(6)))),
				'name '||i, i*1.25, 'a', '["x"]', json_object('k',i,'text',hex(randomblob(200))), '2025-03-30 01:02:03.456Z', TRUE, '%s' FROM n`, rows, token))
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		drain(b, w)
	}
	b.ReportMetric(rows*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}

// BenchmarkLag is one change from its commit in SQLite to its commit in PostgreSQL, woken by a nudge.
func BenchmarkLag(b *testing.B) {
	app := smallApp(b)
	w := started(b, app, Config{DSN: pgtest.Database(b), Poll: 5 * time.Millisecond})
	addParent(b, app, "p")
	ctx := deadline(b)
	for b.Loop() {
		b.StopTimer()
		run(b, app, "UPDATE parents SET v=v+1")
		end := logEnd(b, app)
		b.StartTimer()
		w.Nudge()
		if err := w.WaitMirrored(ctx, end); err != nil {
			b.Fatal(err)
		}
	}
}
