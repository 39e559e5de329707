package adminui_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"firemode/adminui"
	"firemode/collections"

	"github.com/pocketbase/pocketbase/core"
)

// expectation is one row of the roles table, written down a second time: what
// each role may read, independent of how the guard stores it.
type expectation struct{ officer, auditor bool }

var readable = map[string]expectation{
	collections.Organisations:           {true, true},
	collections.Users:                   {true, false},
	collections.Buildings:               {true, true},
	collections.BuildingGrants:          {true, true},
	collections.TestSessions:            {true, true},
	collections.Evidence:                {true, true},
	collections.AuditLog:                {true, true},
	collections.Rules:                   {true, true},
	collections.Classifications:         {true, true},
	collections.Defects:                 {true, true},
	collections.CalibrationCertificates: {true, true},
	collections.RevokedTokens:           {true, false},
	collections.IdempotencyKeys:         {false, false},
	collections.Superusers:              {false, false},
	"_externalAuths":                    {false, false},
	"_mfas":                             {false, false},
	"_otps":                             {false, false},
	"_authOrigins":                      {false, false},
}

func (e expectation) of(email string) bool {
	return email == officerEmail && e.officer || email == auditorEmail && e.auditor
}

func want(admitted bool) int {
	if admitted {
		return http.StatusOK
	}
	return http.StatusForbidden
}

