-- What should have happened by now and has not: notices to owners, renewals of calibration certificates?
-- A certificate is overdue when the newest of its instrument has expired. due_on is a date at the building. Certificates
-- belong to no building and count in UTC.
SELECT x.origin, o.cut_at AS data_as_of, x.kind, x.record_id, x.subject, x.organisation_id, x.building_id, x.building,
       x.due_at, fm_sync.local_date(x.due_at, x.time_zone) AS due_on,
       fm_sync.local_date(now(), x.time_zone) - fm_sync.local_date(x.due_at, x.time_zone) AS days_overdue
  FROM (SELECT d._origin AS origin, 'notice' AS kind, d.id AS record_id, d.severity_class AS subject, b.organisation_id,
               d.building_id, b.name AS building, d.notify_by AS due_at, coalesce(b.time_zone, '') AS time_zone
          FROM fm_mirror.defects d LEFT JOIN fm_mirror.buildings b ON b._origin = d._origin AND b.id = d.building_id
         WHERE d.state <> 'closed' AND d.acknowledged_at IS NULL AND d.notify_by < now()
        UNION ALL
        SELECT c._origin, 'certificate', c.id, c.instrument_type || ' ' || c.instrument_id, c.organisation_id,
               NULL, NULL, c.expires_at, ''
          FROM (SELECT DISTINCT ON (_origin, organisation_id, instrument_id) *
                  FROM fm_mirror.calibration_certificates ORDER BY _origin, organisation_id, instrument_id, expires_at DESC) c
         WHERE c.expires_at < now()) x
  JOIN fm_sync.origin o ON o.origin = x.origin
