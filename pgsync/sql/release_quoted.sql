DELETE FROM fm_sync.quarantine WHERE origin = $1 AND coll = $2 AND pk LIKE '"%'
