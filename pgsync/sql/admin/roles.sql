-- Roles of FireMode's mirror, for PostgreSQL 14 and later. Run this in the mirror's database as an administrator:
--
--   firemode mirror roles | psql -v ON_ERROR_STOP=1 "postgres://postgres@db.example.org/firemode"
--
-- No superuser is needed: a role with CREATEROLE that owns the database will do, as on managed servers. Run it again after
-- an update of FireMode, or over a mirror that another role has made so far; it changes only what is not so yet. In the
-- second case the administrator needs to be a superuser, or a member of that other role.
--
--   fm_owner   owns the schemas and everything in them; nobody logs in as it
--   fm_sync    the worker's login, for DATABASE_URL; acts as fm_owner
--   fm_report  may read the views of fm_report and nothing else; given to the logins of people and tools

BEGIN;

DO $$ BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'fm_owner') THEN CREATE ROLE fm_owner NOLOGIN; END IF;
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'fm_sync') THEN CREATE ROLE fm_sync LOGIN; END IF;
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'fm_report') THEN CREATE ROLE fm_report NOLOGIN; END IF;
END $$;

-- The administrator becomes a member to be able to hand things over to fm_owner.
GRANT fm_owner TO CURRENT_USER;
GRANT fm_owner TO fm_sync;

-- Every connection of the worker begins as fm_owner, so that whatever it makes belongs to fm_owner, whichever login
-- made it. The server does this, so it holds behind a pooler too.
ALTER ROLE fm_sync SET role = 'fm_owner';
-- What the worker does is bounded more tightly by itself; these end what a program left behind.
ALTER ROLE fm_sync SET statement_timeout = '1h';
ALTER ROLE fm_sync SET idle_in_transaction_session_timeout = '10min';
ALTER ROLE fm_sync SET tcp_user_timeout = '15s';

DO $$
DECLARE
  name text;
  thing record;
BEGIN
  IF NOT has_database_privilege('fm_sync', current_database(), 'CONNECT') THEN
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO fm_sync', current_database());
  END IF;
  IF NOT has_database_privilege('fm_report', current_database(), 'CONNECT') THEN
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO fm_report', current_database());
  END IF;
  FOREACH name IN ARRAY ARRAY['fm_sync', 'fm_mirror', 'fm_hist', 'fm_report'] LOOP
    IF to_regnamespace(name) IS NULL THEN
      EXECUTE format('CREATE SCHEMA %I AUTHORIZATION fm_owner', name);
    ELSIF (SELECT nspowner <> 'fm_owner'::regrole FROM pg_namespace WHERE nspname = name) THEN
      EXECUTE format('ALTER SCHEMA %I OWNER TO fm_owner', name);
    END IF;
    FOR thing IN SELECT c.oid::regclass AS is FROM pg_class c
                  WHERE c.relnamespace = to_regnamespace(name) AND c.relkind IN ('r', 'p', 'v', 'm') AND c.relowner <> 'fm_owner'::regrole LOOP
      EXECUTE format('ALTER TABLE %s OWNER TO fm_owner', thing.is);
    END LOOP;
    FOR thing IN SELECT p.oid::regprocedure AS is FROM pg_proc p
                  WHERE p.pronamespace = to_regnamespace(name) AND p.proowner <> 'fm_owner'::regrole LOOP
      EXECUTE format('ALTER ROUTINE %s OWNER TO fm_owner', thing.is);
    END LOOP;
  END LOOP;
END $$;

REVOKE ALL ON SCHEMA fm_sync, fm_mirror, fm_hist, fm_report FROM PUBLIC;
-- The worker grants each view that it makes; this is for those that it made before there was the role.
GRANT USAGE ON SCHEMA fm_report TO fm_report;
GRANT SELECT ON ALL TABLES IN SCHEMA fm_report TO fm_report;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA fm_report TO fm_report;

COMMIT;

-- Then give the worker a password, in psql: \password fm_sync
--
-- A login for people or a tool that reads reports. Settings of a role are not passed on to its members, so they stand
-- with each login; they guard against mistakes, while the missing rights are what keeps a reader out of the rest:
--
-- CREATE ROLE firemode_reader LOGIN IN ROLE fm_report;
-- ALTER ROLE firemode_reader SET default_transaction_read_only = on;
-- ALTER ROLE firemode_reader SET statement_timeout = '5min';
-- ALTER ROLE firemode_reader SET idle_in_transaction_session_timeout = '1min';
