-- Where does each building in use stand?
SELECT b._origin AS origin, o.cut_at AS data_as_of, b.id AS building_id, b.name, b.address, b.building_type, b.jurisdiction,
       b.time_zone, b.organisation_id, g.name AS organisation, b.compliance_status,
       coalesce(s.sessions, 0) AS sessions, coalesce(s.unlocked, 0) AS sessions_unlocked, s.last_at AS last_session_at,
       fm_sync.local_date(s.last_at, b.time_zone) AS last_session_on,
       coalesce(d.open, 0) AS open_defects, coalesce(d.critical, 0) AS open_critical_defects, coalesce(d.overdue, 0) AS notices_overdue,
       coalesce(k.open, 0) AS open_conflicts, coalesce(e.files, 0) AS evidence_files, coalesce(e.flagged, 0) AS evidence_flagged
  FROM fm_mirror.buildings b
  JOIN fm_sync.origin o ON o.origin = b._origin
  LEFT JOIN fm_mirror.organisations g ON g._origin = b._origin AND g.id = b.organisation_id
  LEFT JOIN (SELECT _origin, building_id, count(*) AS sessions, count(*) FILTER (WHERE status <> 'locked') AS unlocked, max(created_at) AS last_at
               FROM fm_mirror.test_sessions GROUP BY _origin, building_id) s ON s._origin = b._origin AND s.building_id = b.id
  LEFT JOIN (SELECT _origin, building_id, count(*) AS open, count(*) FILTER (WHERE severity_class = 'critical_defect') AS critical,
                    count(*) FILTER (WHERE notify_by < now() AND acknowledged_at IS NULL) AS overdue
               FROM fm_mirror.defects WHERE state <> 'closed' GROUP BY _origin, building_id) d ON d._origin = b._origin AND d.building_id = b.id
  LEFT JOIN (SELECT t._origin, t.building_id, count(*) AS open
               FROM fm_mirror.crdt_conflicts c
               JOIN fm_mirror.crdt_docs m ON m._origin = c._origin AND m.id = c.doc
               JOIN fm_mirror.test_sessions t ON t._origin = m._origin AND t.id::text = m.key
              WHERE c.resolved_at = 0 GROUP BY t._origin, t.building_id) k ON k._origin = b._origin AND k.building_id = b.id
  LEFT JOIN (SELECT t._origin, t.building_id, count(*) FILTER (WHERE v.file <> '') AS files, count(*) FILTER (WHERE v.flagged_for_review) AS flagged
               FROM fm_mirror.evidence v JOIN fm_mirror.test_sessions t ON t._origin = v._origin AND t.id = v.session_id
              GROUP BY t._origin, t.building_id) e ON e._origin = b._origin AND e.building_id = b.id
 WHERE b.deleted_at IS NULL
