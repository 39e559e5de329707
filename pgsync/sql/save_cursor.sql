UPDATE fm_sync.collection SET resync = $3 WHERE origin = $1 AND coll = $2
