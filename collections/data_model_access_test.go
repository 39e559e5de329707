package collections_test

import (
	"fmt"
	"strings"
	"testing"

	"firemode/collections"

	"github.com/pocketbase/pocketbase/core"
	"github.com/pocketbase/pocketbase/tools/types"
)

// The access table of the file is computed: two organisations with the same
// records each, one user per role in the first, and every access rule asked.

var roles = []string{
	collections.RoleInspector, collections.RoleManager, collections.RoleOfficer,
	collections.RoleOwner, collections.RoleAuditor, collections.RoleClient,
}

// A world is one organisation with its people and one record of everything.
type world struct {
	users   map[string]*core.Record // by role
	records []subject
}

// A subject is a record and what to call it in the table.
type subject struct {
	name   string
	record *core.Record
	own    map[string]*core.Record // by role: the record of that name that belongs to its user
}

func TestAccessStaysInsideTheOrganisation(t *testing.T) {
	t.Parallel()
	app := migratedApp(t)
	ours, theirs := newWorld(t, app, "1"), newWorld(t, app, "2")
	for _, role := range roles {
		for _, s := range theirs.records {
			if s.record.Collection().Name == collections.Rules {
				continue // rules belong to nobody
			}
			if got := allowed(t, app, ours.users[role], s.record); got != "–" {
				t.Errorf("%s may %s %s of another organisation", role, got, s.name)
			}
		}
	}

	// Those who see buildings by grant or by owning them see none without.
	for _, role := range []string{collections.RoleInspector, collections.RoleAuditor, collections.RoleClient, collections.RoleOwner} {
		former := formerUser(t, app, ours, role)
		for _, s := range ours.records {
			hangsOff := s.record.GetString(collections.FieldBuildingID) + s.record.GetString(collections.FieldSessionID)
			if got := allowed(t, app, former, s.record); got != "–" && (hangsOff != "" || s.record.Collection().Name == collections.Buildings) {
				t.Errorf("%s without a valid grant may %s %s", role, got, s.name)
			}
		}
	}

	if _, err := app.DB().NewQuery("UPDATE users SET is_active = FALSE").Execute(); err != nil {
		t.Fatal(err)
	}
	for _, role := range roles {
		for _, s := range ours.records {
			if got := allowed(t, app, ours.users[role], s.record); got != "–" {
				t.Errorf("a disabled %s may %s %s", role, got, s.name)
			}
		}
	}
}

// accessTable asks every rule for every role.
func accessTable(t *testing.T, app core.App) table {
	t.Helper()
	w := newWorld(t, app, "1")
	tb := table{header: append([]string{"in scope"}, roles...)}
	for _, s := range w.records {
		row := []string{s.name}
		for _, role := range roles {
			record := s.record
			if own, ok := s.own[role]; ok {
				record = own
			}
			row = append(row, allowed(t, app, w.users[role], record))
		}
		tb.rows = append(tb.rows, row)
	}
	return tb
}

// allowed names the actions that the rules open for user on record.
func allowed(t *testing.T, app core.App, user, record *core.Record) string {
	t.Helper()
	c := record.Collection()
	if !equalRules(c.ListRule, c.ViewRule) {
		t.Errorf("%s: list and view rule differ; the table needs a word for each", c.Name)
	}
	var may []string
	for _, a := range []struct {
		name string
		rule *string
	}{{"read", c.ViewRule}, {"create", c.CreateRule}, {"update", c.UpdateRule}, {"delete", c.DeleteRule}} {
		info := &core.RequestInfo{Auth: user, Context: core.RequestInfoContextDefault, Body: map[string]any{}}
		ok, err := app.CanAccessRecord(record, info, a.rule)
		if err != nil {
			t.Fatalf("%s rule of %s: %v", a.name, c.Name, err)
		}
		if ok {
			may = append(may, a.name)
		}
	}
	if len(may) == 0 {
		return "–"
	}
	return strings.Join(may, ", ")
}

func equalRules(a, b *string) bool {
	return (a == nil) == (b == nil) && (a == nil || *a == *b)
}

