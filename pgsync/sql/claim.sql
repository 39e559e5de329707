UPDATE fm_sync.origin
   SET node = $2, term = term + 1, lease_until = clock_timestamp() + $3 * interval '1 millisecond'
 WHERE source_id = $1 AND (lease_until < clock_timestamp() OR (node = $2 AND $4))
RETURNING origin, epoch, seq, nonce, term
