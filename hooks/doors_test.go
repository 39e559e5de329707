package hooks

import (
	"strings"
	"testing"

	"firemode/collections"
)

// An administrator, whom no access rule holds, neither deletes compliance records nor makes
// by hand what only the program may make, alone or in a batch.
func TestAdministratorsCannotForgeOrDelete(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.app.Settings().Batch.Enabled = true
	s.superuser("root", collections.RoleAdmin)
	root := s.login(collections.Superusers, "root@example.com", rightPassword)
	b := s.building("Harbour Tower")
	session := save(t, s.app, collections.TestSessions, map[string]any{"building_id": b.Id, "session_name": "Annual", "status": "active"})
	mia := s.user("mia", collections.RoleInspector)
	for collection, id := range map[string]string{
		collections.Buildings: b.Id, collections.TestSessions: session.Id, collections.Users: mia.Id, collections.Organisations: s.org.Id,
	} {
		s.must(403, "DELETE", records(collection, id), root, nil)
		if res, out := s.send("POST", "/api/batch", root, answer{"requests": []any{answer{"method": "DELETE", "url": records(collection, id)}}}); res.StatusCode/100 != 4 {
			t.Errorf("batch delete of %s: got %d %v", collection, res.StatusCode, out)
		}
		s.find(collection, id)
	}
	for collection, values := range map[string]answer{
		collections.Evidence:        {"session_id": session.Id, "evidence_type": "photo", "checksum": strings.Repeat("0", 64)},
		collections.Classifications: {"outcome": "pass"},
		collections.Rules:           {"rule_code": "X", "version": "9.9.9", "rule_schema": answer{"garbage": true}, "is_active": true},
		collections.AuditLog:        {"action": "create"},
		collections.IdempotencyKeys: {"principal": "x"},
	} {
		s.must(403, "POST", "/api/collections/"+collection+"/records", root, values)
	}
	s.must(400, "PATCH", records(collections.TestSessions, session.Id), root, answer{"status": "locked"})
	s.must(200, "PATCH", records(collections.TestSessions, session.Id), root, answer{"session_name": "Annual service"})
}

// A defect moves by one state through any door.
func TestDefectsPassTheirStatesInOrder(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.superuser("root", collections.RoleAdmin)
	root := s.login(collections.Superusers, "root@example.com", rightPassword)
	b := s.building("Harbour Tower")
	session := save(t, s.app, collections.TestSessions, map[string]any{"building_id": b.Id, "session_name": "Annual", "status": "active"})
	d := save(t, s.app, collections.Defects, map[string]any{
		"session_id": session.Id, "building_id": b.Id, "severity_class": "critical_defect", "description": "no pressure", "state": "acknowledged", "discovered_at": "2026-11-01 00:00:00.000Z",
	})
	for state, want := range map[string]int{"open": 400, "repaired": 400, "closed": 400, "acknowledged": 200} {
		s.must(want, "PATCH", records(collections.Defects, d.Id), root, answer{"state": state})
	}
	s.must(200, "PATCH", records(collections.Defects, d.Id), root, answer{"state": "repair_scheduled"})
	s.must(400, "PATCH", records(collections.Defects, d.Id), root, answer{"state": "acknowledged"})
}

// A new session does not take over the log of one that is gone.
func TestSessionIDsAreNotUsedAgain(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.building("Harbour Tower")
	const id = "0199a3f2-b1c4-7000-8000-000000000001"
	s.exec("INSERT INTO crdt_docs (key, n) VALUES ({:id}, 3)", map[string]any{"id": id})
	r := newRecord(t, s.app, collections.TestSessions, map[string]any{"id": id, "building_id": b.Id, "session_name": "Annual", "status": "active"})
	if err := s.app.Save(r); err == nil || !strings.Contains(err.Error(), "operation log") {
		t.Errorf("save: got %v, want it refused", err)
	}
}

func TestTextThatPostgreSQLCannotHoldIsRefused(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for name, row := range map[string]struct {
		values map[string]any
		ok     bool
	}{
		"NUL in text":            {map[string]any{"name": "a\x00b"}, false},
		"NUL escaped in JSON":    {map[string]any{"metadata": []byte(`{"a":"x\u0000"}`)}, false},
		"NUL in a JSON key":      {map[string]any{"metadata": []byte(`{"x\u0000":1}`)}, false},
		"bytes that are no text": {map[string]any{"name": "x\xffy"}, false},
		"NUL in a sealed value":  {map[string]any{"contact_name": "a\x00b"}, false},
		"a backslash and u0000":  {map[string]any{"metadata": []byte(`{"a":"x\\u0000"}`)}, true},
		"plain":                  {map[string]any{"metadata": []byte(`{"a":"ü"}`)}, true},
	} {
		b := newRecord(t, s.app, collections.Buildings, map[string]any{
			"name": "Tower of " + name, "address": "1 Quay St", "building_type": "5", "organisation_id": s.org.Id,
		})
		b.Load(row.values)
		if err := s.app.Save(b); (err == nil) != row.ok {
			t.Errorf("%s: got %v, want it taken: %v", name, err, row.ok)
		}
	}
}
