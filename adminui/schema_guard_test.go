package adminui_test

import (
	"net/http"
	"strings"
	"testing"

	"firemode/adminui"
)

func TestSchemaAndSQLAreClosed(t *testing.T) {
	t.Parallel()
	requests := []struct {
		method, path string
		body         any
	}{
		{"POST", "/api/sql", map[string]any{"query": "SELECT 1"}},
		{"POST", "/api/collections/meta/dry-run-view", map[string]any{"query": "SELECT id FROM users"}},
		{"POST", "/api/collections", map[string]any{"name": "extra", "type": "base"}},
		{"PATCH", "/api/collections/organisations", map[string]any{"listRule": ""}},
		{"DELETE", "/api/collections/idempotency_keys", nil},
		{"DELETE", "/api/collections/idempotency_keys/truncate", nil},
		{"PUT", "/api/collections/import", map[string]any{"collections": []any{map[string]any{"name": "more", "type": "base", "fields": []any{}}}}},
	}
	tests := []struct {
		name   string
		config adminui.Config
		open   bool
	}{
		{"production", adminui.Config{}, false},
		{"edits without development", adminui.Config{AllowSchemaEdits: true}, false},
		{"development", adminui.Config{Development: true}, false},
		{"development with edits", adminui.Config{Development: true, AllowSchemaEdits: true}, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newEmptyWorld(t, test.config)
			for _, r := range requests {
				status, body := w.do(r.method, r.path, w.token(adminEmail), r.body)
				if refused := status == http.StatusForbidden; refused == test.open {
					t.Errorf("%s %s: got %d %v, want open=%v", r.method, r.path, status, body, test.open)
				}
				if message, _ := body["message"].(string); status == http.StatusForbidden && !strings.Contains(message, " ") {
					t.Errorf("%s %s: message %q does not explain itself", r.method, r.path, message)
				}
			}
			if _, err := w.app.FindCollectionByNameOrId("extra"); (err == nil) != test.open {
				t.Errorf("collection made through the API: found %v, want %v", err == nil, test.open)
			}
		})
	}
}

func TestUIHeaders(t *testing.T) {
	t.Parallel()
	w := newEmptyWorld(t, adminui.Config{})
	for path, cache := range map[string]string{
		"/_/":                                    "",
		"/_/extensions.js":                       "no-cache",
		"/_/extensions/firemode/style.css":       "no-cache",
		"/_/extensions/firemode/config.json":     "no-cache",
		"/_/extensions/firemode-sealed/main.js":  "no-cache",
		"/_/extensions/firemode/unheard-of.file": "no-cache",
	} {
		status, _, header := w.raw("GET", path, "", nil)
		if status != http.StatusOK && !strings.Contains(path, "unheard-of") {
			t.Errorf("GET %s: got %d, want 200", path, status)
		}
		if cache != "" && header.Get("Cache-Control") != cache {
			t.Errorf("GET %s: Cache-Control %q, want %q", path, header.Get("Cache-Control"), cache)
		}
		csp := header.Get("Content-Security-Policy")
		if !strings.Contains(csp, "script-src 'self';") || strings.Contains(csp, "http") {
			t.Errorf("GET %s: policy %q, want this server only", path, csp)
		}
	}
	status, raw, _ := w.raw("GET", "/_/extensions/firemode/config.json", "", nil)
	if status != http.StatusOK || strings.TrimSpace(string(raw)) != `{"schemaEdits":false,"sqlConsole":false}` {
		t.Errorf("config: got %d %s, want both off", status, raw)
	}
}