// newWorld makes the records of one organisation. The hooks are not part of
// this test, so the records are given what hooks would fill in.
func newWorld(t *testing.T, app core.App, n string) world {
	t.Helper()
	w := world{users: map[string]*core.Record{}}
	add := func(name, collection string, values map[string]any) *core.Record {
		r := insert(t, app, collection, values)
		w.records = append(w.records, subject{name: name, record: r})
		return r
	}
	// addOwn makes one record per role's user, and one of somebody else.
	addOwn := func(collection, others string, make func(user string) *core.Record, stranger string) {
		own := map[string]*core.Record{}
		for _, role := range roles {
			own[role] = make(w.users[role].Id)
		}
		other := make(stranger)
		w.records = append(w.records,
			subject{"`" + collection + "`, own", other, own}, subject{name: "`" + collection + "`, " + others, record: other})
	}
	organisation := add("`organisations`", collections.Organisations, map[string]any{"name": "Organisation " + n, "kind": "contractor"})
	for _, role := range roles {
		w.users[role] = insertUser(t, app, role+n, role, organisation.Id)
	}
	colleague := insertUser(t, app, "colleague"+n, collections.RoleInspector, organisation.Id)
	w.records = append(w.records, subject{"`users`, own", colleague, w.users}, subject{name: "`users`, colleagues", record: colleague})
	building := add("`buildings`", collections.Buildings, map[string]any{
		"name": "Tower", "address": "1 Quay St", "building_type": "5", "organisation_id": organisation.Id,
		"owner_id": w.users[collections.RoleOwner].Id, "compliance_status": "pending",
	})
	addOwn(collections.BuildingGrants, "others'", func(user string) *core.Record {
		return insert(t, app, collections.BuildingGrants, map[string]any{
			"building_id": building.Id, "user_id": user, "starts_at": types.NowDateTime().AddDate(0, 0, -1),
		})
	}, colleague.Id)
	session := add("`test_sessions`", collections.TestSessions, map[string]any{"building_id": building.Id, "session_name": "Annual", "status": "active"})
	add("`evidence`", collections.Evidence, map[string]any{
		"session_id": session.Id, "evidence_type": "photo", "checksum": strings.Repeat("a", 64), "media_type": "image/png", "retain_until": types.NowDateTime(),
	})
	rule := map[string]any{"rule_code": "R" + n, "version": "1.0.0", "rule_name": "Rule", "rule_schema": types.JSONRaw("{}"), "provenance": "illustrative", "is_active": true}
	active := add("`as1851_rules`, active", collections.Rules, rule)
	rule["version"], rule["is_active"] = "1.1.0", false
	add("`as1851_rules`, not active", collections.Rules, rule)
	classification := map[string]any{
		"session_id": session.Id, "item_code": "R" + n, "outcome": "pass", "rule_id": active.Id, "rule_version": "1.0.0", "rule_sha256": strings.Repeat("b", 64),
	}
	add("`classifications` in a session", collections.Classifications, classification)
	delete(classification, "session_id")
	add("`classifications` outside a session", collections.Classifications, classification)
	add("`defects`", collections.Defects, map[string]any{
		"session_id": session.Id, "building_id": building.Id, "severity_class": "critical_defect", "description": "No water", "state": "open", "discovered_at": types.NowDateTime(),
	})
	add("`calibration_certificates`", collections.CalibrationCertificates, map[string]any{
		"organisation_id": organisation.Id, "instrument_id": "M1", "instrument_type": "manometer", "certificate_number": "C1",
		"calibrated_at": types.NowDateTime(), "expires_at": types.NowDateTime().AddDate(1, 0, 0),
	})
	seq := 100 * int(n[0])
	addOwn(collections.AuditLog, "others'", func(user string) *core.Record {
		seq++
		return insert(t, app, collections.AuditLog, map[string]any{
			"seq": seq, "user_id": user, "action": "create", "resource_type": "buildings", "leaf_hash": strings.Repeat("c", 64), "created_at": types.NowDateTime(),
		})
	}, colleague.Id)
	add("`token_revocation_list`", collections.RevokedTokens, map[string]any{
		"token_jti": "jti" + n, "user_id": building.Id, "revoked_at": types.NowDateTime(), "expires_at": types.NowDateTime(),
	})
	add("`idempotency_keys`", collections.IdempotencyKeys, map[string]any{
		"principal": "p" + n, "method": "POST", "route": "/", "key_hash": "k", "request_hash": "r", "expires_at": types.NowDateTime(),
	})
	return w
}

// formerUser adds a user of the organisation of w whose only grant has ended.
func formerUser(t *testing.T, app core.App, w world, role string) *core.Record {
	t.Helper()
	user := insertUser(t, app, "former-"+role, role, w.users[role].GetString(collections.FieldOrganisationID))
	for _, s := range w.records {
		if s.record.Collection().Name == collections.Buildings {
			insert(t, app, collections.BuildingGrants, map[string]any{
				"building_id": s.record.Id, "user_id": user.Id,
				"starts_at": types.NowDateTime().AddDate(0, 0, -2), "ends_at": types.NowDateTime().AddDate(0, 0, -1),
			})
		}
	}
	return user
}

func insertUser(t *testing.T, app core.App, name, role, organisation string) *core.Record {
	t.Helper()
	return insert(t, app, collections.Users, map[string]any{
		"username": name, "email": name + "@example.com", "role": role, "organisation_id": organisation, "is_active": true, "tokenKey": name + strings.Repeat("k", 40),
	})
}

// insert writes a record without hooks' help.
func insert(t *testing.T, app core.App, collection string, values map[string]any) *core.Record {
	t.Helper()
	c, err := app.FindCachedCollectionByNameOrId(collection)
	if err != nil {
		t.Fatal(err)
	}
	r := core.NewRecord(c)
	r.Load(values)
	if collection == collections.Users {
		r.SetRaw(core.FieldNamePassword, &core.PasswordFieldValue{Hash: "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$aGFzaA"})
	}
	if err := app.SaveNoValidate(r); err != nil {
		t.Fatal(fmt.Errorf("insert into %s: %w", collection, err))
	}
	return r
}