func allCollections(t *testing.T, app core.App) []*core.Collection {
	t.Helper()
	all, err := app.FindAllCollections()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// A collection that nobody has decided about fails here first.
func TestEveryCollectionHasARow(t *testing.T) {
	t.Parallel()
	w := newEmptyWorld(t, adminui.Config{})
	for _, c := range allCollections(t, w.app) {
		if _, ok := readable[c.Name]; !ok {
			t.Errorf("collection %s: no row in this test's table", c.Name)
		}
		if !adminui.HasRow(c.Name) {
			t.Errorf("collection %s: no row in the access table", c.Name)
		}
	}
	if adminui.HasRow("unheard_of") {
		t.Error("an unknown collection has a row: the check above proves nothing")
	}
}

// Every collection, role and read path: list, view, filter probe, sort probe.
func TestReadPathsFollowTheTable(t *testing.T) {
	t.Parallel()
	w := newWorld(t, adminui.Config{})
	for _, email := range []string{officerEmail, auditorEmail} {
		token := w.token(email)
		for _, c := range allCollections(t, w.app) {
			status := want(readable[c.Name].of(email))
			for _, name := range []string{c.Name, c.Id, strings.ToUpper(c.Name)} {
				base := "/api/collections/" + name + "/records"
				for _, path := range []string{base, base + `?filter=id!=""`, base + "?sort=-id", base + "?sort=-@rowid&skipTotal=1"} {
					if got, body := w.do("GET", path, token, nil); got != status {
						t.Errorf("%s GET %s: got %d %v, want %d", email, path, got, body["message"], status)
					}
				}
			}
			if id := w.ids[c.Name]; id != "" {
				path := "/api/collections/" + c.Name + "/records/" + id
				if got, body := w.do("GET", path, token, nil); got != status {
					t.Errorf("%s GET %s: got %d %v, want %d", email, path, got, body["message"], status)
				}
			}
			for _, write := range [][2]string{
				{"POST", "/api/collections/" + c.Name + "/records"},
				{"PATCH", "/api/collections/" + c.Name + "/records/x"},
				{"DELETE", "/api/collections/" + c.Name + "/records/x"},
				{"DELETE", "/api/collections/" + c.Name + "/truncate"},
			} {
				if got, _ := w.do(write[0], write[1], token, map[string]any{}); got != http.StatusForbidden {
					t.Errorf("%s %s %s: got %d, want 403", email, write[0], write[1], got)
				}
			}
		}
	}
}

func TestRestrictedRolesReachNothingElse(t *testing.T) {
	t.Parallel()
	w := newWorld(t, adminui.Config{Development: true, AllowSchemaEdits: true})
	refused := [][2]string{
		{"PATCH", "/api/settings"}, {"POST", "/api/settings/test/s3"}, {"POST", "/api/settings/test/email"},
		{"POST", "/api/settings/apple/generate-client-secret"}, {"GET", "/api/logs"}, {"GET", "/api/logs/stats"}, {"GET", "/api/logs/x"},
		{"GET", "/api/backups"}, {"POST", "/api/backups"}, {"POST", "/api/backups/upload"}, {"GET", "/api/backups/x.zip"}, {"DELETE", "/api/backups/x.zip"}, {"POST", "/api/backups/x.zip/restore"},
		{"GET", "/api/crons"}, {"POST", "/api/crons/x"}, {"POST", "/api/sql"}, {"POST", "/api/batch"},
		{"POST", "/api/collections"}, {"GET", "/api/collections/buildings"}, {"PATCH", "/api/collections/buildings"}, {"DELETE", "/api/collections/buildings"},
		{"PUT", "/api/collections/import"}, {"POST", "/api/collections/meta/dry-run-view"},
		{"POST", "/api/collections/users/impersonate/x"}, {"POST", "/api/collections/_superusers/impersonate/x"},
		{"POST", "/api/collections/users/auth-with-password"}, {"POST", "/api/collections/users/auth-refresh"}, {"POST", "/api/collections/_superusers/request-email-change"},
		{"GET", "/v1/buildings"}, {"GET", "/api/unheard-of"}, {"GET", "/unheard-of"},
	}
	admin := w.token(adminEmail)
	for _, email := range []string{officerEmail, auditorEmail} {
		for _, r := range refused {
			got, body := w.do(r[0], r[1], w.token(email), map[string]any{})
			if got != http.StatusForbidden {
				t.Errorf("%s %s %s: got %d, want 403", email, r[0], r[1], got)
			}
			if body["message"] == "" || body["data"] == nil {
				t.Errorf("%s %s %s: body %v, want PocketBase's error form", email, r[0], r[1], body)
			}
		}
		for _, path := range []string{"/api/health", "/api/settings", "/api/collections", "/api/collections/meta/scaffolds", "/api/collections/meta/oauth2-providers", summaryPath} {
			if got, _ := w.do("GET", path, w.token(email), nil); got != http.StatusOK {
				t.Errorf("%s GET %s: got %d, want 200", email, path, got)
			}
		}
	}
	// The same routes are open to an administrator, so the refusals above are the guard's.
	for _, path := range []string{"/api/logs", "/api/backups", "/api/crons", "/api/collections/buildings"} {
		if got, _ := w.do("GET", path, admin, nil); got != http.StatusOK {
			t.Errorf("admin GET %s: got %d, want 200", path, got)
		}
	}
}

// An unknown role is closed, not open.
func TestUnknownRoleReachesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, adminui.Config{})
	w.superuser("strange@example.com", collections.RoleOfficer)
	token := w.token("strange@example.com")
	if _, err := w.app.DB().NewQuery("UPDATE _superusers SET role = 'visitor' WHERE email = 'strange@example.com'").Execute(); err != nil {
		t.Fatal(err)
	}
	if got, _ := w.do("GET", "/api/collections/buildings/records", token, nil); got != http.StatusForbidden {
		t.Errorf("unknown role: got %d, want 403", got)
	}
}

func TestOwnRecordOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t, adminui.Config{})
	officer, err := w.app.FindAuthRecordByEmail(collections.Superusers, officerEmail)
	if err != nil {
		t.Fatal(err)
	}
	status, body := w.do("GET", "/api/collections/_superusers/records/"+officer.Id, w.token(officerEmail), nil)
	if status != http.StatusOK || body["role"] != collections.RoleOfficer {
		t.Errorf("own record: got %d %v, want 200 and the role", status, body)
	}
	if _, ok := body["tokenKey"]; ok {
		t.Error("own record: it carries the token key")
	}
	if status, _ := w.do("GET", "/api/collections/_superusers/records/"+officer.Id, w.token(auditorEmail), nil); status != http.StatusForbidden {
		t.Errorf("somebody else's record: got %d, want 403", status)
	}
	if status, _ := w.do("POST", "/api/collections/_superusers/auth-refresh", w.token(officerEmail), nil); status != http.StatusOK {
		t.Errorf("refresh: got %d, want 200", status)
	}
}

