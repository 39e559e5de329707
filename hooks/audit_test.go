package hooks

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"firemode/audit"
	"firemode/collections"
	"firemode/internal/testapp"

	"github.com/pocketbase/pocketbase/core"
	"github.com/pocketbase/pocketbase/tools/hook"
	"github.com/pocketbase/pocketbase/tools/types"
)

// glue is what these tests are about: guards and audit, without identity.
func glue(app core.App) {
	registerGuards(app)
	registerAudit(app)
}

func save(t testing.TB, app core.App, collection string, values map[string]any) *core.Record {
	t.Helper()
	r := newRecord(t, app, collection, values)
	if err := app.Save(r); err != nil {
		t.Fatalf("save %s: %v", collection, err)
	}
	return r
}

func newRecord(t testing.TB, app core.App, collection string, values map[string]any) *core.Record {
	t.Helper()
	c, err := app.FindCollectionByNameOrId(collection)
	if err != nil {
		t.Fatal(err)
	}
	r := core.NewRecord(c)
	r.Load(values)
	return r
}

func organisation(t testing.TB, app core.App) *core.Record {
	t.Helper()
	return save(t, app, collections.Organisations, map[string]any{"name": "Assured Fire " + t.Name(), "kind": "contractor"})
}

func building(t testing.TB, app core.App) *core.Record {
	t.Helper()
	return save(t, app, collections.Buildings, map[string]any{
		"name": "Harbour Tower", "address": "1 Quay St", "building_type": "5", "organisation_id": organisation(t, app).Id,
	})
}

type entry struct {
	Action       string `db:"action"`
	ResourceType string `db:"resource_type"`
	ResourceID   string `db:"resource_id"`
	OldValues    string `db:"old_values"`
	NewValues    string `db:"new_values"`
	UserID       string `db:"user_id"`
	UserRole     string `db:"user_role"`
}

func entries(t *testing.T, app core.App, collection string) (out []entry) {
	t.Helper()
	if err := app.DB().NewQuery("SELECT * FROM audit_log WHERE resource_type = {:c} ORDER BY seq").Bind(map[string]any{"c": collection}).All(&out); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestEverySaveHasOneEntry(t *testing.T) {
	t.Parallel()
	app := testapp.New(t, glue)
	b := building(t, app)
	b.Set("name", "Harbour Tower East")
	if err := app.Save(b); err != nil {
		t.Fatal(err)
	}
	if err := app.Save(b); err != nil { // changes nothing
		t.Fatal(err)
	}
	if err := app.Delete(b); err != nil {
		t.Fatal(err)
	}
	got := entries(t, app, collections.Buildings)
	if len(got) != 3 {
		t.Fatalf("entries: got %d, want create, update and delete", len(got))
	}
	for i, want := range []string{"create", "update", "delete"} {
		if got[i].Action != want || got[i].ResourceID != b.Id || got[i].UserRole != audit.SystemRole {
			t.Errorf("entry %d: got %+v, want %s of %s by the system", i, got[i], want, b.Id)
		}
	}
	var old, new map[string]any
	if err := errors.Join(json.Unmarshal([]byte(got[1].OldValues), &old), json.Unmarshal([]byte(got[1].NewValues), &new)); err != nil {
		t.Fatal(err)
	}
	if len(old) != 1 || old["name"] != "Harbour Tower" || new["name"] != "Harbour Tower East" {
		t.Errorf("update entry: got %v -> %v, want the name alone", old, new)
	}
}

// A write whose audit entry fails is not stored, and the other way round.
func TestRecordAndEntryStandOrFallTogether(t *testing.T) {
	t.Parallel()
	app := testapp.New(t, glue)
	organisation(t, app)
	if _, err := app.DB().NewQuery("CREATE TRIGGER no_entries BEFORE INSERT ON audit_log BEGIN SELECT RAISE(ABORT, 'no room'); END").Execute(); err != nil {
		t.Fatal(err)
	}
	if err := app.Save(newRecord(t, app, collections.Organisations, map[string]any{"name": "Unrecorded", "kind": "owner"})); err == nil {
		t.Error("a save without its entry succeeded")
	}
	if n, _ := app.CountRecords(collections.Organisations); n != 1 {
		t.Errorf("organisations: got %d, want 1", n)
	}
}

func TestFailedSaveLeavesNoEntry(t *testing.T) {
	t.Parallel()
	app := testapp.New(t, glue)
	boom := errors.New("boom")
	app.OnRecordCreateExecute(collections.Organisations).Bind(&hook.Handler[*core.RecordEvent]{
		Id: "test.fail-after-write", Priority: priorityAudit - 1, // outside of the audit handler's transaction
		Func: func(e *core.RecordEvent) error {
			return inTx(&e.App, func() error {
				if err := e.Next(); err != nil {
					return err
				}
				return boom
			})
		},
	})
	if err := app.Save(newRecord(t, app, collections.Organisations, map[string]any{"name": "Rolled back", "kind": "owner"})); !errors.Is(err, boom) {
		t.Fatalf("got %v, want %v", err, boom)
	}
	if got := entries(t, app, collections.Organisations); len(got) != 0 {
		t.Errorf("entries: got %+v, want none", got)
	}
}

// Two people who loaded the same building and edit different fields both win.
func TestConcurrentEditsOfDifferentFieldsBothStay(t *testing.T) {
	t.Parallel()
	app := testapp.New(t, glue)
	id := building(t, app).Id
	load := func() *core.Record {
		r, err := app.FindRecordById(collections.Buildings, id)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	first, second := load(), load()
	first.Set("name", "Renamed")
	second.Set("address", "2 Quay St")
	if err := errors.Join(app.Save(first), app.Save(second)); err != nil {
		t.Fatal(err)
	}
	if got := load(); got.GetString("name") != "Renamed" || got.GetString("address") != "2 Quay St" {
		t.Errorf("got %q at %q, want both edits", got.GetString("name"), got.GetString("address"))
	}
}

func TestDocumentChangesThroughMergeOnly(t *testing.T) {
	t.Parallel()
	app := testapp.New(t, glue)
	s := save(t, app, collections.TestSessions, map[string]any{
		"building_id": building(t, app).Id, "session_name": "Annual", "session_data": map[string]any{"forged": true}, "server_seq": 7,
	})
	if got := s.GetString("session_data"); got != "{}" || s.GetInt("server_seq") != 0 {
		t.Errorf("new session: got document %s at %d, want an empty one at 0", got, s.GetInt("server_seq"))
	}
	// The merge service writes by SQL while somebody holds the record open.
	if _, err := app.DB().NewQuery(`UPDATE test_sessions SET session_data = '{"items":1}', server_seq = 1`).Execute(); err != nil {
		t.Fatal(err)
	}
	s.Set("session_name", "Annual 2026")
	if err := app.Save(s); err != nil {
		t.Fatal(err)
	}
	after, err := app.FindRecordById(collections.TestSessions, s.Id)
	if err != nil {
		t.Fatal(err)
	}
	if got := after.GetString("session_data"); got != `{"items":1}` {
		t.Errorf("document after a rename: got %s, want the merged one untouched", got)
	}
	after.Set("session_data", types.JSONRaw(`{"items":2}`))
	if err := app.Save(after); err == nil || !strings.Contains(err.Error(), "merge only") {
		t.Errorf("save of a changed document: got %v, want it refused", err)
	}
}
