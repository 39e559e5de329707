-- Not (epoch, seq) < ...: PostgreSQL would take the primary key for that, and walk it.
UPDATE fm_sync.journal j SET img = NULL, img_raw = NULL FROM unnest($3::text[], $4::bigint[]) AS e (pk, ver)
 WHERE j.origin = $1 AND j.coll = $2 AND j.pk = e.pk
   AND (j.epoch << $5) | j.seq < e.ver AND (j.img IS NOT NULL OR j.img_raw IS NOT NULL)
