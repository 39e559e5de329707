-- Where the holder of the lease lies, without the time since which the machine runs: after a power cut it is the same
-- place, in a restored or copied directory another one.
ALTER TABLE fm_sync.origin ADD COLUMN place uuid;

-- Every point at which the journal is not one continuous log.
CREATE TABLE fm_sync.discontinuity (
  origin     smallint NOT NULL REFERENCES fm_sync.origin,
  epoch      bigint NOT NULL,
  seq        bigint NOT NULL, -- with epoch: where the journal goes on
  kind       text NOT NULL CHECK (kind IN ('log_start', 'lost_tail', 'adopted', 'history_gap')),
  from_epoch bigint NOT NULL, -- the last position before
  from_seq   bigint NOT NULL,
  entries    bigint NOT NULL, -- log_start: never journaled; lost_tail: journaled, and gone in SQLite; history_gap: journaled without image
  at         timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (origin, epoch, seq, kind)
);
