package pgsync

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	"firemode/internal/pgtest"

	"github.com/jackc/pgx/v5"
)

// BenchmarkHistory updates rows that are there: without a history, with it, and with what it does not have: an index that
// finds versions by time exactly. Compare cpu-µs/row, the server's own time on the processor (Linux), of one run.
func BenchmarkHistory(b *testing.B) {
	const rows = 2000
	for _, variant := range []struct{ name, sql string }{
		{"without", "ALTER TABLE fm_mirror.parents DISABLE TRIGGER USER"},
		{"with", ""},
		{"gist", "CREATE INDEX ON fm_hist.parents USING gist (_valid)"},
	} {
		b.Run(variant.name, func(b *testing.B) {
			ctx := context.Background()
			w := manual(b, smallApp(b), Config{DSN: pgtest.Database(b)})
			drain(b, w)
			s, parents := w.ses, w.ses.reg.table(mustCollection(b, w.app, "parents").Id)
			if _, err := s.conn.Exec(ctx, variant.sql, pgx.QueryExecModeSimpleProtocol); err != nil {
				b.Fatal(err)
			}
			ids, meta := make([]string, rows), strings.Repeat("0123456789abcdef", 40)
			for i := range ids {
				ids[i] = newID(b)
			}
			write := func(round int) {
				changes := make([]*change, rows)
				for i, id := range ids {
					changes[i] = newChange(parents, id, opUpdate, s.pos.Seq+int64(round), int64(round)*1000, fmt.Appendf(nil,
						`{"id":%q,"name":"name %d","v":%d,"kind":"a","tags":["x"],"meta":{"k":%d,"text":%q},"seen":"2025-03-30 01:02:03.456Z","ok":1,"secret":%q}`,
						id, i, round, i, meta, token))
					if changes[i].err != nil {
						b.Fatal(changes[i].err)
					}
				}
				b.StartTimer()
				err := s.attempt(ctx, s.pos, 0, false, func(x *txn) error { x.queue(changes); return nil })
				b.StopTimer()
				if err != nil {
					b.Fatal(err)
				}
			}
			b.StopTimer()
			write(1)
			began, round := cpuNanos(b, s.conn), 1
			b.ResetTimer()
			for range b.N {
				round++
				write(round)
			}
			used := cpuNanos(b, s.conn) - began
			b.ReportMetric(float64(used)/1000/float64(b.N*rows), "cpu-µs/row")
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*rows), "wall-µs/row")
		})
	}
}

// cpuNanos is what the server process of a connection has used of the processor; 0 where that cannot be read.
func cpuNanos(b *testing.B, conn *pgx.Conn) (nanos int64) {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/schedstat", conn.PgConn().PID()))
	if err != nil {
		return 0
	}
	if _, err := fmt.Sscan(string(text), &nanos); err != nil {
		b.Fatal(err)
	}
	return nanos
}
