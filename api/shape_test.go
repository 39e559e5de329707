package api_test

import (
	"encoding/json"
	"errors"
	"net/http/httptest"
	"strings"
	"testing"

	"firemode/api"
	"firemode/collections"
	"firemode/internal/browser"
	"firemode/pgsync"

	"github.com/pocketbase/pocketbase/core"
)

// PocketBase's own routes answer errors in the one shape too, and keep what its
// SDKs read. do checks the shape of every error.
func TestPocketBaseErrorsHaveTheShape(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := w.superuser("admin")
	for name, row := range map[string]struct {
		r      request
		status int
	}{
		"unknown route":      {request{method: "GET", path: "/api/nothing"}, 404},
		"unknown /v1":        {request{method: "GET", path: "/v1/nothing", as: "manager"}, 404},
		"/v1 itself":         {request{method: "GET", path: "/v1"}, 404},
		"wrong method":       {request{method: "DELETE", path: "/v1/users/me", as: "manager"}, 405},
		"options":            {request{method: "OPTIONS", path: "/v1/users/me"}, 405},
		"missing record":     {request{method: "GET", path: "/api/collections/buildings/records/none", as: "manager"}, 404},
		"missing collection": {request{method: "GET", path: "/api/collections/none/records", as: "manager"}, 404},
		"guest on settings":  {request{method: "GET", path: "/api/settings"}, 401},
		"user on settings":   {request{method: "GET", path: "/api/settings", as: "manager"}, 403},
		"bad filter":         {request{method: "GET", path: "/api/collections/buildings/records?filter=(((", as: "manager"}, 400},
		"bad login":          {request{method: "POST", path: "/api/collections/users/auth-with-password", body: map[string]any{"identity": "x", "password": "y"}}, 400},
		"bad create":         {request{method: "POST", path: "/api/collections/buildings/records", token: admin, body: map[string]any{"name": ""}}, 400},
		"not JSON":           {request{method: "POST", path: "/api/collections/buildings/records", token: admin, body: "{"}, 400},
		"unknown method":     {request{method: "PROPFIND", path: "/v1/users/me"}, 404},
	} {
		if a := w.do(row.r); a.status != row.status {
			t.Errorf("%s: got %d, want %d\n%s", name, a.status, row.status, clip(a.body))
		}
	}
	a := w.do(request{method: "POST", path: "/api/collections/buildings/records", token: admin, body: map[string]any{"building_type": "1"}}).want(400)
	if _, ok := a.member("data").(map[string]any)["name"]; !ok || len(a.pointers()) == 0 {
		t.Errorf("per-field errors: got %s", a.body)
	}
	if got := w.do(request{method: "PUT", path: "/v1/users/me", as: "manager"}).want(405).header.Get("Allow"); got != "GET, HEAD" {
		t.Errorf("Allow: got %q, want GET, HEAD", got)
	}
	if a := w.do(request{method: "HEAD", path: "/v1/users/me", as: "manager"}).want(200); len(a.body) != 0 {
		t.Errorf("HEAD: got a body of %d bytes", len(a.body))
	}
	w.do(request{method: "HEAD", path: "/v1/users/me"}).want(401)
}

// What no code expects is a 500 without its cause, in the log once.
func TestUnknownErrorsSayNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	secret := errors.New("SQL logic error in /pb_data: password=hunter2")
	w.app.OnRecordEnrich(collections.Buildings).BindFunc(func(*core.RecordEnrichEvent) error { return secret })
	w.app.OnRecordCreateExecute(collections.Organisations).BindFunc(func(*core.RecordEvent) error { panic(secret) })
	for _, r := range []request{
		{method: "GET", path: "/v1/buildings/" + w.building, as: "manager"},
		{method: "GET", path: "/v1/buildings", as: "manager"},
		{method: "POST", path: "/api/collections/organisations/records", token: w.superuser("admin"), body: map[string]any{"name": "X", "kind": "owner"}},
	} {
		a := w.do(r).want(500)
		if strings.Contains(string(a.body), "hunter2") || a.member("retryable") != true {
			t.Errorf("%s: got %s", r.path, a.body)
		}
	}
}

