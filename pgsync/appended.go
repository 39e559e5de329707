package pgsync

import (
	"context"
	"fmt"
	"strconv"
	"strings"
)

// Rows that are only ever appended, in runs of numbers, need no image: the log says which run was appended, and the worker
// reads the rows from the table itself. An image per operation would cost more than the operation.

// Appended says that rows of a plain table come in runs: the rows of one group are numbered from 1 without gaps, and the
// table Heads has a row per group with its greatest number. A row whose number its head has reached already was announced
// by the head; any other is logged by itself, whoever writes it. So a writer sets the head first.
type Appended struct {
	Heads  string   `json:"heads"`
	Group  []string `json:"group"`  // integer columns of both tables
	Number string   `json:"number"` // integer column of both tables
}

// unannounced is the condition under which an inserted row needs an entry of its own.
func (a *Appended) unannounced() string {
	same := make([]string, len(a.Group))
	for i, g := range a.Group {
		same[i] = "h." + quoteIdent(g) + "=NEW." + quoteIdent(g)
	}
	return fmt.Sprintf(" WHEN NOT EXISTS (SELECT 1 FROM %s h WHERE %s AND h.%s>=NEW.%s)",
		quoteIdent(a.Heads), strings.Join(same, " AND "), quoteIdent(a.Number), quoteIdent(a.Number))
}

// runExpr is the key of a log entry about a run: group columns, first and last number, joined by "/".
func (a *Appended) runExpr(first string) string {
	parts := make([]string, 0, len(a.Group)+2)
	for _, g := range a.Group {
		parts = append(parts, "NEW."+quoteIdent(g))
	}
	return strings.Join(append(parts, first, "NEW."+quoteIdent(a.Number)), "||'/'||")
}

// rowRun is what a log entry of opAppended names.
type rowRun struct {
	group       []int64
	first, last int64
}

func (r rowRun) rows() int64 { return r.last - r.first + 1 }

func parseRun(pk string) (rowRun, bool) {
	parts := strings.Split(pk, "/")
	numbers := make([]int64, len(parts))
	for i, part := range parts {
		n, err := strconv.ParseInt(part, 10, 64)
		if err != nil {
			return rowRun{}, false
		}
		numbers[i] = n
	}
	if len(numbers) < 3 {
		return rowRun{}, false
	}
	n := len(numbers) - 2
	r := rowRun{group: numbers[:n], first: numbers[n], last: numbers[n+1]}
	return r, r.first >= 1 && r.first <= r.last
}

// expand puts the rows of a run in the place of the entry that names it.
func (s *source) expand(ctx context.Context, t *Table, e *entry) ([]entry, error) {
	r, ok := parseRun(e.pk)
	if !ok || t.Appended == nil || len(r.group) != len(t.Appended.Group) {
		return nil, &holdError{holdLog, fmt.Sprintf("log entry %d names no run of rows", e.seq)}
	}
	var where []string
	var args []any
	for i, g := range t.Appended.Group {
		where, args = append(where, quoteIdent(g)+"=?"), append(args, r.group[i])
	}
	rows, err := s.db.QueryContext(ctx, fmt.Sprintf("SELECT %s, %s FROM %s WHERE %s AND %s BETWEEN ? AND ? ORDER BY %s",
		t.keyExpr(""), t.imageExpr(""), quoteIdent(t.Name), strings.Join(where, " AND "), quoteIdent(t.Appended.Number), quoteIdent(t.Appended.Number)),
		append(args, r.first, r.last)...)
	if err != nil {
		return nil, fmt.Errorf("%w: appended rows: %w", errSource, err)
	}
	defer rows.Close()
	var out []entry
	for rows.Next() {
		row := entry{seq: e.seq, coll: e.coll, op: opInsert, at: e.at, nonce: e.nonce}
		if err := rows.Scan(&row.pk, &row.img); err != nil {
			return nil, fmt.Errorf("%w: appended rows: %w", errSource, err)
		}
		out = append(out, row)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("%w: appended rows: %w", errSource, err)
	}
	if int64(len(out)) != r.rows() {
		return nil, &holdError{holdLog, fmt.Sprintf("log entry %d names %d rows, and %d of them are there", e.seq, r.rows(), len(out))}
	}
	return out, nil
}
