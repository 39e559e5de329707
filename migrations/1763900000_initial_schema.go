package migrations

import (
	_ "embed"
	"fmt"
	"strings"

	"github.com/pocketbase/pocketbase/core"
	m "github.com/pocketbase/pocketbase/migrations"
)

//go:embed 1763900000_initial_schema.json
var initialSchemaJSON []byte

//go:embed 1763900000_initial_schema.sql
var initialSchemaSQL string

func init() {
	m.Register(func(tx core.App) error {
		// Before a collection is deleted: after the commit PocketBase loads the saved
		// settings, and removes the files of the deleted collection on a goroutine
		// that reads them.
		settings := tx.Settings()
		settings.Meta.AppName = "FireMode"
		if err := tx.Save(settings); err != nil {
			return fmt.Errorf("name the application: %w", err)
		}

		// PocketBase's own first migration makes a users collection with another
		// id and other fields; on a fresh directory it is empty and gives way.
		if stock, err := tx.FindCollectionByNameOrId("_pb_users_auth_"); err == nil {
			if err := tx.Delete(stock); err != nil {
				return fmt.Errorf("remove the stock users collection: %w", err)
			}
		}

		tables, triggers, ok := strings.Cut(initialSchemaSQL, "-- After the collections.\n")
		if !ok {
			return fmt.Errorf("initial schema: the SQL has no marker between tables and triggers")
		}
		// The change log exists before the first collection, so that nothing is
		// ever written without a marker.
		if err := execAll(tx, tables); err != nil {
			return err
		}
		if err := tx.ImportCollectionsByMarshaledJSON(initialSchemaJSON, false); err != nil {
			return fmt.Errorf("import the initial collections: %w", err)
		}

		superusers, err := tx.FindCollectionByNameOrId(core.CollectionNameSuperusers)
		if err != nil {
			return fmt.Errorf("find superusers: %w", err)
		}
		superusers.Fields.Add(&core.SelectField{
			Id: "fm__superusers_role", Name: "role", MaxSelect: 1,
			Values: []string{"admin", "officer", "auditor"},
		})
		superusers.Fields.GetByName("password").(*core.PasswordField).Cost = 4
		superusers.AuthAlert.Enabled = false
		if err := tx.Save(superusers); err != nil {
			return fmt.Errorf("extend superusers: %w", err)
		}
		return execAll(tx, triggers)
	}, nil)
}

// execAll runs statements that are separated by a line holding only "--".
func execAll(tx core.App, script string) error {
	for _, stmt := range strings.Split(script, "\n--\n") {
		if strings.TrimSpace(stmt) == "" {
			continue
		}
		// NewQuery would take {:x} and [[x]] for its own placeholders; the frozen
		// statements use neither.
		if _, err := tx.NonconcurrentDB().NewQuery(stmt).Execute(); err != nil {
			return fmt.Errorf("run %q: %w", firstLine(stmt), err)
		}
	}
	return nil
}

func firstLine(stmt string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(stmt), "\n")
	return line
}
