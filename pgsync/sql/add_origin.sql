INSERT INTO fm_sync.origin (origin, source_id)
SELECT coalesce(max(origin), 0) + 1, $1::uuid FROM fm_sync.origin
ON CONFLICT (source_id) DO NOTHING
