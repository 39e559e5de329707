SELECT coalesce(c.shape ->> 'name', q.coll), q.pk, q.sqlstate, coalesce(q.constraint_name, ''), q.message, q.tries::int, q.first_at, q.last_at
  FROM fm_sync.quarantine q JOIN fm_sync.origin o ON o.origin = q.origin
  LEFT JOIN fm_sync.collection c ON c.origin = q.origin AND c.coll = q.coll
 WHERE o.source_id = $1 ORDER BY q.first_at, q.coll, q.pk
