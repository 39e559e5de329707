package adminui_test

import (
	"strings"
	"testing"

	"firemode/adminui"
	"firemode/internal/browser"
)

// signIn opens the admin UI as a person does: by its login form.
func (w *world) signIn(email string) *browser.Page {
	w.t.Helper()
	p := browser.Open(w.t)
	p.Size(1700, 950) // wide enough for the columns of users
	p.Goto(w.url + "/_/")
	p.Type(`input[name="identity"]`, email)
	p.Type(`input[name="password"]`, password)
	p.Click("button.next")
	p.See(".fm-overview .fm-card", "Buildings")
	return p
}

// records opens the list of a collection and waits for its rows.
func records(p *browser.Page, collection, want string) {
	p.Hash("#/collections?collection=" + collection)
	p.See(".page-header .breadcrumbs", collection)
	p.See(".records-table tbody", want)
	p.Until("list has loaded", `!document.querySelector(".records-table thead .loader:not([hidden])")`)
}

func TestOfficerWorksInTheAdminUI(t *testing.T) {
	t.Parallel()
	w := newWorld(t, adminui.Config{})
	p := w.signIn(officerEmail)
	p.See(".fm-table tbody", "Inspector")
	p.Screenshot("overview-light")
	p.Dark(true)
	p.Until("dark scheme", `document.documentElement.dataset.colorScheme === "dark"`)
	p.Screenshot("overview-dark")
	p.Dark(false)

	records(p, "users", "ines")
	p.See(".fm-sealed", "Sealed")
	p.Screenshot("users")
	var html string
	p.Eval("document.body.innerHTML + JSON.stringify(localStorage)", &html)
	if strings.Contains(html, sealedName) {
		t.Error("officer: the users page holds a sealed name")
	}
	records(p, "buildings", "Tower 1")
	p.Screenshot("buildings")
	records(p, "test_sessions", "Annual visit")
	p.Screenshot("test-sessions")
	records(p, "evidence", "photo")
	p.Screenshot("evidence")
	for _, collection := range []string{"audit_log", "defects", "as1851_rules", "classifications", "calibration_certificates", "token_revocation_list", "organisations", "building_grants"} {
		records(p, collection, "")
	}
}

func TestAdministratorKeepsTheWholeUI(t *testing.T) {
	t.Parallel()
	w := newWorld(t, adminui.Config{})
	p := w.signIn(adminEmail)
	p.See(".app-main-nav", "Settings")
	records(p, "users", "ines")
	p.See(".fm-sealed", "••••")
	p.Screenshot("users-locked")
	p.Click(".fm-sealed-toggle")
	p.See(".fm-sealed", sealedName)
	p.Screenshot("users-shown")
	p.Click(".records-table tbody tr:nth-child(2) .col-field-name-username")
	p.See(".record-upsert-modal", "full_name")
	p.Until("the name is behind dots", `document.querySelector('input[name="full_name"]').type === "password"`)
	p.Screenshot("user-form")
	p.Type(`input[name="full_name"]`, " Changed")
	p.Until("the draft is kept", `Object.keys(localStorage).some((k) => k.startsWith("draft_"))`)
	var stored string
	p.Eval("JSON.stringify(localStorage)", &stored)
	if strings.Contains(stored, sealedName) || strings.Contains(stored, sealedPhone) {
		t.Errorf("browser storage holds sealed values: %s", stored)
	}
}
