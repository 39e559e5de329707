-- The bounds are read back as they are written, so the session's time zone does not matter.
WITH bound AS (
  SELECT (regexp_match(pg_get_expr(c.relpartbound, c.oid), 'FROM \(''([^'']+)''\)'))[1]::timestamptz AS lo,
         (regexp_match(pg_get_expr(c.relpartbound, c.oid), 'TO \(''([^'']+)''\)'))[1]::timestamptz AS hi
    FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
   WHERE i.inhparent = 'fm_sync.journal'::regclass AND pg_get_expr(c.relpartbound, c.oid) <> 'DEFAULT'
)
SELECT m.month
  FROM unnest($1::timestamptz[], $2::timestamptz[], $3::text[]) AS m (month, next, name)
 WHERE to_regclass('fm_sync.' || m.name) IS NULL
   AND NOT EXISTS (SELECT FROM bound b WHERE coalesce(b.lo, '-infinity') < m.next AND coalesce(b.hi, 'infinity') > m.month)
   AND NOT EXISTS (SELECT FROM fm_sync.journal_default d WHERE d.at >= m.month AND d.at < m.next)
 ORDER BY m.month
