INSERT INTO fm_sync.verify_run (run, origin, epoch, seq, at, equal, rows, quarantined, differing, source_root, mirror_root, tables)
VALUES ($1::text::uuid, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12::text::json)
