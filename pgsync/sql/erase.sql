UPDATE fm_sync.journal j SET img = NULL, img_raw = NULL
 WHERE j.origin = $1 AND (j.epoch, j.seq) < ($2, $3) AND (j.img IS NOT NULL OR j.img_raw IS NOT NULL)
   AND (j.coll = $4 AND j.pk = ANY ($5::text[])
     OR j.coll = $6 AND j.pk IN (SELECT d.key FROM fm_mirror.crdt_docs d WHERE d._origin = $1 AND d.id = ANY ($7::text[])))
