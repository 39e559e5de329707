DELETE FROM fm_sync.collection WHERE origin = $1 AND coll = $2
