DELETE FROM fm_sync.reconcile_run WHERE origin = $1 AND coll = $2 AND mode = 'rolling' AND diffs = 0 AND ended IS NOT NULL
