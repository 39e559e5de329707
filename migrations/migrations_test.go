package migrations_test

import (
	"bytes"
	"encoding/json"
	"os"
	"testing"

	"firemode/collections"
	_ "firemode/migrations"

	"github.com/pocketbase/pocketbase/core"
)

// bootstrapped returns an app on a fresh data directory.
func bootstrapped(t *testing.T) core.App {
	t.Helper()
	app := core.NewBaseApp(core.BaseAppConfig{DataDir: t.TempDir()})
	if err := app.Bootstrap(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = app.ResetBootstrapState() })
	return app
}

// migrated returns an app on a fresh data directory with every step applied.
func migrated(t *testing.T) core.App {
	t.Helper()
	app := bootstrapped(t)
	if err := app.RunAllMigrations(); err != nil {
		t.Fatal(err)
	}
	return app
}

// A fresh directory equals what collections declares: field for field, rule for
// rule, index for index.
func TestMigrationsBuildTheDeclaredSchema(t *testing.T) {
	t.Parallel()
	app := migrated(t)
	var built []map[string]any
	for _, declared := range collections.All() {
		c, err := app.FindCollectionByNameOrId(declared.Id)
		if err != nil {
			t.Fatalf("collection %s: %v", declared.Name, err)
		}
		built = append(built, exported(t, c))
	}
	got, err := json.MarshalIndent(built, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("../collections/testdata/schema.golden.json")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(bytes.TrimSpace(got), bytes.TrimSpace(want)) {
		dir := t.ArtifactDir()
		_ = os.WriteFile(dir+"/built.json", got, 0o644)
		t.Errorf("the migrated schema differs from the declared one; compare %s/built.json with the golden file", dir)
	}
}

// exported is the collection in import form, without what differs per installation.
func exported(t *testing.T, c *core.Collection) map[string]any {
	t.Helper()
	raw, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	m := map[string]any{}
	if err := json.Unmarshal(raw, &m); err != nil {
		t.Fatal(err)
	}
	delete(m, "created")
	delete(m, "updated")
	return m
}
