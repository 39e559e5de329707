SELECT j.seq, j.coll, j.pk, j.op::int, round(extract(epoch FROM j.at) * 1000)::bigint
  FROM fm_sync.journal j JOIN fm_sync.origin o ON o.origin = j.origin AND o.epoch = j.epoch
 WHERE o.source_id = $1 AND o.place = $2 AND j.seq <= o.seq
 ORDER BY j.seq DESC LIMIT $3
