-- What did each version of each rule decide, how often and when?
-- Rules that decided nothing yet have one row without an outcome.
SELECT r._origin AS origin, o.cut_at AS data_as_of, r.rule_code, r.version AS rule_version, r.rule_name, r.pack, r.provenance,
       r.is_active, r.rule_sha256, c.outcome, coalesce(c.decisions, 0) AS decisions, c.first_at, c.last_at,
       coalesce(c.other_text, 0) AS decided_under_other_text
  FROM fm_mirror.as1851_rules r
  JOIN fm_sync.origin o ON o.origin = r._origin
  LEFT JOIN (SELECT k._origin, k.rule_id, k.outcome, count(*) AS decisions, min(k.created_at) AS first_at, max(k.created_at) AS last_at,
                    count(*) FILTER (WHERE k.rule_sha256 <> q.rule_sha256 OR k.rule_version <> q.version) AS other_text
               FROM fm_mirror.classifications k
               LEFT JOIN fm_mirror.as1851_rules q ON q._origin = k._origin AND q.id = k.rule_id
              GROUP BY k._origin, k.rule_id, k.outcome) c ON c._origin = r._origin AND c.rule_id = r.id
