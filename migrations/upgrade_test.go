package migrations_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/pocketbase/pocketbase/core"
)

// A directory that stopped at any earlier step and is then brought up to date
// has the schema of a fresh one: tables, columns, indexes, triggers, and the
// collections as PocketBase stores them.
func TestUpgradedEqualsFresh(t *testing.T) {
	t.Parallel()
	want := schemaOf(t, migrated(t))
	steps := core.AppMigrations.Items()
	if len(steps) == 0 {
		t.Fatal("no migrations are registered")
	}
	for stop := range steps {
		app := bootstrapped(t)
		if err := app.RunSystemMigrations(); err != nil {
			t.Fatal(err)
		}
		var earlier core.MigrationsList
		for _, step := range steps[:stop] {
			earlier.Add(step)
		}
		if _, err := core.NewMigrationsRunner(app, earlier).Up(); err != nil {
			t.Fatalf("the first %d steps: %v", stop, err)
		}
		if err := app.RunAllMigrations(); err != nil {
			t.Fatalf("upgrade after %d steps: %v", stop, err)
		}
		if diff := difference(schemaOf(t, app), want); diff != "" {
			t.Errorf("upgraded after %d steps differs from fresh in: %s", stop, diff)
		}
	}
}

// Running the migrations again changes nothing.
func TestMigrationsAreIdempotent(t *testing.T) {
	t.Parallel()
	app := migrated(t)
	before := schemaOf(t, app)
	if err := app.RunAllMigrations(); err != nil {
		t.Fatal(err)
	}
	if diff := difference(schemaOf(t, app), before); diff != "" {
		t.Errorf("a second run changed: %s", diff)
	}
}

func TestComparisonFindsDifferences(t *testing.T) {
	t.Parallel()
	want := schemaOf(t, migrated(t))
	for _, change := range []string{
		"CREATE INDEX extra ON audit_log (action)", "DROP TRIGGER audit_log_no_delete",
		"ALTER TABLE buildings ADD COLUMN extra TEXT", "UPDATE _collections SET listRule = '' WHERE name = 'users'",
	} {
		app := migrated(t)
		if _, err := app.NonconcurrentDB().NewQuery(change).Execute(); err != nil {
			t.Fatal(err)
		}
		if difference(schemaOf(t, app), want) == "" {
			t.Errorf("not noticed: %s", change)
		}
	}
}

// schemaOf maps the name of everything that the schema consists of to its definition.
func schemaOf(t *testing.T, app core.App) map[string]string {
	t.Helper()
	schema := map[string]string{}
	var objects []struct {
		Type string `db:"type"`
		Name string `db:"name"`
		SQL  string `db:"sql"`
	}
	if err := app.DB().NewQuery("SELECT type, name, coalesce(sql, '') AS sql FROM sqlite_master").All(&objects); err != nil {
		t.Fatal(err)
	}
	for _, o := range objects {
		schema[o.Type+" "+o.Name] = strings.Join(strings.Fields(o.SQL), " ")
	}
	var stored []struct {
		ID    string `db:"id"`
		Shape string `db:"shape"`
	}
	// Options hold secrets that differ per installation; the collections that
	// FireMode declares are compared in full by the test against the declaration.
	query := `SELECT id, json_array(name, type, fields, indexes, listRule, viewRule, createRule, updateRule, deleteRule) AS shape FROM _collections`
	if err := app.DB().NewQuery(query).All(&stored); err != nil {
		t.Fatal(err)
	}
	for _, c := range stored {
		schema["collection "+c.ID] = c.Shape
	}
	return schema
}

func difference(got, want map[string]string) string {
	var names []string
	for name := range got {
		if got[name] != want[name] {
			names = append(names, name)
		}
	}
	for name := range want {
		if _, ok := got[name]; !ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}