func TestRequestIDAndHeaders(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.do(request{method: "GET", path: "/v1/users/me", header: map[string]string{"X-Request-Id": "visit-2026-11.23_a"}}).want(401)
	if a.text("transaction_id") != "visit-2026-11.23_a" || a.header.Get("X-Request-Id") != "visit-2026-11.23_a" {
		t.Errorf("request id: got %s and %s", a.body, a.header.Get("X-Request-Id"))
	}
	for _, id := range []string{"short", "with space in it", strings.Repeat("x", 65), "log\tinjection"} {
		if got := w.do(request{method: "GET", path: "/v1/users/me", header: map[string]string{"X-Request-Id": id}}).header.Get("X-Request-Id"); got == id || len(got) != 36 {
			t.Errorf("X-Request-Id %q: answered %q, want a new one", id, got)
		}
	}
	for _, path := range []string{"/v1/users/me", "/api/health", "/health", "/openapi.json", "/docs/", "/nothing"} {
		h := w.do(request{method: "GET", path: path}).header
		for _, name := range []string{"Content-Security-Policy", "X-Content-Type-Options", "X-Frame-Options", "Referrer-Policy", "Permissions-Policy", "X-Request-Id"} {
			if h.Get(name) == "" {
				t.Errorf("%s: no %s", path, name)
			}
		}
		if strings.Contains(h.Get("Content-Security-Policy"), "unsafe-inline") && strings.Contains(h.Get("Content-Security-Policy"), "script-src 'unsafe") {
			t.Errorf("%s: scripts inline", path)
		}
	}
	if got := w.do(request{method: "GET", path: "/v1/users/me", as: "manager"}).header.Get("Cache-Control"); got != "no-store" {
		t.Errorf("Cache-Control of /v1: got %q, want no-store", got)
	}
	if got := w.do(request{method: "GET", path: "/docs/"}).header.Get("X-Frame-Options"); got != "DENY" {
		t.Errorf("X-Frame-Options of /docs/: got %q, want DENY", got)
	}
	if got := w.do(request{method: "GET", path: "/_/"}).header.Get("Content-Security-Policy"); strings.Contains(got, "default-src 'none'") {
		t.Errorf("the admin UI lost its policy: %q", got)
	}
}

func TestRateLimitAnswersRetryAfter(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	settings := w.app.Settings()
	settings.RateLimits.Enabled = true
	settings.RateLimits.Rules = []core.RateLimitRule{{Label: "POST /v1/auth/login", MaxRequests: 1, Duration: 60}, {Label: "/health", MaxRequests: 1, Duration: 60}}
	if err := w.app.Save(settings); err != nil {
		t.Fatal(err)
	}
	w.login("inspector", "wrong").want(401)
	a := w.login("inspector", "wrong").want(429)
	if a.header.Get("Retry-After") == "" || a.member("retryable") != true {
		t.Errorf("got %v %s", a.header, a.body)
	}
	for range 3 {
		w.do(request{method: "GET", path: "/health"}).want(200)
	}
}

func TestHealth(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(d *api.Deps) {
		d.MirrorStatus = func() pgsync.Status {
			return pgsync.Status{State: pgsync.StateConnecting, LastError: "no route to db.example.test"}
		}
	})
	for _, path := range []string{"/health", "/health/", "/health/live", "/health/live/", "/health/ready", "/health/ready/"} {
		w.do(request{method: "GET", path: path}).want(200)
	}
	if a := w.do(request{method: "GET", path: "/health"}).want(200); a.text("status") != "degraded" || strings.Contains(string(a.body), "db.example") {
		t.Errorf("with the mirror down: got %s", a.body)
	}
	w.do(request{method: "GET", path: "/v1/mirror/status", as: "inspector"}).want(403)
	w.do(request{method: "GET", path: "/v1/mirror/status", as: "officer"}).want(200)

	full := newWorld(t, func(d *api.Deps) { d.DiskFloorBytes = 1 << 62 })
	a := full.do(request{method: "GET", path: "/health/ready"}).want(503)
	if a.header.Get("Retry-After") == "" || a.member("checks").(map[string]any)["disk"] != "failing" || strings.Contains(string(a.body), "/") && strings.Contains(string(a.body), "tmp") {
		t.Errorf("with a full disk: got %s", a.body)
	}
	full.do(request{method: "GET", path: "/health/live"}).want(200)
	if got := full.do(request{method: "GET", path: "/v1/mirror/status", as: "officer"}).want(200).text("state"); got != "off" {
		t.Errorf("mirror: got %s, want off", got)
	}

	stopped := newWorld(t)
	stopped.deps.Merge.Stop()
	if a := stopped.do(request{method: "GET", path: "/health/ready"}).want(503); a.member("checks").(map[string]any)["database_write"] != "failing" {
		t.Errorf("with a stopped writer: got %s", a.body)
	}
	if a := stopped.results("inspector", "stop-0001", map[string]any{"changes": []any{set("/a", 1)}}).want(503); a.header.Get("Retry-After") == "" {
		t.Errorf("results with a stopped writer: no Retry-After")
	}
}

