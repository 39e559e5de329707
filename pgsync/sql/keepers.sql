SELECT p.proname, count(*) FILTER (WHERE g.tgenabled <> 'D') = 2
  FROM pg_trigger g JOIN pg_proc p ON p.oid = g.tgfoid JOIN pg_namespace n ON n.oid = p.pronamespace
 WHERE g.tgrelid = to_regclass($1) AND NOT g.tgisinternal AND n.nspname = 'fm_hist' AND p.proname LIKE 'fm\_keep\_%'
 GROUP BY p.proname
