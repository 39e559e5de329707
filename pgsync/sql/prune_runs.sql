DELETE FROM fm_sync.reconcile_run
 WHERE origin = $1 AND ended < (SELECT ended FROM fm_sync.reconcile_run WHERE origin = $1 AND ended IS NOT NULL ORDER BY ended DESC OFFSET $2 LIMIT 1)
