package cli_test

import (
	"encoding/json"
	"strings"
	"testing"

	"firemode/collections"
	"firemode/sealed"

	"github.com/pocketbase/pocketbase/core"
)

// saveBuilding stores a building with two sealed contacts and returns its id.
func saveBuilding(t *testing.T, app core.App) string {
	t.Helper()
	save := func(collection string, values map[string]any) string {
		c, err := app.FindCollectionByNameOrId(collection)
		if err != nil {
			t.Fatal(err)
		}
		r := core.NewRecord(c)
		r.Load(values)
		if err := app.Save(r); err != nil {
			t.Fatal(err)
		}
		return r.Id
	}
	organisation := save(collections.Organisations, map[string]any{"name": "Assured Fire", "kind": "contractor"})
	return save(collections.Buildings, map[string]any{
		"name": "Harbour Tower", "address": "1 Quay St", "building_type": "5", "organisation_id": organisation,
		"contact_name": "Ada Marsh", "contact_phone": "+61 2 5550 0100",
	})
}

// Rotation moves every value to the new first key, after which the old one
// counts nothing; a key that is missing is named as the problem.
func TestKeysRotate(t *testing.T) {
	t.Parallel()
	p := newProgram(t)
	saveBuilding(t, p.app)
	fresh := sealed.Generate()
	ring := func(keys string) *sealed.Keyring {
		r, err := sealed.Parse(keys)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	count := func(key string) (values int) {
		var counts []struct {
			Key    string
			Values int
		}
		if err := json.Unmarshal([]byte(p.mustRun(t, "keys", "list", "--json")), &counts); err != nil {
			t.Fatal(err)
		}
		for _, c := range counts {
			if c.Key == key {
				values += c.Values
			}
		}
		return values
	}
	p.deps.Keys = ring(fresh + "," + keyText())
	newID, oldID := p.deps.Keys.KeyIDs()[0], p.deps.Keys.KeyIDs()[1]
	if count(oldID) != 2 || count(newID) != 0 {
		t.Fatalf("before: %d under the old key, %d under the new one; want 2 and 0", count(oldID), count(newID))
	}
	if _, errs, err := p.run("keys", "rotate"); err != nil || !strings.Contains(errs, "sealed anew: 2") {
		t.Fatalf("rotate: %v, %q", err, errs)
	}
	if count(oldID) != 0 || count(newID) != 2 {
		t.Errorf("after: %d under the old key, %d under the new one; want 0 and 2", count(oldID), count(newID))
	}
	p.deps.Keys = ring(keyText())
	if _, _, err := p.run("keys", "list"); err == nil || !strings.Contains(err.Error(), "FERNET_KEY") {
		t.Errorf("list without the key that seals: got %v, want what to do", err)
	}
}
