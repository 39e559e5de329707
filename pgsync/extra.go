package pgsync

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// extraMark begins the cursor of the second half of a plain table's comparison. Its keys have another order in SQLite, by
// their columns, than in PostgreSQL, by their text; so pieces of one side show what the other one lacks, and rows that only
// PostgreSQL has are looked for on their own.
const extraMark = "+"

// compareExtra reads the next keys that PostgreSQL has of a plain table, and says which of their rows must go. Rows of a plain
// table are never deleted in SQLite, so one that is missing there was never in the log.
func (s *session) compareExtra(ctx context.Context, src *source, t *Table, cursor string) (chunk rowChunk, changes []*change, ok bool, err error) {
	query, cancel := s.bounded(ctx)
	defer cancel()
	after := strings.TrimPrefix(cursor, extraMark)
	rows, err := s.conn.Query(query, fmt.Sprintf(`SELECT id::text FROM %s WHERE _origin = $1 AND id %s $2 ORDER BY id LIMIT $3`,
		t.pgName(), choose(after == "", ">=", ">")), s.origin, after, chunkMaxRows)
	if err != nil {
		return chunk, nil, false, err
	}
	pks, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return chunk, nil, false, err
	}
	if chunk, err = src.existing(ctx, t, pks); err != nil {
		return chunk, nil, false, err
	}
	if ok, err := s.catchUp(ctx, src, chunk); err != nil || !ok {
		return chunk, nil, false, err
	}
	there := make(map[string]bool, len(chunk.rows))
	for _, r := range chunk.rows {
		there[r.pk] = true
	}
	for _, pk := range pks {
		if !there[pk] {
			changes = append(changes, newChange(t, pk, opDelete, chunk.last, chunk.at, nil))
		}
	}
	chunk.rows, chunk.cursor = nil, "" // counted in the first half
	if len(pks) == chunkMaxRows {
		chunk.cursor = extraMark + pks[len(pks)-1]
	}
	return chunk, changes, true, nil
}
