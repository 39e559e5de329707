-- How many conflicts has each session, by the policy under which the field is read meanwhile?
SELECT x.origin, o.cut_at AS data_as_of, x.session_id, x.building_id, x.policy, x.open, x.resolved, x.oldest_open_at, x.longest_resolved
  FROM (SELECT c._origin AS origin, s.id AS session_id, s.building_id, c.policy,
               count(*) FILTER (WHERE c.resolved_at = 0) AS open, count(*) FILTER (WHERE c.resolved_at > 0) AS resolved,
               to_timestamp(min(c.opened_at) FILTER (WHERE c.resolved_at = 0) / 1000.0) AS oldest_open_at,
               max((c.resolved_at - c.opened_at) * interval '1 millisecond') FILTER (WHERE c.resolved_at > 0) AS longest_resolved
          FROM fm_mirror.crdt_conflicts c
          LEFT JOIN fm_mirror.crdt_docs m ON m._origin = c._origin AND m.id = c.doc
          LEFT JOIN fm_mirror.test_sessions s ON s._origin = m._origin AND s.id::text = m.key
         GROUP BY c._origin, s.id, s.building_id, c.policy) x
  JOIN fm_sync.origin o ON o.origin = x.origin
