package api

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/pocketbase/pocketbase/apis"
	"github.com/pocketbase/pocketbase/core"
	"github.com/swaggest/swgui"
	"github.com/swaggest/swgui/v5emb"
)

// openAPIConfig is the frame of the generated document.
func openAPIConfig(version string) huma.Config {
	if version == "" {
		version = "0.0.0"
	}
	format := huma.Format{Marshal: huma.DefaultJSONFormat.Marshal, Unmarshal: json.Unmarshal}
	return huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info: &huma.Info{
				Title: "FireMode", Version: version,
				Description: "Fire-safety compliance: who tested what, with which result, on which evidence. " +
					"PocketBase's own API (/api/collections, /api/realtime, files) runs beside these operations under the same rules.",
			},
			Components: &huma.Components{
				Schemas: huma.NewMapRegistry("#/components/schemas/", schemaName),
				SecuritySchemes: map[string]*huma.SecurityScheme{
					"bearer": {Type: "http", Scheme: "bearer", BearerFormat: "JWT", Description: "access_token of POST /v1/auth/login"},
				},
			},
			Tags: []*huma.Tag{
				{Name: "auth", Description: "Logging in and out, and the token revocation list"},
				{Name: "users", Description: "The caller's own account"},
				{Name: "buildings", Description: "The places under test"},
				{Name: "sessions", Description: "Test sessions: documents that many people write at once, without losing a result"},
				{Name: "evidence", Description: "Files that prove a result"},
				{Name: "operations", Description: "The state of the service"},
			},
		},
		Formats:       map[string]huma.Format{"application/json": format, "json": format},
		DefaultFormat: "application/json",
	}
}

// bindDocs serves the document and its page. The page loads nothing from
// elsewhere, so it works without network.
func bindDocs(se *core.ServeEvent, doc *huma.OpenAPI) error {
	raw, err := doc.MarshalJSON()
	if err != nil {
		return fmt.Errorf("encode the OpenAPI document: %w", err)
	}
	sum := sha256.Sum256(raw)
	etag := `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`
	se.Router.GET("/openapi.json", func(e *core.RequestEvent) error {
		h := e.Response.Header()
		h.Set("ETag", etag)
		h.Set("Cache-Control", "no-cache")
		if e.Request.Header.Get("If-None-Match") == etag {
			return e.NoContent(http.StatusNotModified)
		}
		return e.Blob(http.StatusOK, "application/json", raw)
	})

	page := v5emb.NewHandlerWithConfig(swgui.Config{
		Title: "FireMode API", SwaggerJSON: "/openapi.json", BasePath: "/docs/",
		SettingsUI: map[string]string{"persistAuthorization": "false", "tryItOutEnabled": "true"},
	})
	csp, err := docsPolicy(page)
	if err != nil {
		return err
	}
	serve := func(e *core.RequestEvent) error {
		e.Response.Header().Set("Content-Security-Policy", csp)
		e.Response.Header().Set("Cache-Control", "no-cache")
		page.ServeHTTP(e.Response, e.Request)
		return nil
	}
	se.Router.GET("/docs", serve).Bind(apis.SkipSuccessActivityLog())
	se.Router.GET("/docs/{path...}", serve).Bind(apis.SkipSuccessActivityLog())
	return nil
}

var inlineScript = regexp.MustCompile(`(?s)<script>(.*?)</script>`)

// docsPolicy is a policy under which the page works: its own files, and its
// inline script by hash. The page is the same for every request.
func docsPolicy(page http.Handler) (string, error) {
	w := httptest.NewRecorder()
	page.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/docs/", nil))
	html := w.Body.Bytes()
	if w.Code != http.StatusOK || !bytes.Contains(html, []byte("swagger-ui")) {
		return "", fmt.Errorf("render the API page: status %d", w.Code)
	}
	scripts := []string{"'self'"}
	for _, m := range inlineScript.FindAllSubmatch(html, -1) {
		sum := sha256.Sum256(m[1])
		scripts = append(scripts, "'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"'")
	}
	return "default-src 'none'; connect-src 'self'; img-src 'self' data:; font-src 'self' data:; " +
		"style-src 'self' 'unsafe-inline'; script-src " + strings.Join(scripts, " ") +
		"; base-uri 'none'; form-action 'self'; frame-ancestors 'none'", nil
}
