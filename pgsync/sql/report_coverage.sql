INSERT INTO fm_sync.report_coverage (collection, field, mirrored, reason, note)
SELECT * FROM unnest($1::text[], $2::text[], $3::boolean[], $4::text[], $5::text[])
