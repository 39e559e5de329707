package browser_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"firemode/internal/browser"
)

func TestMain(m *testing.M) {
	code := m.Run()
	browser.Cleanup()
	os.Exit(code)
}

// serve answers every path with the HTML page, except those in status.
func serve(t *testing.T, html string, status map[string]int) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if code, ok := status[r.URL.Path]; ok {
			w.WriteHeader(code)
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = io.WriteString(w, html)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func TestPageIsDriven(t *testing.T) {
	t.Parallel()
	url := serve(t, `<!doctype html><title>x</title><link rel="icon" href="data:,"><input id="in"><button onclick="out.textContent='Hello '+document.getElementById('in').value">Go</button><p id="out">-</p>`, nil)
	p := browser.Open(t)
	p.Goto(url)
	p.Type("#in", "Ada")
	p.Click("button")
	p.See("#out", "Hello Ada")
	if got, want := p.Text("#out"), "Hello Ada"; got != want {
		t.Errorf("text: got %q, want %q", got, want)
	}
	var sum int
	p.Eval("Promise.resolve(20 + 22)", &sum)
	if sum != 42 {
		t.Errorf("evaluated: got %d, want 42", sum)
	}
	var dark bool
	p.Dark(true)
	p.Eval(`matchMedia("(prefers-color-scheme: dark)").matches`, &dark)
	if !dark {
		t.Error("dark scheme: media query does not match")
	}
	p.Screenshot("driven")
	if got := p.Problems(); len(got) != 0 {
		t.Errorf("problems of a clean page: %q", got)
	}
}

// Each page goes wrong in one way, and that way must be reported.
func TestProblemsAreSeen(t *testing.T) {
	t.Parallel()
	const icon = `<!doctype html><link rel="icon" href="data:,">`
	tests := []struct{ name, html, want string }{
		{"console error", icon + `<script>console.error("broken", 7)</script>`, "console error: \"broken\" 7"},
		{"console warning", icon + `<script>console.warn("hm")</script>`, "console warning"},
		{"exception", icon + `<script>null.x()</script>`, "exception:"},
		{"refused", icon + `<script>fetch("/denied")</script>`, "answer 403 to GET"},
		{"lost", icon + `<script>fetch("http://127.0.0.1:1/").catch(() => 0)</script>`, "request failed: GET http://127.0.0.1:1/"},
		{"foreign", icon + `<img src="http://fonts.invalid/a.png">`, "request to another machine: http://fonts.invalid/a.png"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			p := browser.Open(t)
			p.Goto(serve(t, test.html, map[string]int{"/denied": http.StatusForbidden}))
			p.Until("page is idle", `document.readyState === "complete"`)
			// The report arrives by another event; ask until it is there.
			var all string
			for range 100 {
				all = strings.Join(p.Problems(), "\n")
				if strings.Contains(all, test.want) {
					break
				}
				p.Eval(`new Promise((done) => setTimeout(done, 20))`, nil)
			}
			if !strings.Contains(all, test.want) {
				t.Errorf("problems: got %q, want %q", all, test.want)
			}
			p.Expect("") // they were the point
		})
	}
}

func TestTabsDoNotShareStorage(t *testing.T) {
	t.Parallel()
	url := serve(t, `<!doctype html><link rel="icon" href="data:,"><p>x</p>`, nil)
	a, b := browser.Open(t), browser.Open(t)
	a.Goto(url)
	a.Eval(`localStorage.setItem("k", "a")`, nil)
	b.Goto(url)
	var got string
	b.Eval(`localStorage.getItem("k") || "nothing"`, &got)
	if got != "nothing" {
		t.Errorf("storage of the other tab: got %q, want nothing", got)
	}
}

func TestScreenshotsLandInTheNamedDirectory(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("FIREMODE_ARTIFACTS", dir)
	p := browser.Open(t)
	p.Goto("data:text/html,<h1>Hi</h1>")
	p.Screenshot("hi")
	path := filepath.Join(dir, t.Name(), "hi.png")
	png, err := os.ReadFile(path)
	if err != nil || !strings.HasPrefix(string(png), "\x89PNG") {
		t.Errorf("read %s: %v, %d bytes", path, err, len(png))
	}
}

func TestMissingChromiumIsExplained(t *testing.T) {
	t.Setenv("FIREMODE_CHROMIUM", "/nowhere/chromium")
	if _, err := browser.Executable(); err == nil || !strings.Contains(err.Error(), "FIREMODE_CHROMIUM") {
		t.Errorf("missing executable: got %v, want an error that names FIREMODE_CHROMIUM", err)
	}
	t.Setenv("FIREMODE_CHROMIUM", "")
	t.Setenv("PATH", t.TempDir())
	if _, err := os.Stat("/usr/bin/chromium"); err == nil {
		return // found at its fixed place, whatever PATH says
	}
	if _, err := browser.Executable(); err == nil || !strings.Contains(err.Error(), "apt-get install -y chromium") {
		t.Errorf("no executable: got %v, want how to install it", err)
	}
}
