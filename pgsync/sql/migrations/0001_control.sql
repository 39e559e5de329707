-- Control tables of the mirror. Everything that says how far the mirror is lives here, in the same database and the
-- same transactions as the mirrored data.
-- One row: the identity of this PostgreSQL database as a mirror.
CREATE TABLE fm_sync.target (
  only_row   boolean PRIMARY KEY DEFAULT true CHECK (only_row),
  target_id  uuid NOT NULL DEFAULT gen_random_uuid(),
  created_at timestamptz NOT NULL DEFAULT now()
);
INSERT INTO fm_sync.target DEFAULT VALUES;

-- One row per SQLite database that mirrors into this one.
CREATE TABLE fm_sync.origin (
  origin      smallint PRIMARY KEY,
  source_id   uuid NOT NULL UNIQUE,
  epoch       bigint NOT NULL DEFAULT 1 CHECK (epoch > 0),
  seq         bigint NOT NULL DEFAULT 0 CHECK (seq >= 0),
  nonce       bigint NOT NULL DEFAULT 0,
  node        uuid,
  term        bigint NOT NULL DEFAULT 0,
  lease_until timestamptz NOT NULL DEFAULT '-infinity',
  cut_at      timestamptz,
  applied_at  timestamptz,
  batches     bigint NOT NULL DEFAULT 0,
  created_at  timestamptz NOT NULL DEFAULT now()
);

-- The shape of each mirrored table at the position of its origin, and how far a full comparison of it has come.
CREATE TABLE fm_sync.collection (
  origin   smallint NOT NULL REFERENCES fm_sync.origin,
  coll     text COLLATE "C" NOT NULL,
  shape    json NOT NULL,
  resync   text, -- NULL: complete; else the key after which the comparison goes on, '' from the start
  PRIMARY KEY (origin, coll)
);

-- Every log entry as it was. img is json, not jsonb: the exact text counts, and it takes \u0000.
CREATE TABLE fm_sync.journal (
  origin  smallint NOT NULL,
  epoch   bigint NOT NULL,
  seq     bigint NOT NULL,
  coll    text COLLATE "C" NOT NULL,
  pk      text COLLATE "C" NOT NULL,
  op      smallint NOT NULL CHECK (op BETWEEN 1 AND 6),
  at      timestamptz NOT NULL,
  img     json,
  img_raw bytea, -- instead of img when the image is not valid JSON text
  PRIMARY KEY (origin, epoch, seq, at)
) PARTITION BY RANGE (at);
CREATE TABLE fm_sync.journal_default PARTITION OF fm_sync.journal DEFAULT;
CREATE INDEX journal_at ON fm_sync.journal USING brin (at);
CREATE INDEX journal_row ON fm_sync.journal (origin, coll, pk, seq);

-- Rows that PostgreSQL refuses, with everything needed to bring them in once the reason is gone.
CREATE TABLE fm_sync.quarantine (
  origin          smallint NOT NULL REFERENCES fm_sync.origin,
  coll            text COLLATE "C" NOT NULL,
  pk              text COLLATE "C" NOT NULL,
  epoch           bigint NOT NULL,
  seq             bigint NOT NULL,
  op              smallint NOT NULL,
  sqlstate        text NOT NULL,
  constraint_name text NOT NULL DEFAULT '',
  message         text NOT NULL,
  img             bytea,
  first_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
  last_at         timestamptz NOT NULL DEFAULT clock_timestamp(),
  tries           integer NOT NULL DEFAULT 1,
  PRIMARY KEY (origin, coll, pk)
);

-- The position statement, which is also the fence: it moves exactly the row of the holder of the lease, from exactly
-- the position it was at, or it aborts the transaction.
CREATE FUNCTION fm_sync.advance(o smallint, e bigint, from_seq bigint, from_nonce bigint, to_seq bigint, to_nonce bigint,
                                who uuid, who_term bigint, cut timestamptz, lease interval)
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  UPDATE fm_sync.origin
     SET seq = to_seq, nonce = to_nonce, cut_at = coalesce(cut, cut_at), applied_at = clock_timestamp(),
         batches = batches + 1, lease_until = clock_timestamp() + lease
   WHERE origin = o AND epoch = e AND seq = from_seq AND nonce = from_nonce AND node = who AND term = who_term;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'position moved' USING ERRCODE = 'FM001';
  END IF;
END $$;
