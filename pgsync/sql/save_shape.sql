INSERT INTO fm_sync.collection (origin, coll, shape, resync) VALUES ($1, $2, $3::text::json, $4)
ON CONFLICT (origin, coll) DO UPDATE SET shape = excluded.shape, resync = excluded.resync
