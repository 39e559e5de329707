SELECT coll, shape::text, resync FROM fm_sync.collection WHERE origin = $1 ORDER BY coll
