INSERT INTO fm_sync.report (name, print, reason) VALUES ($1, $2, $3)
ON CONFLICT (name) DO UPDATE SET print = excluded.print, reason = excluded.reason
