-- 7: a run of rows was appended. Its entry has no image; the rows themselves never change but for an erased value.
ALTER TABLE fm_sync.journal DROP CONSTRAINT journal_op_check;
ALTER TABLE fm_sync.journal ADD CONSTRAINT journal_op_check CHECK (op BETWEEN 1 AND 7);
