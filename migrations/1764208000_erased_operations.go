package migrations

import (
	"fmt"

	"github.com/pocketbase/pocketbase/core"
	m "github.com/pocketbase/pocketbase/migrations"
)

func init() {
	// Few operations lose their value. The writer asks for them when it opens a document, and
	// the mirror's log once per redaction whether it was seen before.
	m.Register(func(tx core.App) error {
		for _, stmt := range []string{
			"CREATE INDEX `idx_crdt_ops_erased` ON `crdt_ops` (`doc`, `n`) WHERE `q` & 32 <> 0",
			"CREATE INDEX `idx_crdt_redactions_by` ON `crdt_redactions` (`doc`, `by_n`)",
		} {
			if _, err := tx.NonconcurrentDB().NewQuery(stmt).Execute(); err != nil {
				return fmt.Errorf("index erased operations: %w", err)
			}
		}
		return nil
	}, nil)
}
