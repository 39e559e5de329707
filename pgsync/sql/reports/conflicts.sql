-- Which fields hold, or held, more than one value, and since when?
-- A row is a field. It opens again when it is in conflict again.
SELECT c._origin AS origin, o.cut_at AS data_as_of, s.id AS session_id, s.session_name, s.status AS session_status,
       s.building_id, b.name AS building, c.path, c.policy, c.value_count AS standing_values, c.resolved_at = 0 AS is_open,
       to_timestamp(c.opened_at / 1000.0) AS opened_at, to_timestamp(c.changed_at / 1000.0) AS changed_at,
       CASE WHEN c.resolved_at > 0 THEN to_timestamp(c.resolved_at / 1000.0) END AS resolved_at
  FROM fm_mirror.crdt_conflicts c
  JOIN fm_sync.origin o ON o.origin = c._origin
  LEFT JOIN fm_mirror.crdt_docs m ON m._origin = c._origin AND m.id = c.doc
  LEFT JOIN fm_mirror.test_sessions s ON s._origin = m._origin AND s.id::text = m.key
  LEFT JOIN fm_mirror.buildings b ON b._origin = s._origin AND b.id = s.building_id
