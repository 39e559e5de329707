//go:build linux

package pgsync

import (
	"context"
	"testing"
	"time"

	"firemode/internal/pgtest"

	"github.com/jackc/pgx/v5"
	"github.com/pocketbase/pocketbase/core"
)

// peers are copies of the mirrored table parents beside it: one with the same indexes and constraints, one bare.
func peers(b *testing.B, conn *pgx.Conn) {
	b.Helper()
	pgExec(b, conn, "CREATE TABLE public.bare (LIKE fm_mirror.parents INCLUDING DEFAULTS)")
	pgExec(b, conn, "CREATE TABLE public.indexed (LIKE fm_mirror.parents INCLUDING ALL)")
}

// BenchmarkApply writes the same rows by COPY into a bare table, by COPY into a table with the mirror's indexes, by the
// mirror's transactions of 1,000 rows, and one row per transaction, in turn. CPU is that of client and backend together.
func BenchmarkApply(b *testing.B) {
	app := smallApp(b)
	w := manual(b, app, Config{DSN: pgtest.Database(b)})
	addParents(b, app, 1)
	drain(b, w)
	conn := w.ses.conn
	peers(b, conn)
	ctx := context.Background()
	t := tableNamed(b, w, "parents")
	var bare, indexed, ours, single meter
	apply := func(changes []*change) {
		err := w.ses.attempt(ctx, w.ses.pos, 0, false, func(x *txn) error { return x.write(ctx, changes) })
		if err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		changes := benchChanges(b, t, benchRows, w.ses.pos.Seq)
		text := copyText(t, changes) // the peer is given what it takes
		bare.measure(b, conn, benchRows, func() { copyRows(b, conn, "public.bare", t, text) })
		indexed.measure(b, conn, benchRows, func() { copyRows(b, conn, "public.indexed", t, text) })
		ours.measure(b, conn, benchRows, func() {
			for i := 0; i < benchRows; i += batchRows {
				apply(changes[i : i+batchRows])
			}
		})
		few := benchChanges(b, t, 100, w.ses.pos.Seq)
		single.measure(b, conn, len(few), func() {
			for i := range few {
				apply(few[i : i+1])
			}
		})
	}
	b.ReportMetric(ours.cpuPerRow(), "us-cpu/row")
	b.ReportMetric(bare.cpuPerRow(), "us-cpu/row-copy")
	b.ReportMetric(ours.cpuPerRow()/bare.cpuPerRow(), "x-copy-cpu")
	b.ReportMetric(ours.cpuPerRow()/indexed.cpuPerRow(), "x-indexed-cpu")
	b.ReportMetric(ours.rowsPerSecond()/indexed.rowsPerSecond(), "x-indexed-wall")
	b.ReportMetric(single.cpuPerRow()/ours.cpuPerRow(), "single-x-ours-cpu")
	b.ReportMetric(ours.rowsPerSecond(), "rows/s")
}

// BenchmarkDrain carries a backlog end to end: read, decode, hash, upsert, journal, commit; beside it bare COPY of the
// same rows, and what reading, decoding and hashing alone cost against the apply.
func BenchmarkDrain(b *testing.B) {
	app := smallApp(b)
	w := manual(b, app, Config{DSN: pgtest.Database(b)})
	addParents(b, app, 1)
	drain(b, w)
	conn := w.ses.conn
	peers(b, conn)
	ctx := context.Background()
	t := tableNamed(b, w, "parents")
	var bare, ours, reading, applying meter
	for b.Loop() {
		from := w.ses.pos.Seq
		addParents(b, app, benchRows)
		var changes []*change
		reading.measure(b, nil, benchRows, func() {
			for next := from; next < from+benchRows; {
				entries, err := w.src.entries(ctx, next, from+benchRows)
				if err != nil {
					b.Fatal(err)
				}
				for _, e := range entries {
					changes = append(changes, newChange(t, e.pk, e.op, e.seq, e.at, e.img))
				}
				next = entries[len(entries)-1].seq
			}
		})
		text := copyText(t, changes)
		bare.measure(b, conn, benchRows, func() { copyRows(b, conn, "public.bare", t, text) })
		applying.measure(b, conn, benchRows, func() { drain(b, w) })
		ours.rows, ours.wall = applying.rows, applying.wall
	}
	b.ReportMetric(ours.rowsPerSecond(), "rows/s")
	b.ReportMetric(ours.rowsPerSecond()/bare.rowsPerSecond(), "x-copy-wall")
	b.ReportMetric(reading.cpuPerRow()/(applying.cpuPerRow()-reading.cpuPerRow()), "x-read-by-apply-cpu")
	b.ReportMetric(applying.cpuPerRow(), "us-cpu/row")
}

// durable is a server that syncs its commits, as those of real life do and those of tests need not.
func durable(b *testing.B) string {
	b.Helper()
	dsn := pgtest.NewServer(b).URL("postgres")
	pgExec(b, pg(b, dsn), "ALTER SYSTEM SET fsync = on")
	pgExec(b, pg(b, dsn), "SELECT pg_reload_conf()")
	eventually(b, "the server syncs", func() bool { return one[string](b, pg(b, dsn), "SHOW fsync") == "on" })
	return dsn
}

