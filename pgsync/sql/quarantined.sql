SELECT coll, pk FROM fm_sync.quarantine WHERE origin = $1 ORDER BY last_at LIMIT $2