// Filter, sort and expand may not lead where the table does not, whichever way
// they are spelt.
func TestQueriesStayInside(t *testing.T) {
	t.Parallel()
	w := newWorld(t, adminui.Config{})
	tests := []struct {
		collection, query string
		officer, auditor  bool
	}{
		{"buildings", `filter=name~"Tower"`, true, true},
		{"buildings", `filter=organisation_id.name~"Ember"`, true, true},
		{"buildings", `filter=owner_id.username="ines"`, true, false},
		{"buildings", `filter=owner_id="x"`, true, true},
		{"buildings", `filter=test_sessions_via_building_id.status="active"`, true, true},
		{"buildings", `filter=metadata.floor>3`, true, true},
		{"buildings", `filter=created_at>@yearStart`, true, true},
		{"buildings", `filter=contact_name~"tok"`, false, false},
		{"buildings", `filter=(name="x"||(contact_name!=""))`, false, false},
		{"buildings", `filter=name="x"&filter=contact_name!=""`, false, false},
		{"buildings", `filter=@collection.idempotency_keys.route!=""`, false, false},
		{"buildings", `filter=@collection.users.username="ines"`, false, false},
		{"buildings", `filter=@request.auth.tokenKey~"a"`, false, false},
		{"buildings", `filter=geoDistance(name,name,contact_name,1)>0`, false, false},
		{"buildings", `filter=owner_id.tokenKey~"a"`, false, false},
		{"buildings", `filter=owner_id.password~"a"`, false, false},
		{"buildings", `filter=owner_id.phone_index!=""`, false, false},
		{"buildings", `sort=-owner_id.phone_index`, false, false},
		{"buildings", `sort=contact_phone`, false, false},
		{"buildings", `sort=name,-owner_id.username`, true, false},
		{"buildings", `sort=@random`, true, true},
		{"buildings", `expand=organisation_id`, true, true},
		{"buildings", `expand=owner_id`, true, false},
		{"buildings", `expand=owner_id,organisation_id`, true, false},
		{"buildings", `expand=owner_id&expand=x`, false, false},
		{"buildings", `expand=test_sessions_via_building_id.evidence_via_session_id`, true, true},
		{"buildings", `expand=test_sessions_via_building_id.created_by`, true, false},
		{"buildings", `expand=name`, false, false},
		{"buildings", `expand=test_sessions(building_id)`, false, false},
		{"organisations", `expand=users_via_organisation_id`, true, false},
		{"organisations", `filter=users_via_organisation_id.username="ines"`, true, false},
		{"users", `filter=tokenKey~"a"`, false, false},
		{"users", `filter=phone_index!=""`, false, false},
		{"users", `filter=tokens_valid_after=""`, false, false},
		{"users", `filter=_authOrigins_via_recordRef.id!=""`, false, false},
		{"users", `sort=tokenKey`, false, false},
		{"evidence", `filter=metadata.lat<0`, true, false},
		{"evidence", `sort=metadata`, true, false},
		{"audit_log", `filter=ip_address="192.0.2.7"`, true, false},
		{"test_sessions", `filter=session_data.items!=""`, true, true},
		{"test_sessions", `filter=)(`, false, false},
	}
	for _, test := range tests {
		q := "/api/collections/" + test.collection + "/records?" + encode(test.query)
		for email, admitted := range map[string]bool{officerEmail: test.officer, auditorEmail: test.auditor} {
			got, body := w.do("GET", q, w.token(email), nil)
			// What the guard admits may still be no query for PocketBase.
			if admitted != (got != http.StatusForbidden) {
				t.Errorf("%s %s?%s: got %d %v, want admitted=%v", email, test.collection, test.query, got, body["message"], admitted)
			}
		}
	}
}

// encode escapes the values of a readable query.
func encode(query string) string {
	var out []string
	for _, pair := range splitPairs(query) {
		k, v, _ := strings.Cut(pair, "=")
		out = append(out, k+"="+url.QueryEscape(v))
	}
	return strings.Join(out, "&")
}

func splitPairs(query string) []string {
	for _, key := range []string{"filter=", "sort=", "expand="} {
		query = strings.ReplaceAll(query, "&"+key, "\n"+key)
	}
	return strings.Split(query, "\n")
}
