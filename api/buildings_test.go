package api_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"firemode/collections"

	"github.com/pocketbase/dbx"
)

func TestBuildingsLifeCycle(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	made := w.do(request{method: "POST", path: "/v1/buildings", as: "manager", body: map[string]any{
		"site_name": "Depot", "site_address": "9 Rail Ave", "building_type": "8", "metadata": map[string]any{"floors": 3},
	}}).want(201)
	id := made.text("building_id")
	if got := made.text("name"); got != "Depot" {
		t.Errorf("name: got %q, want Depot", got)
	}
	got := w.do(request{method: "GET", path: "/v1/buildings/" + id + "/", as: "manager"}).want(200)
	tag := got.header.Get("ETag")
	if tag == "" || tag != made.header.Get("ETag") {
		t.Errorf("ETag: got %q on get, %q on create; want the same", tag, made.header.Get("ETag"))
	}

	change := map[string]any{"compliance_status": "compliant"}
	path := "/v1/buildings/" + id
	w.do(request{method: "PATCH", path: path, as: "manager", body: change}).want(428)
	w.do(request{method: "PATCH", path: path, as: "manager", body: change, header: map[string]string{"If-Match": `"other"`}}).want(412)
	changed := w.do(request{method: "PATCH", path: path, as: "manager", body: change, header: map[string]string{"If-Match": tag}}).want(200)
	if changed.text("compliance_status") != "compliant" || changed.text("name") != "Depot" {
		t.Errorf("changed: got %s", changed.body)
	}
	w.do(request{method: "PUT", path: path, as: "manager", body: change, header: map[string]string{"If-Match": tag}}).want(412)

	w.do(request{method: "POST", path: "/v1/buildings", as: "manager", body: map[string]any{
		"name": "Depot", "address": "9 Rail Ave", "building_type": "8",
	}}).want(409)

	w.do(request{method: "DELETE", path: path, as: "stranger"}).want(404)
	w.do(request{method: "DELETE", path: path, as: "manager"}).want(204)
	w.do(request{method: "GET", path: path, as: "manager"}).want(404)
	w.do(request{method: "GET", path: path, token: w.superuser("admin")}).want(404)
	n, err := w.app.CountRecords(collections.AuditLog)
	if err != nil || n == 0 {
		t.Errorf("audit entries: got %d (%v)", n, err)
	}
}

// Who may do what to our building. Status by role.
func TestBuildingsByRole(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.token["admin"], w.token["su-officer"] = w.superuser("admin"), w.superuser("officer")
	for who, want := range map[string][3]int{ // get, patch, create in our organisation
		"":           {401, 401, 401},
		"manager":    {200, 200, 201},
		"officer":    {200, 200, 201},
		"inspector":  {200, 403, 403},
		"owner":      {200, 403, 403},
		"auditor":    {200, 403, 403},
		"client":     {200, 403, 403},
		"stranger":   {404, 404, 403},
		"admin":      {200, 200, 201},
		"su-officer": {200, 403, 403},
	} {
		organisation := w.do(request{method: "GET", path: "/v1/users/me", as: "manager"}).want(200).text("organisation_id")
		get := w.do(request{method: "GET", path: "/v1/buildings/" + w.building, as: who})
		patch := w.do(request{method: "PATCH", path: "/v1/buildings/" + w.building, as: who,
			body: map[string]any{"building_type": "5"}, header: map[string]string{"If-Match": "*"}})
		create := w.do(request{method: "POST", path: "/v1/buildings", as: who, body: map[string]any{
			"name": "New of " + who, "address": "x", "building_type": "1", "organisation_id": organisation}})
		if got := [3]int{get.status, patch.status, create.status}; got != want {
			t.Errorf("%q: got %v, want %v\n%s", who, got, want, create.body)
		}
	}
	if n, _ := w.app.CountRecords(collections.Buildings); n != 2+3 {
		t.Errorf("buildings: got %d, want 5: a refused create leaves none", n)
	}
}

