package migrations

import (
	"fmt"

	"github.com/pocketbase/pocketbase/core"
	m "github.com/pocketbase/pocketbase/migrations"
)

func init() {
	// A session's row holds the whole document, and SQLite walks over all its pages to the
	// columns behind it. The merge service asks for the status once per transaction; this
	// index answers without the row.
	m.Register(func(tx core.App) error {
		sessions, err := tx.FindCollectionByNameOrId("test_sessions")
		if err != nil {
			return fmt.Errorf("find test_sessions: %w", err)
		}
		sessions.AddIndex("idx_test_sessions_id_status", false, "`id`, `status`", "")
		if err := tx.Save(sessions); err != nil {
			return fmt.Errorf("index the status of sessions: %w", err)
		}
		return nil
	}, nil)
}
