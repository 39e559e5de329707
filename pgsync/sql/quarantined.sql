SELECT coll, pk FROM fm_sync.quarantine WHERE origin = $1 ORDER BY img IS NOT NULL OR op = 3, last_at LIMIT $2
