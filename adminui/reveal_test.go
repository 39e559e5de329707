package adminui_test

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"firemode/adminui"
	"firemode/collections"

	"github.com/pocketbase/pocketbase/core"
)

const (
	revealPath = "/api/firemode/compliance/reveal"
	goodReason = "Call back about the failed pump test"
)

// reveal asks for one sealed value of the first user or building.
func (w *world) reveal(token, collection, field, reason string) (int, map[string]any) {
	w.t.Helper()
	return w.do("POST", revealPath, token, map[string]any{"collection": collection, "id": w.ids[collection], "field": field, "reason": reason})
}

func (w *world) reveals() []*core.Record {
	w.t.Helper()
	entries, err := w.app.FindRecordsByFilter(collections.AuditLog, "action = 'reveal'", "seq", 0, 0)
	if err != nil {
		w.t.Fatal(err)
	}
	return entries
}

func TestRevealIsRecordedBeforeItIsShown(t *testing.T) {
	t.Parallel()
	w := newWorld(t, adminui.Config{})
	status, body := w.reveal(w.token(officerEmail), collections.Users, collections.FieldFullName, goodReason)
	if status != http.StatusOK || body["value"] != sealedName {
		t.Fatalf("reveal: got %d %v, want 200 and the name", status, body)
	}
	entries := w.reveals()
	if len(entries) != 1 {
		t.Fatalf("audit entries: got %d, want 1", len(entries))
	}
	e := entries[0]
	if e.GetString(collections.FieldUserRole) != "superuser:officer" || e.GetString(collections.FieldResourceID) != w.ids[collections.Users] ||
		!strings.Contains(e.GetString(collections.FieldNewValues), goodReason) || strings.Contains(e.GetString(collections.FieldNewValues), sealedName) {
		t.Errorf("audit entry: got %v, want the officer, the record and the reason, without the value", e.PublicExport())
	}
	// When the log cannot be written the value stays where it is.
	if _, err := w.app.DB().NewQuery("CREATE TRIGGER test_full BEFORE INSERT ON audit_log BEGIN SELECT RAISE(ABORT, 'full'); END").Execute(); err != nil {
		t.Fatal(err)
	}
	status, body = w.reveal(w.token(officerEmail), collections.Users, collections.FieldPhone, goodReason)
	if status < 400 || body["value"] != nil {
		t.Errorf("reveal without a log: got %d %v, want a refusal", status, body)
	}
}

func TestRevealIsForOfficersWithAReason(t *testing.T) {
	t.Parallel()
	w := newWorld(t, adminui.Config{})
	officer := w.token(officerEmail)
	for _, test := range []struct {
		name, token, collection, field, reason string
		want                                   int
	}{
		{"building contact", officer, "buildings", "contact_name", goodReason, 200},
		{"administrator", w.token(adminEmail), "users", "phone", goodReason, 200},
		{"auditor", w.token(auditorEmail), "buildings", "contact_name", goodReason, 403},
		{"guest", "", "users", "phone", goodReason, 401},
		{"user with role officer", w.login(collections.Users, "olga@example.com"), "users", "phone", goodReason, 403},
		{"no reason", officer, "users", "phone", "", 400},
		{"spaces", officer, "users", "phone", strings.Repeat(" ", 40), 400},
		{"endless reason", officer, "users", "phone", strings.Repeat("why ", 200), 400},
		{"plain field", officer, "users", "username", goodReason, 400},
		{"token key", officer, "users", "tokenKey", goodReason, 400},
		{"closed collection", officer, "_superusers", "email", goodReason, 403},
		{"unknown collection", officer, "unheard_of", "x", goodReason, 403},
	} {
		if got, body := w.reveal(test.token, test.collection, test.field, test.reason); got != test.want {
			t.Errorf("%s: got %d %v, want %d", test.name, got, body["message"], test.want)
		}
	}
	if got, _ := w.do("POST", revealPath, officer, map[string]any{"collection": "users", "id": "unheard-of", "field": "phone", "reason": goodReason}); got != http.StatusNotFound {
		t.Errorf("unknown record: got %d, want 404", got)
	}
	if got := len(w.reveals()); got != 2 {
		t.Errorf("audit entries: got %d, want 2: refusals reveal nothing", got)
	}
}

func TestRevealsAreLimited(t *testing.T) {
	t.Parallel()
	var now atomic.Pointer[time.Time] // the server reads it on goroutines of its own
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	now.Store(&start)
	forward := func(d time.Duration) {
		next := now.Load().Add(d)
		now.Store(&next)
	}
	w := newWorld(t, adminui.Config{Now: func() time.Time { return *now.Load() }})
	officer := w.token(officerEmail)
	for i := range 30 {
		if status, body := w.reveal(officer, collections.Users, collections.FieldPhone, goodReason); status != http.StatusOK {
			t.Fatalf("reveal %d: got %d %v, want 200", i+1, status, body)
		}
	}
	forward(4 * time.Minute)
	status, _, header := w.raw("POST", revealPath, officer, map[string]any{"collection": "users", "id": w.ids["users"], "field": "phone", "reason": goodReason})
	if status != http.StatusTooManyRequests || header.Get("Retry-After") != "360" {
		t.Errorf("reveal 31: got %d, Retry-After %q, want 429 and 360", status, header.Get("Retry-After"))
	}
	if status, _ := w.reveal(w.token(adminEmail), collections.Users, collections.FieldPhone, goodReason); status != http.StatusOK {
		t.Errorf("somebody else: got %d, want 200", status)
	}
	forward(6 * time.Minute)
	if status, _ := w.reveal(officer, collections.Users, collections.FieldPhone, goodReason); status != http.StatusOK {
		t.Errorf("after the window: got %d, want 200", status)
	}
}
