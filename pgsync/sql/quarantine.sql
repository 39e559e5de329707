INSERT INTO fm_sync.quarantine AS q (origin, coll, pk, epoch, seq, op, sqlstate, constraint_name, message, img)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
ON CONFLICT (origin, coll, pk) DO UPDATE
   SET epoch = excluded.epoch, seq = excluded.seq, op = excluded.op, sqlstate = excluded.sqlstate,
       constraint_name = excluded.constraint_name, message = excluded.message, img = excluded.img,
       last_at = excluded.last_at, tries = q.tries + 1
