-- What is not proved: evidence without a file or in doubt, defects and repairs that nothing shows?
-- FireMode reads stored bytes again when somebody asks, and keeps no record of that: whether files still are what they
-- were is not in here.
SELECT x.origin, o.cut_at AS data_as_of, x.gap, x.collection, x.record_id, x.session_id, x.building_id, b.name AS building, x.since, x.detail
  FROM (SELECT e._origin AS origin, 'no file' AS gap, 'evidence' AS collection, e.id AS record_id, e.session_id, s.building_id,
               e.created_at AS since, e.evidence_type AS detail
          FROM fm_mirror.evidence e LEFT JOIN fm_mirror.test_sessions s ON s._origin = e._origin AND s.id = e.session_id
         WHERE e.file = ''
        UNION ALL
        SELECT e._origin, 'in doubt', 'evidence', e.id, e.session_id, s.building_id, e.flagged_at, e.flag_reason
          FROM fm_mirror.evidence e LEFT JOIN fm_mirror.test_sessions s ON s._origin = e._origin AND s.id = e.session_id
         WHERE e.flagged_for_review
        UNION ALL
        SELECT d._origin, 'defect not shown', 'defects', d.id, d.session_id, d.building_id, d.discovered_at, d.severity_class
          FROM fm_mirror.defects d
         WHERE CASE jsonb_typeof(d.evidence_ids) WHEN 'array' THEN jsonb_array_length(d.evidence_ids) ELSE 0 END = 0
        UNION ALL
        SELECT d._origin, 'repair not shown', 'defects', d.id, d.session_id, d.building_id, d.repaired_at, d.state
          FROM fm_mirror.defects d
         WHERE d.state IN ('repaired', 'verified', 'closed')
           AND CASE jsonb_typeof(d.repair_evidence_ids) WHEN 'array' THEN jsonb_array_length(d.repair_evidence_ids) ELSE 0 END = 0) x
  JOIN fm_sync.origin o ON o.origin = x.origin
  LEFT JOIN fm_mirror.buildings b ON b._origin = x.origin AND b.id = x.building_id
