-- What is not in this database, or not in these views, and why?
-- field is empty for a whole table or view. mirrored tells whether PostgreSQL has it all the same.
SELECT o.origin, o.cut_at AS data_as_of, c.collection, c.field, c.mirrored, c.reason, c.note
  FROM fm_sync.origin o
 CROSS JOIN (SELECT collection, field, mirrored, reason, note FROM fm_sync.report_coverage
             UNION ALL
             SELECT 'fm_report.' || name, '', false, 'left out', reason FROM fm_sync.report WHERE reason <> '') c
