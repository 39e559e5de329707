SELECT count(*), count(*) FILTER (WHERE sqlstate = '23503') FROM fm_sync.quarantine WHERE origin = $1
