-- What fm_report was made from: a row per view and function that the worker has made, or could not make.
CREATE TABLE fm_sync.report (
  name   text COLLATE "C" PRIMARY KEY,
  print  text NOT NULL, -- SHA-256 over its statement and the columns of the tables it reads
  reason text NOT NULL  -- why it was left out; '' when it is there
);

-- What this database does not have, or fm_report does not show, and why. field is '' for a whole table.
CREATE TABLE fm_sync.report_coverage (
  collection text COLLATE "C" NOT NULL,
  field      text COLLATE "C" NOT NULL,
  mirrored   boolean NOT NULL,
  reason     text NOT NULL,
  note       text NOT NULL,
  PRIMARY KEY (collection, field)
);

-- The date on the wall of a place. Nothing checks the names of time zones before they get here, and one wrong name must
-- not make a report fail for everybody: such a place counts in UTC.
CREATE FUNCTION fm_sync.local_date(at timestamptz, zone text) RETURNS date LANGUAGE plpgsql STABLE STRICT AS $$
BEGIN
  IF zone = '' THEN
    RETURN (at AT TIME ZONE 'UTC')::date;
  END IF;
  RETURN (at AT TIME ZONE zone)::date;
EXCEPTION WHEN invalid_parameter_value THEN
  RETURN (at AT TIME ZONE 'UTC')::date;
END $$;
