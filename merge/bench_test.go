package merge

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"firemode/crdt"
	"firemode/internal/testapp"
	"firemode/pgsync"

	"github.com/pocketbase/dbx"
	"github.com/pocketbase/pocketbase/core"
)

const benchPaths = 2000

// BenchmarkIngest measures durable operations: chain, merge, log, audit entry, record and the
// mirror's log of changes, all in one session, against plain inserts in the same run: of the
// operation's row, which is what has to be on disk, and of the line alone in a table without a
// further index, which is the floor.
func BenchmarkIngest(b *testing.B) {
	for _, perRequest := range []int{1, 5, 100} {
		b.Run(fmt.Sprintf("service/per-request=%d", perRequest), func(b *testing.B) { benchIngest(b, perRequest) })
	}
	b.Run("raw/per-commit=1", func(b *testing.B) { benchRaw(b, 1, rawLine) })
	b.Run("raw/per-commit=4000", func(b *testing.B) { benchRaw(b, 4000, rawLine) })
	b.Run("row/per-commit=4000", func(b *testing.B) { benchRaw(b, 4000, rawRow) })
}

func benchIngest(b *testing.B, perRequest int) {
	s, app := service(b, Config{})
	if err := pgsync.Arm(app, pgsync.Mirrored()); err != nil {
		b.Fatal(err)
	}
	id := session(b, app)
	var device atomic.Int64
	b.SetParallelism(100) // in flight per core
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		d := newTablet(b, s, id, "anna", fmt.Sprintf("tablet %d", device.Add(1)))
		ops := make([]crdt.Op, perRequest)
		for pb.Next() {
			for i := range ops {
				ops[i] = put(fmt.Sprintf("items/i%04d/result", (int(d.seq)*7919+i)%benchPaths), `"pass"`)
			}
			if _, err := send(s, d.request(ops...)); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.StopTimer()
	b.ReportMetric(float64(b.N*perRequest)/b.Elapsed().Seconds(), "ops/s")
	sound(b, s, id)
}

// A rawInsert is a table and the statement that adds one row to it.
type rawInsert struct{ table, insert string }

var (
	rawLine = rawInsert{`CREATE TABLE raw (n INTEGER PRIMARY KEY, line BLOB NOT NULL)`, `INSERT INTO raw (n, line) VALUES ({:n}, {:line})`}
	// The columns and keys of crdt_ops.
	rawRow = rawInsert{`CREATE TABLE raw (doc INTEGER NOT NULL, n INTEGER NOT NULL, actor INTEGER NOT NULL, seq INTEGER NOT NULL, recv INTEGER NOT NULL,
			q INTEGER NOT NULL, hash BLOB NOT NULL, line BLOB NOT NULL, PRIMARY KEY (doc, n), UNIQUE (doc, actor, seq)) WITHOUT ROWID`,
		`INSERT INTO raw (doc, n, actor, seq, recv, q, hash, line) VALUES (1, {:n}, {:n} % 200, {:n}, 1764000000000, 0, zeroblob(32), {:line})`}
)

// benchRaw inserts one row per statement and does nothing else.
func benchRaw(b *testing.B, perCommit int, raw rawInsert) {
	app := testapp.New(b)
	if _, err := app.DB().NewQuery(raw.table).Execute(); err != nil {
		b.Fatal(err)
	}
	d := &tablet{session: "s", actor: "aaaaaaaaaaaa"}
	line := d.request(put("items/i0001/result", `"pass"`)).Lines[0]
	b.ResetTimer()
	for n := 0; n < b.N; {
		err := app.RunInTransaction(func(tx core.App) error {
			q := tx.NonconcurrentDB().NewQuery(raw.insert).Prepare()
			defer q.Close()
			for range min(perCommit, b.N-n) {
				n++
				if _, err := q.Bind(dbx.Params{"n": n, "line": line}).Execute(); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "ops/s")
}

// BenchmarkGrowth measures one 5-operation request, alone, on an empty session and on one
// with many live values: the cost MUST NOT grow with the document.
func BenchmarkGrowth(b *testing.B) {
	for _, live := range []int{0, 10_000, 100_000} {
		b.Run(fmt.Sprintf("live=%d", live), func(b *testing.B) {
			s, app := service(b, Config{})
			id := session(b, app)
			d := newTablet(b, s, id, "anna", "ipad")
			request := func(n, from int) SyncRequest {
				ops := make([]crdt.Op, n)
				for i := range ops {
					ops[i] = put(fmt.Sprintf("items/i%06d/result", from+i), `"pass"`)
				}
				return d.request(ops...)
			}
			for from := 0; from < live; from += changesMax {
				if _, err := send(s, request(changesMax, from)); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportAllocs()
			n, before := 0, written(b)
			for b.Loop() {
				if _, err := send(s, request(5, live+n*5)); err != nil {
					b.Fatal(err)
				}
				n++
			}
			b.ReportMetric(float64(written(b)-before)/float64(n), "disk-B/op")
		})
	}
}

// written returns the bytes that this process has handed to the kernel to write.
func written(b *testing.B) (n int64) {
	raw, err := os.ReadFile("/proc/self/io")
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(raw)) {
		if text, found := strings.CutPrefix(line, "wchar: "); found {
			n, _ = strconv.ParseInt(strings.TrimSpace(text), 10, 64)
		}
	}
	return n
}

// BenchmarkOpen measures bringing a session of 100,000 operations into memory.
func BenchmarkOpen(b *testing.B) {
	for name, every := range map[string]int64{"log": 1 << 40, "snapshot": snapEveryOps} {
		b.Run(name, func(b *testing.B) {
			app := testapp.New(b)
			id := session(b, app)
			s := New(app, Config{})
			s.snapEveryOps = every
			if err := s.Start(b.Context()); err != nil {
				b.Fatal(err)
			}
			d := newTablet(b, s, id, "anna", "ipad")
			for range 100 {
				ops := make([]crdt.Op, changesMax)
				for i := range ops {
					ops[i] = put(fmt.Sprintf("items/i%04d/result", i), fmt.Sprintf(`"pass %d"`, d.seq))
				}
				if _, err := send(s, d.request(ops...)); err != nil {
					b.Fatal(err)
				}
			}
			s.Stop()
			at, err := s.position(b.Context(), id)
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				if _, err := loadDocument(b.Context(), s, id, at); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
