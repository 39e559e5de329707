INSERT INTO fm_sync.reconcile_run (run, origin, epoch, seq, coll, mode, rows, diffs, repaired, started, ended)
VALUES ($1::text::uuid, $2, $3, $4, $5, $6, $7, $8, $9, coalesce($10, clock_timestamp()), CASE WHEN $11 THEN clock_timestamp() END)
