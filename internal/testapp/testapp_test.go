package testapp_test

import (
	"net/http"
	"os"
	"testing"

	"firemode/collections"
	"firemode/internal/testapp"
)

func TestMain(m *testing.M) {
	code := m.Run()
	testapp.Cleanup()
	os.Exit(code)
}

func TestAppsAreMigratedAndApart(t *testing.T) {
	t.Parallel()
	a, b := testapp.New(t), testapp.New(t)
	if a.DataDir() == b.DataDir() {
		t.Errorf("two apps share %s", a.DataDir())
	}
	for _, c := range collections.All() {
		if _, err := a.FindCollectionByNameOrId(c.Name); err != nil {
			t.Errorf("collection %s: %v", c.Name, err)
		}
	}
}

func TestConnectionsAreDurable(t *testing.T) {
	t.Parallel()
	app := testapp.New(t)
	for pragma, want := range map[string]string{"synchronous": "2", "foreign_keys": "1", "recursive_triggers": "1", "trusted_schema": "0", "secure_delete": "1", "journal_mode": "wal"} {
		var got string
		if err := app.NonconcurrentDB().NewQuery("PRAGMA " + pragma).Row(&got); err != nil || got != want {
			t.Errorf("PRAGMA %s: got %q (%v), want %q", pragma, got, err, want)
		}
	}
}

func TestServeAnswers(t *testing.T) {
	t.Parallel()
	res, err := http.Get(testapp.Serve(t, testapp.New(t)) + "/api/health")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Errorf("GET /api/health: got %d, want 200", res.StatusCode)
	}
}
