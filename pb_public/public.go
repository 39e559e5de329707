package pbpublic

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/pocketbase/pocketbase/apis"
	"github.com/pocketbase/pocketbase/core"
)

//go:embed static
var static embed.FS

const (
	indexName    = "index.html"
	notFoundName = "404.html"
)

// contentSecurityPolicy: the pages are text, one style sheet and pictures.
const contentSecurityPolicy = "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// apiPrefixes are answered to programs, which need the error in their form.
var apiPrefixes = []string{"/api/", "/v1/", "/assets/"}

// contentTypes is fixed here, because the system's table of types differs
// between machines.
var contentTypes = map[string]string{
	".html": "text/html; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".mjs":  "text/javascript; charset=utf-8",
	".svg":  "image/svg+xml",
	".txt":  "text/plain; charset=utf-8",
}

type page struct {
	body              []byte
	contentType, etag string
}

// Bind serves the embedded files for every path that no other route takes. It
// returns an error when a file is of a kind without a content type.
func Bind(se *core.ServeEvent) error {
	pages, err := load()
	if err != nil {
		return err
	}
	// The bare "/" is the mux's last resort for every method, so that it can
	// clash with no other pattern, whatever the other rooms mount.
	se.Router.Route("", "/", func(e *core.RequestEvent) error {
		return serve(e, pages)
	}).Bind(apis.SkipSuccessActivityLog())
	return nil
}

func load() (map[string]page, error) {
	pages := map[string]page{}
	err := fs.WalkDir(static, "static", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		body, err := static.ReadFile(name)
		if err != nil {
			return err
		}
		kind, ok := contentTypes[path.Ext(name)]
		if !ok {
			return fmt.Errorf("%s: no content type", name)
		}
		sum := sha256.Sum256(body)
		pages[strings.TrimPrefix(name, "static/")] = page{body: body, contentType: kind, etag: `"` + hex.EncodeToString(sum[:16]) + `"`}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("load public files: %w", err)
	}
	return pages, nil
}

func serve(e *core.RequestEvent, pages map[string]page) error {
	requested := e.Request.URL.Path
	for _, prefix := range apiPrefixes {
		if strings.HasPrefix(requested, prefix) {
			return e.NotFoundError("", nil)
		}
	}
	if e.Request.Method != http.MethodGet && e.Request.Method != http.MethodHead {
		return e.NotFoundError("", nil)
	}
	name := strings.TrimPrefix(requested, "/")
	if name == "" {
		name = indexName
	}
	p, ok := pages[name]
	if !ok || name == notFoundName {
		if !strings.Contains(e.Request.Header.Get("Accept"), "text/html") {
			return e.NotFoundError("", nil)
		}
		return missing(e, pages[notFoundName])
	}
	headers(e, p)
	e.Response.Header().Set("Cache-Control", "no-cache") // kept, but asked for each time
	e.Response.Header().Set("ETag", p.etag)
	http.ServeContent(e.Response, e.Request, name, time.Time{}, bytes.NewReader(p.body))
	return nil
}

// missing answers a person's browser with a page that leads back.
func missing(e *core.RequestEvent, p page) error {
	headers(e, p)
	e.Response.Header().Set("Cache-Control", "no-store")
	return e.Blob(http.StatusNotFound, p.contentType, p.body)
}

func headers(e *core.RequestEvent, p page) {
	h := e.Response.Header()
	h.Set("Content-Security-Policy", contentSecurityPolicy)
	h.Set("Content-Type", p.contentType)
	h.Set("Referrer-Policy", "same-origin")
	h.Set("X-Content-Type-Options", "nosniff")
}
