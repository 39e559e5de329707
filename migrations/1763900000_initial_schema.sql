CREATE TABLE `_fm_params` (`k` TEXT PRIMARY KEY NOT NULL, `v` TEXT NOT NULL) WITHOUT ROWID
--
CREATE TABLE `_pgsync_log` (
  `seq` INTEGER PRIMARY KEY AUTOINCREMENT,
  `coll` TEXT NOT NULL,
  `pk` TEXT NOT NULL,
  `op` INTEGER NOT NULL,
  `at` INTEGER NOT NULL,
  `nonce` INTEGER NOT NULL,
  `img` TEXT
)
--
CREATE TABLE `_pgsync_cut` (`seq` INTEGER PRIMARY KEY, `at` INTEGER NOT NULL)
--
CREATE TABLE `_pgsync_meta` (`k` TEXT PRIMARY KEY NOT NULL, `v` TEXT NOT NULL) WITHOUT ROWID
--
CREATE TABLE `crdt_docs` (
  `id` INTEGER PRIMARY KEY,
  `key` TEXT NOT NULL UNIQUE,
  `n` INTEGER NOT NULL DEFAULT 0
)
--
CREATE TABLE `crdt_actors` (
  `id` INTEGER PRIMARY KEY,
  `key` TEXT NOT NULL UNIQUE,
  `user` TEXT NOT NULL,
  `device` TEXT NOT NULL,
  `pubkey` BLOB,
  `revoked` INTEGER NOT NULL DEFAULT 0,
  UNIQUE (`user`, `device`, `key`)
)
--
CREATE TABLE `crdt_ops` (
  `doc` INTEGER NOT NULL REFERENCES `crdt_docs` (`id`),
  `n` INTEGER NOT NULL,
  `actor` INTEGER NOT NULL REFERENCES `crdt_actors` (`id`),
  `seq` INTEGER NOT NULL,
  `recv` INTEGER NOT NULL,
  `q` INTEGER NOT NULL DEFAULT 0,
  `hash` BLOB NOT NULL,
  `line` BLOB NOT NULL,
  PRIMARY KEY (`doc`, `n`),
  UNIQUE (`doc`, `actor`, `seq`)
) WITHOUT ROWID
--
CREATE TABLE `crdt_heads` (
  `doc` INTEGER NOT NULL REFERENCES `crdt_docs` (`id`),
  `actor` INTEGER NOT NULL REFERENCES `crdt_actors` (`id`),
  `seq` INTEGER NOT NULL,
  `chain` BLOB NOT NULL,
  PRIMARY KEY (`doc`, `actor`)
) WITHOUT ROWID
--
CREATE TABLE `crdt_snaps` (
  `doc` INTEGER NOT NULL REFERENCES `crdt_docs` (`id`),
  `n` INTEGER NOT NULL,
  `digest` BLOB NOT NULL,
  `state` BLOB NOT NULL,
  PRIMARY KEY (`doc`, `n`)
) WITHOUT ROWID
--
CREATE TRIGGER `crdt_ops_no_update` BEFORE UPDATE OF `doc`, `n`, `actor`, `seq`, `recv`, `hash`, `line` ON `crdt_ops`
BEGIN SELECT RAISE(ABORT, 'the operation log is append-only'); END
--
CREATE TRIGGER `crdt_ops_no_delete` BEFORE DELETE ON `crdt_ops`
BEGIN SELECT RAISE(ABORT, 'the operation log is append-only'); END
-- After the collections.
CREATE TRIGGER `users_password_insert` BEFORE INSERT ON `users`
WHEN NEW.`password` NOT LIKE '$argon2id$%'
BEGIN SELECT RAISE(ABORT, 'passwords are stored as Argon2id only'); END
--
CREATE TRIGGER `users_password_update` BEFORE UPDATE OF `password` ON `users`
WHEN NEW.`password` IS NOT OLD.`password` AND NEW.`password` NOT LIKE '$argon2id$%'
BEGIN SELECT RAISE(ABORT, 'passwords are stored as Argon2id only'); END
--
CREATE TRIGGER `superusers_password_insert` BEFORE INSERT ON `_superusers`
WHEN NEW.`password` NOT LIKE '$argon2id$%'
BEGIN SELECT RAISE(ABORT, 'passwords are stored as Argon2id only'); END
--
CREATE TRIGGER `superusers_password_update` BEFORE UPDATE OF `password` ON `_superusers`
WHEN NEW.`password` IS NOT OLD.`password` AND NEW.`password` NOT LIKE '$argon2id$%'
BEGIN SELECT RAISE(ABORT, 'passwords are stored as Argon2id only'); END
--
CREATE TRIGGER `audit_log_no_update` BEFORE UPDATE ON `audit_log`
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END
--
CREATE TRIGGER `audit_log_no_delete` BEFORE DELETE ON `audit_log`
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END
--
CREATE TRIGGER `evidence_immutable` BEFORE UPDATE OF `id`, `session_id`, `evidence_type`, `file`, `checksum`, `size`, `media_type`, `metadata`, `captured_at`, `created_by`, `created_at` ON `evidence`
WHEN NEW.`id` IS NOT OLD.`id` OR NEW.`session_id` IS NOT OLD.`session_id` OR NEW.`evidence_type` IS NOT OLD.`evidence_type`
  OR NEW.`file` IS NOT OLD.`file` OR NEW.`checksum` IS NOT OLD.`checksum` OR NEW.`size` IS NOT OLD.`size`
  OR NEW.`media_type` IS NOT OLD.`media_type` OR NEW.`metadata` IS NOT OLD.`metadata` OR NEW.`captured_at` IS NOT OLD.`captured_at`
  OR NEW.`created_by` IS NOT OLD.`created_by` OR NEW.`created_at` IS NOT OLD.`created_at`
