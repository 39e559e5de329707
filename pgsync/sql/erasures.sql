SELECT pk, max((epoch << $5) | seq) FROM fm_sync.journal
 WHERE origin = $1 AND coll = $2 AND pk = ANY ($3::text[]) AND op = $4 GROUP BY pk
