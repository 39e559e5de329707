package pgsync

import (
	"bytes"
	"context"
	"database/sql"
	"iter"
	"math"
	"testing"

	"firemode/internal/pgtest"
)

// The bar of a sealed comparison: each side at 0.4 times the rows per second of a COPY into a table without an index.

const sealedRows = 20_000

// sealedSide runs one side of a comparison as Verify does: read, take apart, canonical form, hash, tree.
func sealedSide(b *testing.B, side func(ctx context.Context, w *Worker, tx *sql.Tx, t *Table) iter.Seq2[hashedRow, error]) {
	app := smallApp(b)
	w := manual(b, app, Config{DSN: pgtest.Database(b)})
	addParents(b, app, sealedRows)
	drain(b, w)
	tx, err := w.src.db.BeginTx(b.Context(), &sql.TxOptions{ReadOnly: true})
	if err != nil {
		b.Fatal(err)
	}
	defer tx.Rollback()
	var parents *Table
	for _, coll := range w.ses.reg.sorted() {
		if t := w.ses.reg.table(coll); t.Name == "parents" {
			parents = t
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		grown := newTree()
		var leaf []byte
		for row, err := range side(b.Context(), w, tx, parents) {
			if err != nil {
				b.Fatal(err)
			}
			leaf = appendRowLeaf(leaf[:0], row.pk, row.hash)
			grown.add(leaf)
		}
		if grown.size() != sealedRows {
			b.Fatalf("%d rows, want %d", grown.size(), sealedRows)
		}
	}
	b.ReportMetric(sealedRows*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}

func BenchmarkSealedSource(b *testing.B) {
	sealedSide(b, func(ctx context.Context, _ *Worker, tx *sql.Tx, t *Table) iter.Seq2[hashedRow, error] {
		return sourceRows(ctx, tx, t)
	})
}

func BenchmarkSealedMirror(b *testing.B) {
	sealedSide(b, func(ctx context.Context, w *Worker, _ *sql.Tx, t *Table) iter.Seq2[hashedRow, error] {
		return w.ses.columnRows(ctx, t, math.MaxInt64)
	})
}

// BenchmarkCopyBare is the peer: the same rows, ready made, into the same columns without an index.
func BenchmarkCopyBare(b *testing.B) {
	app := smallApp(b)
	dsn := pgtest.Database(b)
	addParents(b, app, sealedRows)
	drain(b, manual(b, app, Config{DSN: dsn}))
	conn := pg(b, dsn)
	var rows bytes.Buffer
	if _, err := conn.PgConn().CopyTo(b.Context(), &rows, "COPY fm_mirror.parents TO STDOUT"); err != nil {
		b.Fatal(err)
	}
	pgExec(b, conn, "CREATE TABLE bare (LIKE fm_mirror.parents)")
	for b.Loop() {
		tag, err := conn.PgConn().CopyFrom(b.Context(), bytes.NewReader(rows.Bytes()), "COPY bare FROM STDIN")
		if err != nil || tag.RowsAffected() != sealedRows {
			b.Fatalf("%d rows (%v)", tag.RowsAffected(), err)
		}
		b.StopTimer()
		pgExec(b, conn, "TRUNCATE bare")
		b.StartTimer()
	}
	b.ReportMetric(sealedRows*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}
