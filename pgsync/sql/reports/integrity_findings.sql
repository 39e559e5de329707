-- What in the mirror is not whole: rows that were refused or are old, references to nothing, versions that overlap?
-- It reads every table. The part in braces is made for the tables that there are.
SELECT x.origin, o.cut_at AS data_as_of, x.kind, x.collection, x.record_id, x.field, x.refers_to, x.detail, x.since
  FROM (SELECT q.origin, 'quarantined' AS kind, coalesce(c.shape ->> 'name', q.coll) AS collection, q.pk AS record_id, '' AS field,
               '' AS refers_to, trim(q.sqlstate || ' ' || q.constraint_name) AS detail, q.first_at AS since
          FROM fm_sync.quarantine q LEFT JOIN fm_sync.collection c ON c.origin = q.origin AND c.coll = q.coll
        {{findings}}) x
  JOIN fm_sync.origin o ON o.origin = x.origin
