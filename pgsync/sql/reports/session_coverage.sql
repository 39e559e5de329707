-- Which buildings were visited in which month, and which were not?
-- A row per building and month, from the building's entry or its first session to its deletion or the newest change here.
-- Months without a session count 0. Months are those of the building's time zone.
SELECT b._origin AS origin, b.cut_at AS data_as_of, b.id AS building_id, b.name AS building, b.organisation_id, p.month::date AS month,
       coalesce(s.sessions, 0) AS sessions, coalesce(s.active, 0) AS active, coalesce(s.in_review, 0) AS in_review,
       coalesce(s.locked, 0) AS locked, coalesce(s.operations, 0) AS operations
  FROM (SELECT b._origin, b.id, b.name, b.organisation_id, o.cut_at,
               fm_sync.local_date(least(b.created_at, f.first_at), b.time_zone) AS first_on,
               fm_sync.local_date(coalesce(b.deleted_at, o.cut_at), b.time_zone) AS last_on
          FROM fm_mirror.buildings b
          JOIN fm_sync.origin o ON o.origin = b._origin
          LEFT JOIN (SELECT _origin, building_id, min(created_at) AS first_at
                       FROM fm_mirror.test_sessions GROUP BY _origin, building_id) f ON f._origin = b._origin AND f.building_id = b.id) b
 CROSS JOIN LATERAL generate_series(date_trunc('month', b.first_on::timestamp), b.last_on::timestamp, interval '1 month') AS p (month)
  LEFT JOIN (SELECT t._origin, t.building_id, date_trunc('month', fm_sync.local_date(t.created_at, h.time_zone)::timestamp) AS month,
                    count(*) AS sessions, count(*) FILTER (WHERE t.status = 'active') AS active,
                    count(*) FILTER (WHERE t.status = 'in_review') AS in_review, count(*) FILTER (WHERE t.status = 'locked') AS locked,
                    sum(t.server_seq) AS operations
               FROM fm_mirror.test_sessions t JOIN fm_mirror.buildings h ON h._origin = t._origin AND h.id = t.building_id
              GROUP BY 1, 2, 3) s ON s._origin = b._origin AND s.building_id = b.id AND s.month = p.month
