UPDATE fm_sync.origin SET lease_until = clock_timestamp() + $4 * interval '1 millisecond'
 WHERE origin = $1 AND node = $2 AND term = $3
