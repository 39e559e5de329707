package migrations

import (
	"fmt"

	"github.com/pocketbase/pocketbase/core"
	m "github.com/pocketbase/pocketbase/migrations"
)

func init() {
	// The flags of an operation were left open for lifting a quarantine in place.
	// An admission is an operation of its own, so a row never changes at all.
	m.Register(func(tx core.App) error {
		for _, stmt := range []string{
			"DROP TRIGGER `crdt_ops_no_update`",
			"CREATE TRIGGER `crdt_ops_no_update` BEFORE UPDATE ON `crdt_ops`\n" +
				"BEGIN SELECT RAISE(ABORT, 'the operation log is append-only'); END",
		} {
			if _, err := tx.NonconcurrentDB().NewQuery(stmt).Execute(); err != nil {
				return fmt.Errorf("freeze the operation rows: %w", err)
			}
		}
		return nil
	}, nil)
}
