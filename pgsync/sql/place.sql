UPDATE fm_sync.origin SET place = $2 WHERE origin = $1 AND place IS DISTINCT FROM $2