// Sealed contacts are shown to those who may read them, and only to those.
func TestBuildingContactsByRole(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.token["admin"], w.token["su-auditor"] = w.superuser("admin"), w.superuser("auditor")
	for who, want := range map[string]any{
		"manager": "Ada Warden", "officer": "Ada Warden", "admin": "Ada Warden",
		"inspector": nil, "owner": nil, "auditor": nil, "client": nil, "su-auditor": nil,
	} {
		one := w.do(request{method: "GET", path: "/v1/buildings/" + w.building, as: who}).want(200)
		if got := one.member("contact_name"); got != want {
			t.Errorf("%s: got %v, want %v", who, got, want)
		}
		for _, item := range w.do(request{method: "GET", path: "/v1/buildings", as: who}).want(200).items() {
			if item["building_id"] == w.building && item["contact_name"] != want {
				t.Errorf("%s, list: got %v, want %v", who, item["contact_name"], want)
			}
		}
		bundle := w.do(request{method: "GET", path: "/v1/tests/sessions/" + w.session + "/offline-bundle", as: who}).want(200)
		if got := bundle.member("building").(map[string]any)["contact_name"]; got != want {
			t.Errorf("%s, bundle: got %v, want %v", who, got, want)
		}
	}
	changed := w.do(request{method: "PATCH", path: "/v1/buildings/" + w.building, as: "manager",
		body: map[string]any{"contact_name": "Bo Keeper"}, header: map[string]string{"If-Match": "*", "Idempotency-Key": "contact-0001"}}).want(200)
	if changed.text("contact_name") != "Bo Keeper" {
		t.Errorf("changed: got %s", changed.body)
	}
	again := w.do(request{method: "PATCH", path: "/v1/buildings/" + w.building, as: "manager",
		body: map[string]any{"contact_name": "Bo Keeper"}, header: map[string]string{"If-Match": "*", "Idempotency-Key": "contact-0001"}}).want(200)
	if again.header.Get("Idempotent-Replayed") != "true" || !bytes.Equal(again.body, changed.body) {
		t.Errorf("replay: got %s, want %s", again.body, changed.body)
	}
	for _, table := range []string{"buildings", "audit_log", "idempotency_keys"} {
		var rows []dbx.NullStringMap
		if err := w.app.DB().NewQuery("SELECT * FROM " + table).All(&rows); err != nil {
			t.Fatal(err)
		}
		for _, row := range rows {
			for name, value := range row {
				if strings.Contains(value.String, "Keeper") || strings.Contains(value.String, "Warden") {
					t.Errorf("%s.%s holds the plain contact: %s", table, name, value.String)
				}
			}
		}
	}
}

func TestBuildingsListPagesAreStable(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for i := range 7 {
		w.do(request{method: "POST", path: "/v1/buildings", as: "manager", body: map[string]any{
			"name": fmt.Sprintf("Block %d", i), "address": "100% Main_St", "building_type": "2"}}).want(201)
	}
	var seen []string
	cursor := ""
	for page := 0; ; page++ {
		a := w.do(request{method: "GET", path: "/v1/buildings?limit=3&cursor=" + cursor, as: "manager"}).want(200)
		for _, item := range a.items() {
			seen = append(seen, item["name"].(string))
		}
		// Somebody creates while we turn pages.
		w.do(request{method: "POST", path: "/v1/buildings", as: "officer", body: map[string]any{
			"name": fmt.Sprintf("Late %d", page), "address": "x", "building_type": "2"}}).want(201)
		next, _ := a.member("next_cursor").(string)
		if (next != "") != a.member("has_more").(bool) {
			t.Errorf("has_more does not agree with next_cursor: %s", a.body)
		}
		if cursor = next; cursor == "" || page > 20 {
			break
		}
	}
	for i := range 7 {
		name := fmt.Sprintf("Block %d", i)
		if n := len(slices.DeleteFunc(slices.Clone(seen), func(s string) bool { return s != name })); n != 1 {
			t.Errorf("%s: seen %d times, want once", name, n)
		}
	}

	first := w.do(request{method: "GET", path: "/v1/buildings?limit=1", as: "manager"}).want(200).text("next_cursor")
	for name, path := range map[string]string{
		"another filter": "/v1/buildings?building_type=5&cursor=" + first,
		"another list":   "/v1/tests/sessions?cursor=" + first,
		"not a cursor":   "/v1/buildings?cursor=AAAA",
		"cut":            "/v1/buildings?cursor=" + first[:len(first)-3],
	} {
		t.Log(name)
		w.do(request{method: "GET", path: path, as: "manager"}).want(400)
	}
	w.do(request{method: "GET", path: "/v1/buildings?limit=0", as: "manager"}).want(422)
	w.do(request{method: "GET", path: "/v1/buildings?limit=101", as: "manager"}).want(422)
	w.do(request{method: "GET", path: "/v1/buildings?limt=5", as: "manager"}).want(422)
	if got := w.do(request{method: "GET", path: "/v1/buildings?q=100%25+Main_", as: "manager"}).want(200).items(); len(got) != 7 {
		t.Errorf("q: got %d, want 7", len(got))
	}
	if got := w.do(request{method: "GET", path: "/v1/buildings?q=_", as: "stranger"}).want(200).items(); len(got) != 0 {
		t.Errorf("q=_ is no wildcard: got %d", len(got))
	}
	if got := w.do(request{method: "GET", path: "/v1/buildings", as: "owner"}).want(200).items(); len(got) != 1 {
		t.Errorf("owner sees %d, want 1", len(got))
	}
}
