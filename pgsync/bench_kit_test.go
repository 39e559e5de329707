//go:build linux

package pgsync

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// benchRows is what one COPY of a round carries; one upsert carries batchRows.
const (
	benchRows = 5000
	batchRows = 1000
)

// cpu is the time on a core of this process and, given a connection, of its backend of PostgreSQL.
func cpu(b *testing.B, conn *pgx.Conn) time.Duration {
	b.Helper()
	var self syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &self); err != nil {
		b.Fatal(err)
	}
	total := time.Duration(self.Utime.Nano() + self.Stime.Nano())
	if conn != nil {
		total += time.Duration(cpuNanos(b, conn))
	}
	return total
}

// meter adds up what one way of doing the work costs over the rounds of a benchmark.
type meter struct {
	rows      int
	cpu, wall time.Duration
}

func (m *meter) measure(b *testing.B, conn *pgx.Conn, rows int, work func()) {
	b.Helper()
	before, began := cpu(b, conn), time.Now()
	work()
	m.wall += time.Since(began)
	m.cpu += cpu(b, conn) - before
	m.rows += rows
}

func (m *meter) cpuPerRow() float64 { return float64(m.cpu.Nanoseconds()) / 1e3 / float64(m.rows) }

func (m *meter) rowsPerSecond() float64 { return float64(m.rows) / m.wall.Seconds() }

// benchChanges are rows of parents as the worker would write them, with ids of their own.
func benchChanges(b *testing.B, t *Table, rows int, seq int64) []*change {
	b.Helper()
	out := make([]*change, rows)
	for i := range out {
		img := fmt.Sprintf(`{"name":"name %d","v":%g,"kind":"a","tags":"[\"x\"]","meta":"{\"k\":%d,\"text\":\"%0400x\"}","seen":"2025-03-30 01:02:03.456Z","ok":1,"secret":"%s"}`,
			i, float64(i)*1.25, i, i*7919, token)
		out[i] = newChange(t, newID(b), opInsert, seq, time.Now().UnixMilli(), []byte(img))
		if out[i].err != nil {
			b.Fatal(out[i].err)
		}
	}
	return out
}

// copyText is the text form of COPY for changes of t; backslashes and the two separators are escaped.
func copyText(t *Table, changes []*change) []byte {
	escape := strings.NewReplacer("\\", "\\\\", "\t", "\\t", "\n", "\\n")
	var b bytes.Buffer
	for _, c := range changes {
		fmt.Fprintf(&b, "1\t%s\t%d\t%s\t\\\\x%x\tf", c.pk, c.seq, time.UnixMilli(c.at).UTC().Format(time.RFC3339Nano), c.hash)
		for _, cell := range c.cells {
			b.WriteByte('\t')
			if cell == nil {
				b.WriteString(`\N`)
			} else {
				escape.WriteString(&b, *cell)
			}
		}
		b.WriteByte('\n')
	}
	return b.Bytes()
}

// copyRows writes rows in the form of copyText by COPY, the fastest way into a table that PostgreSQL has, in one transaction.
func copyRows(b *testing.B, conn *pgx.Conn, table string, t *Table, text []byte) {
	b.Helper()
	names := []string{"_origin", "id", "_ver", "_at", "_hash", "_stale"}
	for i := range t.Columns {
		names = append(names, pgIdent(t.Columns[i].Name))
	}
	_, err := conn.PgConn().CopyFrom(context.Background(), bytes.NewReader(text),
		"COPY "+table+" ("+strings.Join(names, ",")+") FROM STDIN")
	if err != nil {
		b.Fatal(err)
	}
}

func percentile(d []time.Duration, p float64) time.Duration {
	slices.Sort(d)
	return d[min(len(d)-1, int(p*float64(len(d))))]
}
