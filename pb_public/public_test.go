package pbpublic_test

import (
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"firemode/internal/browser"
	"firemode/internal/testapp"
	pbpublic "firemode/pb_public"

	"github.com/pocketbase/pocketbase/core"
	"github.com/pocketbase/pocketbase/tools/hook"
)

func TestMain(m *testing.M) {
	code := m.Run()
	browser.Cleanup()
	testapp.Cleanup()
	os.Exit(code)
}

// serve mounts the pages beside routes that the program's other rooms have.
func serve(t *testing.T) string {
	t.Helper()
	return testapp.Serve(t, testapp.New(t, func(app core.App) {
		app.OnServe().Bind(&hook.Handler[*core.ServeEvent]{Id: "test.public", Func: func(se *core.ServeEvent) error {
			se.Router.Any("/v1/{path...}", func(e *core.RequestEvent) error { return e.NotFoundError("", nil) })
			for _, path := range []string{"/docs", "/health/ready", "/openapi.json"} {
				se.Router.GET(path, func(e *core.RequestEvent) error { return e.HTML(http.StatusOK, "<title>ok</title>") })
			}
			if err := pbpublic.Bind(se); err != nil {
				return err
			}
			return se.Next()
		}})
	}))
}

func get(t *testing.T, method, url string, header map[string]string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range header {
		req.Header.Set(k, v)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(body)
}

const browserAccept = "text/html,application/xhtml+xml,*/*;q=0.8"

func TestFilesAreServed(t *testing.T) {
	t.Parallel()
	base := serve(t)
	for path, kind := range map[string]string{"/": "text/html; charset=utf-8", "/style.css": "text/css; charset=utf-8", "/logo.svg": "image/svg+xml"} {
		res, body := get(t, "GET", base+path, nil)
		if res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != kind || body == "" {
			t.Errorf("GET %s: got %d %q, want 200 %q", path, res.StatusCode, res.Header.Get("Content-Type"), kind)
		}
		if csp := res.Header.Get("Content-Security-Policy"); !strings.HasPrefix(csp, "default-src 'none'") {
			t.Errorf("GET %s: policy %q", path, csp)
		}
		etag := res.Header.Get("ETag")
		if etag == "" || res.Header.Get("Cache-Control") != "no-cache" {
			t.Errorf("GET %s: ETag %q, Cache-Control %q, want a tag and no-cache", path, etag, res.Header.Get("Cache-Control"))
		}
		if again, _ := get(t, "GET", base+path, map[string]string{"If-None-Match": etag}); again.StatusCode != http.StatusNotModified {
			t.Errorf("GET %s again: got %d, want 304", path, again.StatusCode)
		}
		if head, body := get(t, "HEAD", base+path, nil); head.StatusCode != http.StatusOK || body != "" {
			t.Errorf("HEAD %s: got %d and %d bytes, want 200 and none", path, head.StatusCode, len(body))
		}
	}
}

func TestMissingPathsAreMissing(t *testing.T) {
	t.Parallel()
	base := serve(t)
	for _, test := range []struct{ method, path, accept, kind string }{
		{"GET", "/api/unheard-of", browserAccept, "application/json"},
		{"GET", "/v1/unheard-of", browserAccept, "application/json"},
		{"GET", "/assets/old.js", browserAccept, "application/json"},
		{"GET", "/unheard-of", "application/json", "application/json"},
		{"GET", "/unheard-of", browserAccept, "text/html"},
		{"GET", "/404.html", browserAccept, "text/html"},
		{"GET", "/static/index.html", browserAccept, "text/html"},
		{"GET", "/..%2fpublic.go", browserAccept, "text/html"},
		{"POST", "/", browserAccept, "application/json"},
		{"DELETE", "/style.css", "", "application/json"},
	} {
		res, body := get(t, test.method, base+test.path, map[string]string{"Accept": test.accept})
		if res.StatusCode != http.StatusNotFound || !strings.HasPrefix(res.Header.Get("Content-Type"), test.kind) {
			t.Errorf("%s %s: got %d %s, want 404 %s", test.method, test.path, res.StatusCode, res.Header.Get("Content-Type"), test.kind)
		}
		if strings.Contains(body, "Compliance office") {
			t.Errorf("%s %s: the landing page stands in for a missing one", test.method, test.path)
		}
	}
	if res, body := get(t, "GET", base+"/api/health", nil); res.StatusCode != http.StatusOK {
		t.Errorf("GET /api/health: got %d %s, want 200: the pages must not hide routes", res.StatusCode, body)
	}
}

// luminance and contrast follow WCAG 2.2, computed by the browser's own colours.
const contrastScript = `(() => {
  const lum = (c) => { const v = c.match(/[\d.]+/g).slice(0, 3).map((x) => x / 255).map((x) => x <= .04045 ? x / 12.92 : ((x + .055) / 1.055) ** 2.4); return .2126 * v[0] + .7152 * v[1] + .0722 * v[2]; };
  const ground = (e) => { for (; e; e = e.parentElement) { const b = getComputedStyle(e).backgroundColor; if (!/, 0\)$/.test(b)) return b; } return "rgb(255, 255, 255)"; };
  const low = [];
  for (const e of document.querySelectorAll("h1, h2, p, a, li, span")) {
    if (![...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim())) continue;
    const a = lum(getComputedStyle(e).color), b = lum(ground(e));
    const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    if (ratio < 4.5) low.push(e.tagName + " " + ratio.toFixed(2) + " " + e.textContent.slice(0, 30));
  }
  return low;
})()`

func TestLandingPageInABrowser(t *testing.T) {
	t.Parallel()
	base := serve(t)
	p := browser.Open(t)
	for _, look := range []struct {
		name          string
		dark          bool
		width, height int64
	}{{"light", false, 1280, 800}, {"dark", true, 1280, 800}, {"phone", false, 360, 780}} {
		p.Dark(look.dark)
		p.Size(look.width, look.height)
		p.Goto(base + "/")
		p.See("h1", "FireMode")
		p.Screenshot(look.name)
		var low []string
		p.Eval(contrastScript, &low)
		if len(low) != 0 {
			t.Errorf("%s: contrast below 4.5: %q", look.name, low)
		}
		var wide bool
		p.Eval("document.documentElement.scrollWidth > innerWidth", &wide)
		if wide {
			t.Errorf("%s: the page scrolls sideways", look.name)
		}
	}
	var links []string
	p.Eval(`[...document.querySelectorAll("a")].map((a) => a.getAttribute("href"))`, &links)
	for _, link := range links {
		if strings.HasPrefix(link, "#") {
			continue
		}
		if res, _ := get(t, "GET", base+link, nil); res.StatusCode != http.StatusOK {
			t.Errorf("link %s: got %d, want 200", link, res.StatusCode)
		}
	}
	if len(links) < 4 {
		t.Errorf("links: got %q, want the office, the documentation and the state", links)
	}
}

// The contrast check itself must notice grey on white.
func TestContrastCheckNotices(t *testing.T) {
	t.Parallel()
	p := browser.Open(t)
	p.Goto("data:text/html,<body style='background:rgb(255,255,255)'><p style='color:rgb(150,150,150)'>grey</p>")
	var low []string
	p.Eval(contrastScript, &low)
	if len(low) != 1 {
		t.Errorf("grey on white: got %q, want one finding", low)
	}
}

func TestPagesNameNoOtherMachine(t *testing.T) {
	t.Parallel()
	base := serve(t)
	for _, path := range []string{"/", "/style.css", "/logo.svg"} {
		_, body := get(t, "GET", base+path, nil)
		body = strings.ReplaceAll(body, `xmlns="http://www.w3.org/2000/svg"`, "")
		if found := regexp.MustCompile(`(https?:)?//[a-z]`).FindString(body); found != "" {
			t.Errorf("%s names another machine: %q", path, found)
		}
	}
}
