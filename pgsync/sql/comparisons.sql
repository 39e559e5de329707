SELECT r.run::text, max(r.mode), count(*)::int, count(*) FILTER (WHERE r.ended IS NULL)::int, sum(r.rows)::bigint, sum(r.diffs)::bigint, sum(r.repaired)::bigint,
       array_agg(coalesce(c.shape ->> 'name', r.coll) ORDER BY r.coll) FILTER (WHERE r.diffs > 0), min(r.started), max(r.ended)
  FROM fm_sync.reconcile_run r JOIN fm_sync.origin o ON o.origin = r.origin
  LEFT JOIN fm_sync.collection c ON c.origin = r.origin AND c.coll = r.coll
 WHERE o.source_id = $1
 GROUP BY r.run ORDER BY max(coalesce(r.ended, 'infinity')) DESC LIMIT 20
