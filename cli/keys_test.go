package cli_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"firemode/collections"
	"firemode/hooks"
	"firemode/sealed"

	"github.com/pocketbase/pocketbase/core"
)

// saveBuildings stores an organisation's buildings with two sealed contacts each and returns
// their ids.
func saveBuildings(t *testing.T, app core.App, names ...string) (ids []string) {
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
	for _, name := range names {
		ids = append(ids, save(collections.Buildings, map[string]any{
			"name": name, "address": "1 Quay St", "building_type": "5", "organisation_id": organisation,
			"contact_name": "Ada of " + name, "contact_phone": "+61 2 5550 0100",
		}))
	}
	return ids
}

// Rotation moves every value to the new first key, after which the old one
// counts nothing; a key that is missing is named as the problem.
func TestKeysRotate(t *testing.T) {
	t.Parallel()
	p := newProgram(t)
	saveBuildings(t, p.app, "Harbour Tower")
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

// Verify opens every value and names what is not as it was written, and nothing else.
func TestKeysVerify(t *testing.T) {
	t.Parallel()
	p := newProgram(t)
	buildings := saveBuildings(t, p.app, "Harbour Tower", "Mill")
	first, second := buildings[0], buildings[1]
	person := func(name string) string {
		p.mustRun(t, "users", "create", "--username", name, "--email", name+"@example.com", "--role", "inspector",
			"--organisation", "Assured Fire")
		r, err := p.app.FindFirstRecordByData(collections.Users, "username", name)
		if err != nil {
			t.Fatal(err)
		}
		r.Set("phone", "+61 400 000 001")
		if err := p.app.Save(r); err != nil {
			t.Fatal(err)
		}
		return r.Id
	}
	mei, kim := person("mei"), person("kim")
	verify := func() (hooks.SealedReport, error) {
		var report hooks.SealedReport
		out, _, err := p.run("keys", "verify", "--json")
		if json.Unmarshal([]byte(out), &report) != nil {
			t.Fatalf("keys verify --json: got %q", out)
		}
		return report, err
	}
	if report, err := verify(); err != nil || report.Bad != 0 || report.Values != 6 {
		t.Fatalf("untouched: got %+v, %v; want six good values", report, err)
	}
	if out := p.mustRun(t, "keys", "verify"); out != "6 of 6 sealed values are as they were written\n" {
		t.Errorf("untouched: got %q", out)
	}
	for name, tt := range map[string]struct {
		sql  string
		want []hooks.SealedFinding // without their reasons
		says string
	}{
		"a flipped bit": {
			"UPDATE buildings SET contact_phone = substr(contact_phone, 1, 40) || CASE substr(contact_phone, 41, 1) WHEN 'A' THEN 'B' ELSE 'A' END || substr(contact_phone, 42) WHERE id = '" + first + "'",
			[]hooks.SealedFinding{{Collection: "buildings", Field: "contact_phone", Record: first}}, "no key opens it",
		},
		"swapped rows": {
			"UPDATE buildings SET contact_name = b.contact_name FROM (SELECT id, contact_name FROM buildings) b WHERE b.id != buildings.id",
			[]hooks.SealedFinding{{Collection: "buildings", Field: "contact_name", Record: first}, {Collection: "buildings", Field: "contact_name", Record: second}}, "another record or field",
		},
		"swapped fields": {
			"UPDATE buildings SET contact_name = contact_phone WHERE id = '" + second + "'",
			[]hooks.SealedFinding{{Collection: "buildings", Field: "contact_name", Record: second}}, "another record or field",
		},
		"another digest": {
			"UPDATE users SET phone_index = 'x' || substr(phone_index, 2) WHERE id = '" + mei + "'",
			[]hooks.SealedFinding{{Collection: "users", Field: "phone", Record: mei}}, "blind index is not",
		},
		"no digest": {
			"UPDATE users SET phone_index = '' WHERE id = '" + kim + "'",
			[]hooks.SealedFinding{{Collection: "users", Field: "phone", Record: kim}}, "blind index is not",
		},
		"a digest left behind": {
			"UPDATE users SET phone = '' WHERE id = '" + mei + "'",
			[]hooks.SealedFinding{{Collection: "users", Field: "phone", Record: mei}}, "no value",
		},
	} {
		broken := errors.New("put it back")
		err := p.app.RunInTransaction(func(tx core.App) error { // each on the untouched data
			if _, err := tx.NonconcurrentDB().NewQuery(tt.sql).Execute(); err != nil {
				t.Fatal(err)
			}
			report, err := hooks.VerifySealed(t.Context(), tx, p.deps.Keys, nil)
			if err != nil {
				t.Fatal(err)
			}
			for i := range report.Findings {
				if !strings.Contains(report.Findings[i].Reason, tt.says) {
					t.Errorf("%s: got %q, want %q", name, report.Findings[i].Reason, tt.says)
				}
				report.Findings[i].Reason = ""
			}
			slices.SortFunc(tt.want, func(a, b hooks.SealedFinding) int { return strings.Compare(a.Record, b.Record) })
			if !slices.Equal(report.Findings, tt.want) || report.Bad != len(tt.want) {
				t.Errorf("%s: got %+v, want %+v", name, report.Findings, tt.want)
			}
			return broken
		})
		if !errors.Is(err, broken) {
			t.Fatal(err)
		}
	}

	// The whole command: what a finding does to its answer and its exit code.
	exec := func(sql string) {
		if _, err := p.app.NonconcurrentDB().NewQuery(sql).Execute(); err != nil {
			t.Fatal(err)
		}
	}
	exec("UPDATE users SET phone_index = 'x' WHERE id = '" + mei + "'")
	if report, err := verify(); err == nil || !strings.Contains(err.Error(), "blind index") || report.Bad != 1 {
		t.Errorf("a wrong digest: got %+v, %v", report, err)
	}
	exec("UPDATE buildings SET contact_name = contact_phone WHERE id = '" + second + "'")
	out, _, err := p.run("keys", "verify")
	if err == nil || !strings.Contains(err.Error(), "FERNET_KEY") || !strings.Contains(out, "buildings.contact_name of "+second) {
		t.Errorf("a moved value: got %q, %v, want it named", out, err)
	}
	if strings.Contains(out, "Ada") || strings.Contains(out, "5550") || strings.Contains(out, "400 000") {
		t.Errorf("the report shows a value: %q", out)
	}
}
