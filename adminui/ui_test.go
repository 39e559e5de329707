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

// dark asks for the dark or the light look and waits until the page has it: the admin UI
// changes it when it hears of the wish.
func dark(p *browser.Page, on bool) {
	p.Dark(on)
	scheme := "light"
	if on {
		scheme = "dark"
	}
	p.Until("scheme "+scheme, `document.documentElement.dataset.colorScheme === "`+scheme+`" && document.getAnimations().length === 0`)
}

// drawn waits until the overview is not drawn again: the audit table's records become
// links once the admin UI knows its collections.
func drawn(p *browser.Page) {
	p.Until("the records are links", `document.querySelector('.fm-overview .fm-table a[href*="collection=buildings"]') !== null`)
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
	dark(p, true)
	p.Screenshot("overview-dark")
	dark(p, false)

	records(p, "users", "ines")
	p.See(".fm-sealed", "Sealed")
	p.Screenshot("users")
	var html string
	p.Eval("document.body.innerHTML + JSON.stringify(localStorage)", &html)
	if strings.Contains(html, sealedName) {
		t.Error("officer: the users page holds a sealed name")
	}
	p.Click(`.records-table tbody tr:nth-child(2) .col-field-name-full_name .fm-reveal`)
	p.Type(".fm-reason input", goodReason)
	p.Screenshot("reveal")
	p.Click(".modal.popup .btn.warning")
	p.See(".col-field-name-full_name .fm-sealed", sealedName)
	p.Screenshot("revealed")
	if got := len(w.reveals()); got != 1 {
		t.Errorf("audit entries of the reveal: got %d, want 1", got)
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

// What a restricted role cannot use is not offered, and an address typed by
// hand leads back.
func TestOfficerIsOfferedOnlyWhatWorks(t *testing.T) {
	t.Parallel()
	w := newWorld(t, adminui.Config{})
	p := w.signIn(officerEmail)
	for _, hash := range []string{"#/settings", "#/settings/sql", "#/settings/backups", "#/logs"} {
		p.Hash(hash)
		p.Until(hash+" leads back", `location.hash === "#/compliance"`)
		p.See(".fm-overview", "Buildings")
	}
	records(p, "buildings", "Tower 1")
	for _, selector := range []string{".new-record-btn", ".api-preview-btn", ".btn-collection-settings", ".sidebar-content.new-collection", ".dropdown-item-manage", `a[href="#/settings"]`, `a[href="#/logs"]`} {
		p.Until(selector+" is not offered", `![...document.querySelectorAll(`+"`"+selector+"`"+`)].some((e) => e.checkVisibility())`)
	}
	p.Click(".records-table tbody tr:nth-child(3) .col-field-name-name")
	p.See(".record-preview-modal", "Flame Street")
	p.Screenshot("record")
	records(p, "classifications", "")
	p.Hash("#/compliance")
	p.Click(`.fm-legend a[href*="non_critical_defect"]`)
	p.See(".records-table", "No records found")
	p.Until("New record is not offered", `![...document.querySelectorAll(".records-table button")].some((b) => b.checkVisibility() && b.innerText.includes("New record"))`)
	p.Screenshot("empty-list")
	// A reload keeps the session: the token is refreshed, nothing is refused.
	p.Goto("about:blank")
	p.Goto(w.url + "/_/#/compliance")
	p.See(".fm-overview .fm-card", "Buildings")
}

func TestAuditorSeesNoPeople(t *testing.T) {
	t.Parallel()
	w := newWorld(t, adminui.Config{})
	p := w.signIn(auditorEmail)
	p.See(".page-sidebar", "Auditor, read only")
	for _, collection := range []string{"buildings", "building_grants", "test_sessions", "evidence", "audit_log", "defects", "as1851_rules", "classifications", "calibration_certificates", "organisations"} {
		records(p, collection, "")
		if collection == "buildings" {
			p.See(".col-field-name-contact_name", "Sealed")
			p.Screenshot("buildings")
			p.Until("the auditor cannot ask", `!document.querySelector(".fm-reveal")`)
		}
	}
	p.Until("people are not listed", `!document.querySelector(".page-sidebar").innerText.split("\n").includes("users")`)
	var page string
	p.Eval("document.body.innerHTML", &page)
	if strings.Contains(page, "ines@example.com") {
		t.Error("auditor: a page names a person")
	}
}

// contrastScript lists texts of the Compliance page below the 4.5:1 of WCAG AA,
// by the colours that the browser computed.
const contrastScript = `(() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgba = (c) => { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = c; canvas.fillRect(0, 0, 1, 1); return canvas.getImageData(0, 0, 1, 1).data; };
  const over = (top, under) => [0, 1, 2].map((i) => (top[i] * top[3] + under[i] * (255 - top[3])) / 255);
  const lum = (c) => { const v = c.map((x) => x / 255).map((x) => x <= .04045 ? x / 12.92 : ((x + .055) / 1.055) ** 2.4); return .2126 * v[0] + .7152 * v[1] + .0722 * v[2]; };
  const ground = (e) => { for (; e; e = e.parentElement) { const b = rgba(getComputedStyle(e).backgroundColor); if (b[3] === 255) return [b[0], b[1], b[2]]; } return [255, 255, 255]; };
  const low = [];
  for (const e of document.querySelectorAll(".fm-compliance *")) {
    if (!e.checkVisibility() || ![...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()) || e.closest(".page-footer")) continue;
    const under = ground(e), a = lum(over(rgba(getComputedStyle(e).color), under)), b = lum(under);
    const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    if (ratio < 4.5) low.push(e.tagName + "." + e.className + " " + ratio.toFixed(2) + " " + e.textContent.slice(0, 30));
  }
  return low;
})()`

func TestOverviewIsReadable(t *testing.T) {
	t.Parallel()
	w := newWorld(t, adminui.Config{})
	p := w.signIn(officerEmail)
	for _, look := range []struct {
		name          string
		dark          bool
		width, height int64
	}{{"light", false, 1280, 800}, {"dark", true, 1280, 800}, {"phone", false, 390, 844}, {"phone-dark", true, 390, 844}} {
		dark(p, look.dark)
		p.Size(look.width, look.height)
		p.Screenshot(look.name)
		var low []string
		p.Eval(contrastScript, &low)
		if len(low) != 0 {
			t.Errorf("%s: contrast below 4.5: %q", look.name, low)
		}
		var wide bool
		p.Eval("document.documentElement.scrollWidth > innerWidth || document.querySelector('.page-content').scrollWidth > document.querySelector('.page-content').clientWidth", &wide)
		if wide {
			t.Errorf("%s: the page scrolls sideways", look.name)
		}
	}
	// The check itself must notice grey on white.
	dark(p, false)
	drawn(p)
	p.Eval(`document.querySelector(".fm-card h2").style.color = "rgb(180,180,180)"`, nil)
	var low []string
	p.Eval(contrastScript, &low)
	if len(low) == 0 {
		t.Error("grey heading: the contrast check found nothing")
	}
}

// Every link and button of the overview is reached by the Tab key, and the one
// that has the focus shows it.
func TestOverviewByKeyboard(t *testing.T) {
	t.Parallel()
	w := newWorld(t, adminui.Config{})
	p := w.signIn(officerEmail)
	drawn(p)
	var want int
	p.Eval(`document.querySelectorAll(".fm-overview a, .fm-nav").length`, &want)
	p.Eval(`(window.fmSeen = new Set(), window.fmUnmarked = [], document.addEventListener("focusin", (e) => {
		if (!e.target.matches(".fm-overview a, .fm-nav")) return;
		fmSeen.add(e.target);
		const s = getComputedStyle(e.target);
		if (s.outlineStyle === "none" || parseFloat(s.outlineWidth) < 2) fmUnmarked.push(e.target.innerText);
	}), true)`, nil)
	p.Press("Tab", want+40)
	var got int
	var unmarked []string
	p.Eval("fmSeen.size", &got)
	p.Eval("fmUnmarked", &unmarked)
	if got != want || len(unmarked) != 0 {
		t.Errorf("by keyboard: reached %d of %d, without a visible focus: %q", got, want, unmarked)
	}
	p.Eval(`void document.querySelector('.fm-legend a').focus()`, nil)
	p.Press("Enter", 1)
	p.See(".records-table tbody", "Tower")
	p.Until("the list is filtered", `document.querySelector(".total-count").innerText === "Total: 2" && !document.querySelector(".records-table").innerText.includes("compliant")`)
}

func TestRefreshShowsWhatIsNew(t *testing.T) {
	t.Parallel()
	w := newEmptyWorld(t, adminui.Config{})
	p := w.signIn(adminEmail)
	p.See(".fm-card", "No buildings yet.")
	p.Screenshot("empty")
	org := w.add("organisations", map[string]any{"name": "Ember", "kind": "contractor"}).Id
	w.add("buildings", map[string]any{"name": "Tower", "address": "1 Flame Street", "building_type": "office", "organisation_id": org, "compliance_status": "pending"})
	p.Click(".page-header .rotate-btn")
	p.See(".fm-card .fm-legend", "Pending")
	p.See(".fm-table", "System")
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
