DELETE FROM fm_sync.reconcile_run WHERE origin = $1 AND coll = $2 AND ended IS NULL
