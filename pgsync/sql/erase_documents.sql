-- Not (epoch, seq) < ($2, $3): PostgreSQL would take the primary key for that, and walk it.
UPDATE fm_sync.journal j SET img = NULL, img_raw = NULL
  FROM fm_mirror.crdt_docs d
 WHERE d._origin = $1 AND d.id = ANY ($5::text[])
   AND j.origin = $1 AND j.coll = $4 AND j.pk = d.key
   AND (j.epoch < $2 OR j.epoch = $2 AND j.seq < $3) AND (j.img IS NOT NULL OR j.img_raw IS NOT NULL)
