INSERT INTO fm_sync.journal (origin, epoch, seq, coll, pk, op, at, img, img_raw)
SELECT $1, $2, r.seq, r.coll, r.pk, r.op, to_timestamp(r.at / 1000.0), r.img::json, r.img_raw
  FROM unnest($3::bigint[], $4::text[], $5::text[], $6::smallint[], $7::bigint[], $8::text[], $9::bytea[])
    AS r (seq, coll, pk, op, at, img, img_raw)