// BenchmarkLag is one change from its commit in SQLite to its commit in PostgreSQL, beside the commit of one prepared
// insert there.
func BenchmarkLag(b *testing.B) {
	for _, tc := range []struct {
		name  string
		nudge bool
	}{{"nudged", true}, {"polled", false}} {
		b.Run(tc.name, func(b *testing.B) {
			app := smallApp(b)
			dsn := durable(b)
			w := started(b, app, Config{DSN: dsn})
			addParent(b, app, "p")
			ctx := context.Background()
			if err := w.WaitMirrored(ctx, logEnd(b, app)); err != nil {
				b.Fatal(err)
			}
			conn := pg(b, dsn)
			pgExec(b, conn, "CREATE TABLE public.one (id bigint PRIMARY KEY, text text)")
			var lags, inserts []time.Duration
			for i := 0; b.Loop(); i++ {
				began := time.Now()
				if _, err := conn.Exec(ctx, "INSERT INTO public.one VALUES ($1, $2)", i, token); err != nil {
					b.Fatal(err)
				}
				inserts = append(inserts, time.Since(began))
				run(b, app, "UPDATE parents SET v=v+1")
				end := logEnd(b, app)
				began = time.Now()
				if tc.nudge {
					w.Nudge()
				}
				if err := w.WaitMirrored(ctx, end); err != nil {
					b.Fatal(err)
				}
				lags = append(lags, time.Since(began))
			}
			for _, p := range []struct {
				name string
				at   float64
			}{{"p50", .5}, {"p99", .99}} {
				lag, insert := percentile(lags, p.at), percentile(inserts, p.at)
				b.ReportMetric(float64(lag.Microseconds()), p.name+"-us")
				b.ReportMetric(float64(lag)/float64(insert), p.name+"-x-insert")
				b.ReportMetric(float64(lag-4*insert)/1e6, p.name+"-ms-above-4-inserts")
			}
		})
	}
}

// BenchmarkCapture saves records of a captured collection and of one that is not, in turn, through PocketBase and by one
// statement for many rows.
func BenchmarkCapture(b *testing.B) {
	captured, plain := smallApp(b), smallApp(b)
	coll, err := plain.FindCollectionByNameOrId("parents")
	if err != nil {
		b.Fatal(err)
	}
	if err := dropTriggers(plain, coll.Id); err != nil {
		b.Fatal(err)
	}
	var create, update, bulk [2]meter
	const saves, rows = 50, 2000
	for b.Loop() {
		for i, app := range []core.App{captured, plain} {
			records := make([]*core.Record, saves)
			create[i].measure(b, nil, saves, func() {
				for j := range records {
					records[j] = newRecord(b, app)
					if err := app.Save(records[j]); err != nil {
						b.Fatal(err)
					}
				}
			})
			update[i].measure(b, nil, saves, func() {
				for _, r := range records {
					r.Set("v", r.GetFloat("v")+1)
					if err := app.Save(r); err != nil {
						b.Fatal(err)
					}
				}
			})
			bulk[i].measure(b, nil, rows, func() { addParents(b, app, rows) })
		}
	}
	for name, m := range map[string][2]meter{"create": create, "update": update, "bulk": bulk} {
		b.ReportMetric(m[0].cpuPerRow()/m[1].cpuPerRow(), name+"-x-plain")
		b.ReportMetric(m[0].cpuPerRow(), name+"-us-cpu")
	}
}

func newRecord(b *testing.B, app core.App) *core.Record {
	b.Helper()
	coll, err := app.FindCachedCollectionByNameOrId("parents")
	if err != nil {
		b.Fatal(err)
	}
	r := core.NewRecord(coll)
	r.Load(map[string]any{"id": newID(b), "name": "name", "v": 1.25, "kind": "a", "tags": []string{"x"},
		"meta": map[string]any{"text": token + token + token + token}, "seen": "2025-03-30 01:02:03.456Z", "ok": true})
	return r
}

// BenchmarkIdle is what a worker without work costs, of one core.
func BenchmarkIdle(b *testing.B) {
	app := smallApp(b)
	const span = 5 * time.Second
	rest := func() time.Duration {
		before := cpu(b, nil)
		<-time.After(span)
		return cpu(b, nil) - before
	}
	var without, with time.Duration
	for b.Loop() {
		without += rest()
		w := started(b, app, Config{DSN: pgtest.Database(b)})
		if err := w.WaitMirrored(deadline(b), logEnd(b, app)); err != nil {
			b.Fatal(err)
		}
		rest() // the first seconds still compare and look around
		with += rest()
		w.Stop()
	}
	b.ReportMetric(100*float64(with-without)/float64(int64(b.N)*int64(span)), "%-of-a-core")
}

func tableNamed(b *testing.B, w *Worker, name string) *Table {
	b.Helper()
	for _, state := range w.ses.reg {
		if state.table.Name == name {
			return state.table
		}
	}
	b.Fatalf("no table %s", name)
	return nil
}
