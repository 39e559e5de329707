-- The views and functions that there are, and whether the role of the readers, when there is one, may use them.
SELECT c.relname, NOT coalesce(has_table_privilege(r.oid, c.oid, 'SELECT') AND has_schema_privilege(r.oid, n.oid, 'USAGE'), true)
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_roles r ON r.rolname = 'fm_report'
 WHERE n.nspname = 'fm_report' AND c.relkind = 'v'
UNION ALL
SELECT p.proname, NOT coalesce(has_function_privilege(r.oid, p.oid, 'EXECUTE') AND has_schema_privilege(r.oid, n.oid, 'USAGE'), true)
  FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace LEFT JOIN pg_roles r ON r.rolname = 'fm_report'
 WHERE n.nspname = 'fm_report' AND p.pronargs = 1 AND p.proargtypes[0] = 'timestamptz'::regtype
