SELECT n.nspname || '.' || c.relname, c.oid::bigint, a.attname, a.attnum::int, format_type(a.atttypid, a.atttypmod)
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid
 WHERE n.nspname IN ('fm_mirror', 'fm_hist', 'fm_sync') AND c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped
 ORDER BY 1, 4
