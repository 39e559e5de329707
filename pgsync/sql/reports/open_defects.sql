-- Which defects are not closed, and how do they stand against their deadlines?
-- notice: none (no deadline), given, given late, due, overdue. due_on is a date at the building.
SELECT d._origin AS origin, o.cut_at AS data_as_of, d.id AS defect_id, d.building_id, b.name AS building, b.organisation_id, d.session_id,
       d.classification_id, d.severity_class, d.priority, d.category, d.rule_code, d.description, d.state, d.discovered_at,
       fm_sync.local_date(now(), coalesce(b.time_zone, '')) - fm_sync.local_date(d.discovered_at, coalesce(b.time_zone, '')) AS days_open,
       d.notify_by, fm_sync.local_date(d.notify_by, coalesce(b.time_zone, '')) AS due_on,
       CASE WHEN d.notify_by IS NULL THEN 'none'
            WHEN d.acknowledged_at <= d.notify_by THEN 'given'
            WHEN d.acknowledged_at IS NOT NULL THEN 'given late'
            WHEN d.notify_by < now() THEN 'overdue'
            ELSE 'due' END AS notice,
       d.acknowledged_at, d.acknowledged_by, d.repaired_at, d.verified_at,
       CASE jsonb_typeof(d.evidence_ids) WHEN 'array' THEN jsonb_array_length(d.evidence_ids) ELSE 0 END AS evidence,
       CASE jsonb_typeof(d.repair_evidence_ids) WHEN 'array' THEN jsonb_array_length(d.repair_evidence_ids) ELSE 0 END AS repair_evidence
  FROM fm_mirror.defects d
  JOIN fm_sync.origin o ON o.origin = d._origin
  LEFT JOIN fm_mirror.buildings b ON b._origin = d._origin AND b.id = d.building_id
 WHERE d.state <> 'closed'
