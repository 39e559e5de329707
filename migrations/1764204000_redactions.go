package migrations

import (
	"fmt"

	"github.com/pocketbase/pocketbase/core"
	m "github.com/pocketbase/pocketbase/migrations"
)

func init() {
	// An operation keeps its row for ever. Its value may be erased once, after the row of
	// crdt_redactions says which operation of the log ordered it; everything else in the
	// row stays, the hash of the original line included.
	m.Register(func(tx core.App) error {
		for _, stmt := range []string{
			"CREATE TABLE `crdt_redactions` (\n" +
				"  `doc` INTEGER NOT NULL,\n" +
				"  `n` INTEGER NOT NULL,\n" +
				"  `by_n` INTEGER NOT NULL,\n" +
				"  PRIMARY KEY (`doc`, `n`),\n" +
				"  FOREIGN KEY (`doc`, `n`) REFERENCES `crdt_ops` (`doc`, `n`),\n" +
				"  FOREIGN KEY (`doc`, `by_n`) REFERENCES `crdt_ops` (`doc`, `n`)\n" +
				") WITHOUT ROWID",
			"CREATE TRIGGER `crdt_redactions_no_update` BEFORE UPDATE ON `crdt_redactions`\n" +
				"BEGIN SELECT RAISE(ABORT, 'a redaction is final'); END",
			"CREATE TRIGGER `crdt_redactions_no_delete` BEFORE DELETE ON `crdt_redactions`\n" +
				"BEGIN SELECT RAISE(ABORT, 'a redaction is final'); END",
			"DROP TRIGGER `crdt_ops_no_update`",
			"CREATE TRIGGER `crdt_ops_no_update` BEFORE UPDATE ON `crdt_ops`\n" +
				"WHEN NOT (NEW.`doc` = OLD.`doc` AND NEW.`n` = OLD.`n` AND NEW.`actor` = OLD.`actor` AND NEW.`seq` = OLD.`seq`\n" +
				"  AND NEW.`recv` = OLD.`recv` AND NEW.`hash` = OLD.`hash` AND OLD.`q` & 32 = 0 AND NEW.`q` = OLD.`q` | 32\n" +
				"  AND EXISTS (SELECT 1 FROM `crdt_redactions` r WHERE r.`doc` = OLD.`doc` AND r.`n` = OLD.`n`))\n" +
				"BEGIN SELECT RAISE(ABORT, 'the operation log is append-only'); END",
		} {
			if _, err := tx.NonconcurrentDB().NewQuery(stmt).Execute(); err != nil {
				return fmt.Errorf("allow redactions: %w", err)
			}
		}
		return nil
	}, nil)
}
