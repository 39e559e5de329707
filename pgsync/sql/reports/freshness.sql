-- How far is the mirror, and may its numbers be relied on?
-- Only SQLite knows the end of the log: lag_seconds_max is how much the mirror lacks at most, and grows while nobody
-- writes. A worker that is held or away lets its lease lapse, which shows as stopped.
SELECT o.origin, o.cut_at AS data_as_of, o.source_id,
       CASE WHEN o.lease_until <= clock_timestamp() THEN 'stopped' WHEN c.resyncing > 0 THEN 'resync' ELSE 'live' END AS state,
       o.lease_until > clock_timestamp() AS lease_alive,
       extract(epoch FROM clock_timestamp() - o.cut_at)::double precision AS lag_seconds_max,
       o.epoch, o.seq AS position, o.applied_at, q.quarantined AS quarantined_rows, c.resyncing AS tables_in_resync,
       v.at AS verified_at, v.equal AS verified_equal, v.seq AS verified_position, v.rows AS verified_rows
  FROM fm_sync.origin o
 CROSS JOIN LATERAL (SELECT count(*) AS quarantined FROM fm_sync.quarantine q WHERE q.origin = o.origin) q
 CROSS JOIN LATERAL (SELECT count(*) AS resyncing FROM fm_sync.collection c WHERE c.origin = o.origin AND c.resync IS NOT NULL) c
  LEFT JOIN LATERAL (SELECT r.at, r.equal, r.seq, r.rows FROM fm_sync.verify_run r
                      WHERE r.origin = o.origin ORDER BY r.at DESC LIMIT 1) v ON true
