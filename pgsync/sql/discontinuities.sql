SELECT count(*), coalesce((array_agg(d.kind ORDER BY d.at DESC))[1], ''), coalesce(max(d.at), 'epoch')
  FROM fm_sync.discontinuity d JOIN fm_sync.origin o ON o.origin = d.origin WHERE o.source_id = $1
