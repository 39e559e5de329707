INSERT INTO fm_sync.discontinuity (origin, epoch, seq, kind, from_epoch, from_seq, entries) VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (origin, epoch, seq, kind) DO NOTHING
