UPDATE fm_sync.reconcile_run
   SET rows = rows + $3, diffs = diffs + $4, repaired = repaired + $5, ended = CASE WHEN $6 THEN clock_timestamp() END
 WHERE origin = $1 AND coll = $2 AND ended IS NULL
