package migrations

import (
	"fmt"

	"github.com/pocketbase/pocketbase/core"
	m "github.com/pocketbase/pocketbase/migrations"
)

func init() {
	// Whoever decides conflicts asks which there are, over all sessions. The documents say
	// so too, but only to somebody who reads them all.
	m.Register(func(tx core.App) error {
		for _, stmt := range []string{
			"CREATE TABLE `crdt_conflicts` (\n" +
				"  `id` INTEGER PRIMARY KEY,\n" +
				"  `doc` INTEGER NOT NULL REFERENCES `crdt_docs` (`id`),\n" +
				"  `path` TEXT NOT NULL,\n" +
				"  `policy` TEXT NOT NULL,\n" +
				"  `value_count` INTEGER NOT NULL,\n" +
				"  `opened_at` INTEGER NOT NULL,\n" +
				"  `changed_at` INTEGER NOT NULL,\n" +
				"  `resolved_at` INTEGER NOT NULL DEFAULT 0,\n" +
				"  UNIQUE (`doc`, `path`)\n" +
				")",
			"CREATE INDEX `idx_crdt_conflicts_open` ON `crdt_conflicts` (`id`) WHERE `resolved_at` = 0",
			"CREATE TRIGGER `crdt_conflicts_no_delete` BEFORE DELETE ON `crdt_conflicts`\n" +
				"BEGIN SELECT RAISE(ABORT, 'a conflict is resolved, never deleted'); END",
		} {
			if _, err := tx.NonconcurrentDB().NewQuery(stmt).Execute(); err != nil {
				return fmt.Errorf("list conflicts: %w", err)
			}
		}
		return nil
	}, nil)
}