func TestDocsAreOffline(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	doc := w.do(request{method: "GET", path: "/openapi.json"}).want(200)
	var spec struct {
		OpenAPI    string
		Components struct{ SecuritySchemes map[string]map[string]any }
	}
	if err := json.Unmarshal(doc.body, &spec); err != nil || spec.OpenAPI != "3.1.0" || spec.Components.SecuritySchemes["bearer"]["scheme"] != "bearer" {
		t.Errorf("document: got %+v (%v)", spec, err)
	}
	w.do(request{method: "GET", path: "/openapi.json", header: map[string]string{"If-None-Match": doc.header.Get("ETag")}}).want(304)
	page := w.do(request{method: "GET", path: "/docs"}).want(200)
	if strings.Contains(string(page.body), "https://") && strings.Contains(string(page.body), "cdn") {
		t.Error("the page loads from elsewhere")
	}
	if csp := page.header.Get("Content-Security-Policy"); !strings.Contains(csp, "'sha256-") || strings.Contains(csp, "script-src 'self' 'unsafe-inline'") {
		t.Errorf("policy: got %s", csp)
	}
	for _, file := range []string{"swagger-ui-bundle.js", "swagger-ui.css", "swagger-ui-standalone-preset.js"} {
		w.do(request{method: "GET", path: "/docs/" + file}).want(200)
	}
}

// The page works in a browser under its own policy: it loads, takes a token and
// sends a request with it.
func TestDocsInABrowser(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	page := browser.Open(t)
	page.Goto(w.url + "/docs")
	page.See("#swagger-ui", "Log in with a password")
	page.Click("button.authorize")
	page.Type(".auth-container input", w.token["manager"])
	page.Click(".auth-btn-wrapper button.authorize")
	page.Click(".auth-btn-wrapper button.btn-done")
	page.Click("#operations-users-get-me .opblock-summary-control")
	page.Click("#operations-users-get-me button.execute")
	page.See("#operations-users-get-me .live-responses-table", "manager@example.test")
}

func TestDiagnostics(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.do(request{method: "GET", path: "/v1/buildings/" + w.building, as: "manager"}).want(200)
	w.results("inspector", "diag-0001", map[string]any{"changes": []any{set("/a", 1)}}).want(200)
	server := httptest.NewServer(api.Diagnostics(w.deps))
	t.Cleanup(server.Close)
	get := func(path string) string {
		w := *w
		w.url = server.URL
		return string(w.do(request{method: "GET", path: path}).want(200).body)
	}
	for _, want := range []string{
		`firemode_http_requests_total{method="GET",route="/v1/buildings/{id}",status="200"} 1`, "firemode_http_request_duration_seconds_bucket",
		"firemode_realtime_clients 0", "firemode_mirror_ready 1", `firemode_mirror_state{state="off"} 1`, `firemode_mirror_state{state="held"} 0`,
		"firemode_mirror_quarantine_rows 0", "firemode_mirror_batches_total 0", "firemode_writer_queue_jobs 0",
		"firemode_writer_commits_total 1", "firemode_writer_jobs_total 1", "go_goroutines",
	} {
		if !strings.Contains(get("/metrics"), want) {
			t.Errorf("/metrics has no %s", want)
		}
	}
	var m map[string]any
	if err := json.Unmarshal([]byte(get("/memory")), &m); err != nil || m["alloc_mb"] == nil || m["num_goroutines"] == nil {
		t.Errorf("/memory: got %v (%v)", m, err)
	}
	get("/debug/pprof/")
	// Nothing of it is on the public port.
	for _, path := range []string{"/metrics", "/memory", "/debug/pprof/"} {
		w.do(request{method: "GET", path: path}).want(404)
	}
}

// The limits of /v1 are not PocketBase's: an upload may be larger than 32 MiB.
func TestBodyLimitOfPocketBaseIsOff(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	content := pngOf(t, 9) + strings.Repeat("z", 33<<20)
	w.upload("inspector", "large-0001", content).want(201)
}
