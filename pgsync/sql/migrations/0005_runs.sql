-- What comparisons have found.
-- One row per sealed comparison of everything. The roots are those of data_model.md; tables has what they are made of,
-- and the differences. Rows are never changed.
CREATE TABLE fm_sync.verify_run (
  run         uuid PRIMARY KEY,
  origin      smallint NOT NULL REFERENCES fm_sync.origin,
  epoch       bigint NOT NULL,
  seq         bigint NOT NULL,
  at          timestamptz NOT NULL,
  equal       boolean NOT NULL,
  rows        bigint NOT NULL CHECK (rows >= 0),
  quarantined bigint NOT NULL CHECK (quarantined >= 0),
  differing   bigint NOT NULL CHECK (differing >= 0),
  source_root bytea NOT NULL CHECK (octet_length(source_root) = 32),
  mirror_root bytea NOT NULL CHECK (octet_length(mirror_root) = 32),
  tables      json NOT NULL,
  CHECK (equal = (differing = 0 AND source_root = mirror_root))
);
CREATE INDEX verify_run_at ON fm_sync.verify_run (origin, at);

-- One row per comparison of one table with the source, which repairs what differs. ended is NULL while it goes on.
CREATE TABLE fm_sync.reconcile_run (
  run      uuid NOT NULL,
  origin   smallint NOT NULL REFERENCES fm_sync.origin,
  epoch    bigint NOT NULL,
  seq      bigint NOT NULL,
  coll     text COLLATE "C" NOT NULL,
  mode     text NOT NULL CHECK (mode IN ('snapshot', 'shape', 'adopt', 'repair', 'rebuild', 'rolling')),
  rows     bigint NOT NULL DEFAULT 0,
  diffs    bigint NOT NULL DEFAULT 0,
  repaired bigint NOT NULL DEFAULT 0,
  started  timestamptz NOT NULL DEFAULT clock_timestamp(),
  ended    timestamptz,
  PRIMARY KEY (run, coll)
);
CREATE UNIQUE INDEX reconcile_run_open ON fm_sync.reconcile_run (origin, coll) WHERE ended IS NULL;
CREATE INDEX reconcile_run_ended ON fm_sync.reconcile_run (origin, ended);
