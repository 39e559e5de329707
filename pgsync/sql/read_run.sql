SELECT v.run::text, v.origin, v.epoch, v.seq, v.at, v.equal, v.source_root, v.mirror_root, v.tables::text
  FROM fm_sync.verify_run v JOIN fm_sync.origin o ON o.origin = v.origin
 WHERE o.source_id = $1 AND ($2 = '' AND v.equal OR v.run::text = $2)
 ORDER BY v.at DESC LIMIT 1
