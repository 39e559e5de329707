SELECT o.origin, o.epoch, o.seq, o.nonce, o.node::text, o.lease_until > clock_timestamp(),
       (SELECT count(*) FROM fm_sync.quarantine q WHERE q.origin = o.origin),
       (SELECT count(*) FROM fm_sync.collection c WHERE c.origin = o.origin AND c.resync IS NOT NULL),
       coalesce(o.applied_at, o.created_at)
  FROM fm_sync.origin o WHERE o.source_id = $1
