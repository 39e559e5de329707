-- Which tests were done outside their service window, and where?
SELECT c._origin AS origin, o.cut_at AS data_as_of, c.id AS classification_id, c.item_code, r.rule_code, c.rule_version, c.priority,
       c.session_id, s.session_name, s.building_id, b.name AS building, c.created_at AS decided_at,
       fm_sync.local_date(c.created_at, coalesce(b.time_zone, '')) AS decided_on, c.created_by AS decided_by, c.reasons
  FROM fm_mirror.classifications c
  JOIN fm_sync.origin o ON o.origin = c._origin
  LEFT JOIN fm_mirror.as1851_rules r ON r._origin = c._origin AND r.id = c.rule_id
  LEFT JOIN fm_mirror.test_sessions s ON s._origin = c._origin AND s.id = c.session_id
  LEFT JOIN fm_mirror.buildings b ON b._origin = s._origin AND b.id = s.building_id
 WHERE c.outcome = 'out_of_tolerance'
