SELECT DISTINCT format('%I.%I', n.nspname, v.relname)
  FROM pg_depend d JOIN pg_rewrite w ON w.oid = d.objid JOIN pg_class v ON v.oid = w.ev_class JOIN pg_namespace n ON n.oid = v.relnamespace
 WHERE d.classid = 'pg_rewrite'::regclass AND d.refclassid = 'pg_class'::regclass AND n.nspname = 'fm_report'
   AND d.refobjid IN (SELECT to_regclass(name) FROM unnest($1::text[]) AS t (name))
 ORDER BY 1
