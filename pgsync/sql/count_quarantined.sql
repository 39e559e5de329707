SELECT count(*), count(*) FILTER (WHERE sqlstate = '23503'), count(*) FILTER (WHERE img IS NULL AND op <> 3 AND pk NOT LIKE '"%')
  FROM fm_sync.quarantine WHERE origin = $1
