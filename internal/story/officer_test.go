package story

import (
	"net/url"
	"strings"

	"firemode/internal/browser"
)

// Logins of the demo data.
const (
	demoPassword  = "firemode-demo-1851"
	adminEmail    = "admin@firemode.test"
	officerEmail  = "officer@firemode.test"
	officerPath   = "/api/collections/_superusers/auth-with-password"
	recordsOfPage = "/api/collections/%s/records?perPage=200&filter="
)

// superuser is the administrator over the record API.
func (s *story) superuser() *device { return s.adminLogin(adminEmail) }

func (s *story) adminLogin(email string) *device {
	s.t.Helper()
	d := s.device("")
	var got struct {
		Token string `json:"token"`
	}
	s.must(d, "POST", officerPath, 200, map[string]any{"identity": email, "password": demoPassword}, &got)
	d.token = got.Token
	return d
}

// officerSees: the compliance officer finds the session, its conflicts and its
// evidence through the record API and in the admin UI.
func (s *story) officerSees() {
	s.t.Helper()
	officer := s.adminLogin(officerEmail)
	for collection, want := range map[string]struct {
		filter string
		count  int
	}{
		"test_sessions": {"id = '" + s.session + "'", 1},
		"evidence":      {"session_id = '" + s.session + "'", 2 * photosPerInspector},
	} {
		var list struct {
			TotalItems int `json:"totalItems"`
		}
		s.must(officer, "GET", strings.Replace(recordsOfPage, "%s", collection, 1)+url.QueryEscape(want.filter), 200, nil, &list)
		if list.TotalItems != want.count {
			s.t.Errorf("officer: %s: got %d records, want %d", collection, list.TotalItems, want.count)
		}
	}

	page := browser.Open(s.t)
	page.Size(1700, 950) // wide enough for every column
	page.Goto(s.server.URL + "/_/")
	page.Type(`input[name="identity"]`, officerEmail)
	page.Type(`input[name="password"]`, demoPassword)
	page.Click("button.next")
	page.See(".fm-overview .fm-card", "Buildings")
	page.Screenshot("officer-compliance")
	for collection, see := range map[string]struct{ filter, text string }{
		"test_sessions": {"id = '" + s.session + "'", "Annual service"},
		"evidence":      {"session_id = '" + s.session + "'", "photo"},
	} {
		page.Hash("#/collections?collection=" + collection + "&filter=" + url.QueryEscape(see.filter))
		page.See(".records-table tbody", see.text)
		page.Screenshot("officer-" + collection)
	}
	page.Goto("about:blank") // the server stops before the page is closed
	for _, problem := range page.Problems() {
		s.t.Errorf("admin UI: %s", problem)
	}
}
