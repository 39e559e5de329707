SELECT count(*) FROM fm_sync.quarantine WHERE origin = $1
