SELECT current_setting('server_version'), current_setting('server_version_num')::int, current_setting('server_encoding'),
  pg_is_in_recovery() OR current_setting('transaction_read_only') = 'on',
  coalesce((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false),
  inet_client_addr() IS NULL OR inet_client_addr() <<= '127.0.0.0/8' OR inet_client_addr() = '::1',
  has_database_privilege(current_database(), 'CREATE'),
  to_regnamespace('fm_sync') IS NOT NULL AND to_regnamespace('fm_mirror') IS NOT NULL AND to_regnamespace('fm_hist') IS NOT NULL,
  coalesce((SELECT bool_and(has_schema_privilege(to_regnamespace(s), 'USAGE') AND has_schema_privilege(to_regnamespace(s), 'CREATE'))
    FROM unnest(ARRAY['fm_sync', 'fm_mirror', 'fm_hist']) s), false),
  clock_timestamp()
