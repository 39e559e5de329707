-- Who did what, when and from where?
-- Ask for a span of "at": the column stands bare, so that indexes and partitions by time serve. username is the name of
-- today. Accounts of administrators and of the system itself have none here.
SELECT a._origin AS origin, o.cut_at AS data_as_of, a.created_at AS at, a.seq, a.user_id, u.username, a.user_role, a.action,
       a.resource_type, a.resource_id, a.old_values, a.new_values, a.ip_address, a.user_agent, a.request_id, a.app_version, a.leaf_hash
  FROM fm_mirror.audit_log a
  JOIN fm_sync.origin o ON o.origin = a._origin
  LEFT JOIN fm_mirror.users u ON u._origin = a._origin AND u.id::text = a.user_id
