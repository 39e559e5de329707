package api_test

import (
	"net/http"
	"testing"

	"firemode/collections"
)

// What one organisation's staff may do ends at its own buildings, whichever way
// they try.
func TestStaffCannotReachAnotherOrganisation(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	grants, err := w.app.FindAllRecords(collections.BuildingGrants)
	if err != nil || len(grants) == 0 {
		t.Fatalf("grants: %d, %v", len(grants), err)
	}
	grant := "/api/collections/building_grants/records/" + grants[0].Id
	for _, as := range []string{"manager", "officer"} {
		for name, change := range map[string]map[string]any{
			"move the building": {"building_id": w.theirs}, "move the person": {"user_id": grants[1].GetString("user_id")},
			"forge who granted": {"granted_by": grants[1].GetString("user_id")},
		} {
			if got := w.do(request{method: "PATCH", path: grant, as: as, body: change}); got.status != http.StatusNotFound {
				t.Errorf("%s, %s of a grant: got %d, want 404\n%s", as, name, got.status, clip(got.body))
			}
		}
		// The control: what the role may change, it can.
		w.do(request{method: "PATCH", path: grant, as: as, body: map[string]any{"ends_at": "2030-01-01 00:00:00.000Z"}}).want(200)
		// Theirs or nobody's: the answer is the same.
		for _, name := range []string{"Mill", "No such place"} {
			w.do(request{method: "POST", path: "/v1/buildings", as: as, body: map[string]any{
				"name": name, "address": "2 Water Rd", "building_type": "6", "organisation_id": w.organisationOf("stranger"),
			}}).want(403)
		}
		w.do(request{method: "POST", path: "/v1/auth/revoke", as: as, body: map[string]any{"token_jti": "a-strangers"}}).want(403)
	}
	created := w.do(request{method: "POST", path: "/api/collections/building_grants/records", as: "manager", body: map[string]any{
		"building_id": w.building, "user_id": grants[0].GetString("user_id"), "starts_at": "2026-01-01 00:00:00.000Z",
	}}).want(200)
	if by := created.member("granted_by"); by != w.idOf("manager") {
		t.Errorf("granted_by: got %v, want the manager", by)
	}
}

// A session starts active; locking it is an act of its own.
func TestSessionsStartActive(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	create := func(status string) answer {
		return w.do(request{method: "POST", path: "/api/collections/test_sessions/records", as: "inspector", body: map[string]any{
			"building_id": w.building, "session_name": "Monthly", "status": status,
		}})
	}
	create("locked").want(400)
	create("in_review").want(400)
	create("active").want(200)
}

// A stored answer is not shown to somebody whose rights have changed since.
func TestReplayEndsWithTheRights(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	post := request{method: "POST", path: "/v1/buildings", as: "officer", header: map[string]string{"Idempotency-Key": "k1"}, body: map[string]any{
		"name": "Depot", "address": "9 Rail St", "building_type": "7", "contact_name": "Sealed Sally",
	}}
	w.do(post).want(201)
	w.do(post).want(201)
	officer, err := w.app.FindRecordById(collections.Users, w.idOf("officer"))
	if err != nil {
		t.Fatal(err)
	}
	officer.Set(collections.FieldRole, collections.RoleClient)
	if err := w.app.Save(officer); err != nil {
		t.Fatal(err)
	}
	w.do(post).want(409)
}

// Bad input on PocketBase's own routes is the caller's fault, not the server's.
func TestBadInputOnRecordRoutes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, body := range []string{"{", "[]", "null x", `{"a":1}x`, "\x00", "1"} {
		got := w.do(request{method: "POST", path: "/api/collections/users/auth-refresh", as: "manager", body: body})
		if got.status >= 500 {
			t.Errorf("refresh with body %q: got %d\n%s", body, got.status, clip(got.body))
		}
	}
	w.do(request{method: "POST", path: "/api/collections/buildings/records", as: "manager", body: map[string]any{
		"name": "NU\x00L", "address": "1 Quay St", "building_type": "5", "organisation_id": w.organisationOf("manager"),
	}}).want(422)
}

func (w *world) idOf(username string) string {
	w.t.Helper()
	r, err := w.app.FindFirstRecordByData(collections.Users, collections.FieldUsername, username)
	if err != nil {
		w.t.Fatal(err)
	}
	return r.Id
}

func (w *world) organisationOf(username string) string {
	w.t.Helper()
	r, err := w.app.FindRecordById(collections.Users, w.idOf(username))
	if err != nil {
		w.t.Fatal(err)
	}
	return r.GetString(collections.FieldOrganisationID)
}
