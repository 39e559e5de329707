SELECT fm_sync.advance($1, $2, $3, $4, $5, $6, $7, $8, to_timestamp($9::bigint / 1000.0), $10 * interval '1 millisecond')
