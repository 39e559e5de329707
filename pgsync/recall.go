package pgsync

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// recallEntries bounds how far the journal is read back for one row. Only a row that was never changed is looked for there,
// so what lies between are entries that changed nothing.
const recallEntries = 16

// recall gives rows that the mirror has lost with their table, and that are written anew, the version they had: SQLite does
// not know since when a row is what it is, but the history knows where its last version ended, and the journal when a row
// came that never changed (the first entry of a batch in which it stayed the same). Without this a rebuild would empty every
// report about the time before it.
func (s *session) recall(ctx context.Context, t *Table, changes []*change, have map[string]mirroredRow) error {
	past := t.history()
	lost := map[string]*change{}
	var pks []string
	for _, c := range changes {
		if _, exists := have[c.pk]; !exists && c.op != opDelete && c.err == nil {
			lost[c.pk], pks = c, append(pks, c.pk)
		}
	}
	if past == nil || len(pks) == 0 {
		return nil
	}
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	// Planned each time: a plan from the time of an empty journal would walk all of it for each row.
	rows, err := s.conn.Query(ctx, past.recallQuery(), pgx.QueryExecModeDescribeExec, s.origin, t.Coll, pks, s.pos.Epoch)
	if err != nil {
		return err
	}
	var pk string
	var ver, at int64
	_, err = pgx.ForEachRow(rows, []any{&pk, &ver, &at}, func() error {
		lost[pk].ver, lost[pk].at = ver, at
		return nil
	})
	return err
}

// recallQuery finds position and time, in milliseconds, from which on the rows $3 of a history's table were what they are. A
// row that was deleted counts from a later entry only, and nothing from before epoch $4 does: whatever happened to the row
// in between was not seen. Images are compared by the columns that both have, as text: jsonb does not take every image. One that
// is not there, dropped to save space or erased, is like no other.
func (t *Table) recallQuery() string {
	return fmt.Sprintf(`SELECT k.pk, v.ver, (extract(epoch FROM v.at) * 1000)::bigint FROM unnest($3::text[]) AS k (pk)
  LEFT JOIN LATERAL (
    SELECT _ver_to AS ver, upper(_valid) AS at, _op AS op FROM %[1]s
     WHERE _origin = $1 AND id = k.pk::%[2]s ORDER BY _ver DESC, _ver_to DESC LIMIT 1) h ON true
  LEFT JOIN LATERAL (
    SELECT min(ver) AS ver, min(at) AS at FROM (
      SELECT ver, at, count(*) FILTER (WHERE op = %[5]d OR ver <> latest AND (img IS NULL OR newest IS NULL OR img::text <> newest::text AND EXISTS (
          SELECT FROM json_each(img) a JOIN json_each(newest) b USING (key) WHERE a.value::text <> b.value::text))) OVER (ORDER BY ver DESC) AS changes
        FROM (
          SELECT epoch << %[4]d | seq AS ver, at, op, img, first_value(img) OVER w AS newest, first_value(epoch << %[4]d | seq) OVER w AS latest
            FROM (SELECT * FROM fm_sync.journal WHERE origin = $1 AND coll = $2 AND pk = k.pk ORDER BY epoch DESC, seq DESC LIMIT %[6]d) last
          WINDOW w AS (ORDER BY epoch DESC, seq DESC)
        ) e
    ) counted WHERE changes = 0) j ON h.op IS DISTINCT FROM %[3]d
  CROSS JOIN LATERAL (SELECT CASE h.op WHEN %[3]d THEN h.ver ELSE j.ver END AS ver, CASE h.op WHEN %[3]d THEN h.at ELSE j.at END AS at) v
 WHERE v.ver >= coalesce(h.ver, 0) AND v.at IS NOT NULL AND v.ver >> %[4]d = $4`,
		t.pgName(), t.idType(), opUpdate, epochShift, opDelete, recallEntries)
}
