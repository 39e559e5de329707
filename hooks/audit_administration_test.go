package hooks

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"firemode/collections"
)

// What administrators do beside records is on record, with their name and without secrets.
func TestAdministrationIsAudited(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	admin := s.superuser("root", collections.RoleAdmin)
	root := s.login(collections.Superusers, "root@example.com", rightPassword)
	s.user("mia", collections.RoleInspector)
	mia := s.login(collections.Users, "mia@example.com", rightPassword)

	s.must(200, "PATCH", "/api/settings", root, answer{"meta": answer{"appName": "Harbour"}})
	s.must(200, "PATCH", "/api/settings", root, answer{"meta": answer{"appName": "Harbour"}})
	s.must(200, "PATCH", "/api/settings", root, answer{"smtp": answer{"password": "a mail secret"}})
	s.must(400, "PATCH", "/api/settings", root, answer{"meta": answer{"appURL": "not a URL"}})
	settings := entries(t, s.app, resourceSettings)
	if len(settings) != 2 || settings[0].UserID != admin.Id || settings[0].UserRole != "superuser:admin" ||
		!strings.Contains(settings[0].OldValues, "FireMode") || !strings.Contains(settings[0].NewValues, "Harbour") ||
		settings[1].NewValues != `{"secrets":"changed"}` {
		t.Errorf("settings: got %+v, want the new name and the changed secret", settings)
	}

	s.must(204, "POST", "/api/backups", root, answer{"name": "one.zip"})
	file := s.must(200, "POST", "/api/files/token", root, nil).text("token")
	s.must(200, "GET", "/api/backups/one.zip?token="+file, "", nil)
	s.must(204, "DELETE", "/api/backups/one.zip", root, nil)
	s.must(400, "POST", "/api/backups/missing.zip/restore", root, nil)
	s.must(204, "POST", "/api/crons/__pbLogsCleanup__", root, nil)
	// Refused, and no entry: nobody else reaches these routes.
	miaFile := s.must(200, "POST", "/api/files/token", mia, nil).text("token")
	for _, route := range []string{"POST /api/backups", "DELETE /api/backups/one.zip", "GET /api/backups/one.zip?token=" + miaFile, "GET /api/backups/one.zip"} {
		method, path, _ := strings.Cut(route, " ")
		if res, _ := s.send(method, path, mia, nil); res.StatusCode/100 != 4 {
			t.Errorf("%s by an inspector: got %d", route, res.StatusCode)
		}
	}
	var got []string
	for _, e := range append(entries(t, s.app, resourceBackups), entries(t, s.app, resourceCrons)...) {
		got = append(got, e.Action+" "+e.ResourceID)
		if e.UserID != admin.Id {
			t.Errorf("%s: by %q, want %q", e.Action, e.UserID, admin.Id)
		}
	}
	if want := []string{"create ", "download one.zip", "delete one.zip", "restore missing.zip", "run __pbLogsCleanup__"}; !slices.Equal(got, want) {
		t.Errorf("acts: got %q, want %q", got, want)
	}
	raw, _ := json.Marshal(settings)
	if strings.Contains(string(raw), "a mail secret") {
		t.Errorf("the log holds a secret: %s", raw)
	}
}