BEGIN SELECT RAISE(ABORT, 'evidence is immutable but for its flag and hold'); END
--
CREATE TRIGGER `evidence_retention` BEFORE UPDATE OF `retain_until` ON `evidence`
WHEN NEW.`retain_until` < OLD.`retain_until`
BEGIN SELECT RAISE(ABORT, 'retention is only ever extended'); END
--
CREATE TRIGGER `evidence_no_delete` BEFORE DELETE ON `evidence`
BEGIN SELECT RAISE(ABORT, 'evidence is never deleted'); END
--
CREATE TRIGGER `as1851_rules_immutable` BEFORE UPDATE ON `as1851_rules`
WHEN NEW.`id` IS NOT OLD.`id` OR NEW.`rule_code` IS NOT OLD.`rule_code` OR NEW.`version` IS NOT OLD.`version`
  OR NEW.`rule_name` IS NOT OLD.`rule_name` OR NEW.`description` IS NOT OLD.`description` OR NEW.`rule_schema` IS NOT OLD.`rule_schema`
  OR NEW.`pack` IS NOT OLD.`pack` OR NEW.`provenance` IS NOT OLD.`provenance` OR NEW.`rule_sha256` IS NOT OLD.`rule_sha256`
  OR NEW.`created_by` IS NOT OLD.`created_by` OR NEW.`created_at` IS NOT OLD.`created_at`
BEGIN SELECT RAISE(ABORT, 'a rule version is immutable but for its activation'); END
--
CREATE TRIGGER `as1851_rules_no_delete` BEFORE DELETE ON `as1851_rules`
BEGIN SELECT RAISE(ABORT, 'a rule version is never deleted'); END
--
CREATE TRIGGER `classifications_no_update` BEFORE UPDATE ON `classifications`
BEGIN SELECT RAISE(ABORT, 'a classification is immutable'); END
--
CREATE TRIGGER `classifications_no_delete` BEFORE DELETE ON `classifications`
BEGIN SELECT RAISE(ABORT, 'a classification is never deleted'); END
--
CREATE TRIGGER `calibration_certificates_period_insert` BEFORE INSERT ON `calibration_certificates`
WHEN NEW.`expires_at` <= NEW.`calibrated_at`
BEGIN SELECT RAISE(ABORT, 'a certificate expires after its calibration'); END
--
CREATE TRIGGER `calibration_certificates_period_update` BEFORE UPDATE ON `calibration_certificates`
WHEN NEW.`expires_at` <= NEW.`calibrated_at`
BEGIN SELECT RAISE(ABORT, 'a certificate expires after its calibration'); END
