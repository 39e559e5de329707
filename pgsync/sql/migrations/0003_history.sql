-- The journal gets a partition per month. Entries that lie in the DEFAULT partition keep their month from getting one, and
-- PostgreSQL reads all of them for each partition that is added. So they become one partition, up to the end of this month.
DO $$
DECLARE
  ends timestamptz := (date_trunc('month', now() AT TIME ZONE 'UTC') + interval '1 month') AT TIME ZONE 'UTC';
BEGIN
  IF EXISTS (SELECT FROM fm_sync.journal_default) THEN
    ALTER TABLE fm_sync.journal DETACH PARTITION fm_sync.journal_default;
    ALTER TABLE fm_sync.journal_default RENAME TO journal_past;
    CREATE TABLE fm_sync.journal_default PARTITION OF fm_sync.journal DEFAULT;
    WITH later AS (DELETE FROM fm_sync.journal_past WHERE at >= ends RETURNING *)
    INSERT INTO fm_sync.journal_default SELECT * FROM later; -- written by a clock that was ahead
    EXECUTE format('ALTER TABLE fm_sync.journal ATTACH PARTITION fm_sync.journal_past FOR VALUES FROM (MINVALUE) TO (%L)', ends);
  END IF;
END $$;
