package browser

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// stepTimeout bounds one action, such as waiting for an element. Pages answer
// in tens of milliseconds; the rest is room for the race detector on a machine
// that runs other tests at the same time.
const stepTimeout = 40 * time.Second

// Page is one tab. Its methods fail the test that opened it, with a screenshot
// of what was there. A Page is used from one goroutine.
type Page struct {
	t   testing.TB
	ctx context.Context

	mu       sync.Mutex // guards what follows, which the browser's events fill
	problems []string
	expected []string
	requests map[network.RequestID]string
}

// prepare turns on the events that observe listens to.
func (p *Page) prepare() {
	p.t.Helper()
	p.requests = map[network.RequestID]string{}
	p.Do("open tab", network.Enable(), log.Enable(), runtime.Enable(), chromedp.EmulateViewport(1280, 800))
}

// Do runs actions, all of them within stepTimeout. what names the step in the
// failure message.
func (p *Page) Do(what string, actions ...chromedp.Action) {
	p.t.Helper()
	if err := p.try(actions...); err != nil {
		p.Screenshot("failed")
		p.t.Fatalf("%s: %v\nproblems so far: %q\npage text: %s", what, err, p.Problems(), p.visibleText())
	}
}

func (p *Page) try(actions ...chromedp.Action) error {
	// The tab lives as long as the context of its first Run, so that one must
	// not carry the deadline.
	if chromedp.FromContext(p.ctx).Target == nil {
		if err := chromedp.Run(p.ctx); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(p.ctx, stepTimeout)
	defer cancel()
	return chromedp.Run(ctx, actions...)
}

func (p *Page) visibleText() string {
	var text string
	if err := p.try(chromedp.Evaluate(`document.body ? document.body.innerText.slice(0, 2000) : ""`, &text)); err != nil {
		return err.Error()
	}
	return text
}

// Goto loads an address and waits for its load event.
func (p *Page) Goto(url string) {
	p.t.Helper()
	p.Do("go to "+url, chromedp.Navigate(url))
}

// Hash moves within a page that routes by its fragment ("#/compliance").
func (p *Page) Hash(hash string) {
	p.t.Helper()
	p.Do("go to "+hash, chromedp.Evaluate(`void (location.hash = `+quote(hash)+`)`, nil))
}

// See waits until an element that matches the CSS selector is visible and its
// text contains want ("" is contained in every text).
func (p *Page) See(selector, want string) {
	p.t.Helper()
	p.Until(fmt.Sprintf("see %q in %s", want, selector),
		`[...document.querySelectorAll(`+quote(selector)+`)].some((e) => e.checkVisibility() && e.innerText.includes(`+quote(want)+`))`)
}

// Until waits until a JavaScript expression is true.
func (p *Page) Until(what, expression string) {
	p.t.Helper()
	p.Do(what, chromedp.Poll(expression, nil, chromedp.WithPollingInterval(50*time.Millisecond), chromedp.WithPollingTimeout(stepTimeout)))
}

// Click waits for a visible element, brings it to the middle of what scrolls
// around it, so that nothing fixed covers it, and clicks it.
func (p *Page) Click(selector string) {
	p.t.Helper()
	p.Do("click "+selector,
		chromedp.WaitVisible(selector, chromedp.ByQuery),
		chromedp.Evaluate(`document.querySelector(`+quote(selector)+`).scrollIntoView({ block: "center", inline: "center" })`, nil),
		chromedp.Click(selector, chromedp.ByQuery, chromedp.NodeVisible))
}

// Type waits for a visible input and types into it.
func (p *Page) Type(selector, text string) {
	p.t.Helper()
	p.Do("type into "+selector, chromedp.SendKeys(selector, text, chromedp.ByQuery, chromedp.NodeVisible))
}

// Press sends a key ("Tab", "Enter") to what has the focus, count times.
func (p *Page) Press(key string, count int) {
	p.t.Helper()
	code := map[string]string{"Tab": kb.Tab, "Enter": kb.Enter, "Escape": kb.Escape}[key]
	if code == "" {
		p.t.Fatalf("press %s: unknown key", key)
	}
	actions := make([]chromedp.Action, count)
	for i := range actions {
		actions[i] = chromedp.KeyEvent(code)
	}
	p.Do("press "+key, actions...)
}

// Eval evaluates a JavaScript expression into out, awaiting a promise.
func (p *Page) Eval(expression string, out any) {
	p.t.Helper()
	await := func(params *runtime.EvaluateParams) *runtime.EvaluateParams { return params.WithAwaitPromise(true) }
	p.Do("evaluate "+expression, chromedp.Evaluate(expression, out, await))
}

// Text returns the visible text of the first element that matches.
func (p *Page) Text(selector string) string {
	p.t.Helper()
	var text string
	p.Do("read "+selector, chromedp.Text(selector, &text, chromedp.ByQuery, chromedp.NodeVisible))
	return text
}

// Dark sets the colour scheme that the page's media queries see.
func (p *Page) Dark(on bool) {
	p.t.Helper()
	value := "light"
	if on {
		value = "dark"
	}
	p.Do("set colour scheme "+value, emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: value}}))
}

// Size sets the viewport in CSS pixels.
func (p *Page) Size(width, height int64) {
	p.t.Helper()
	p.Do("resize", chromedp.EmulateViewport(width, height))
}

// Screenshot writes the visible part of the page to <artifacts>/<name>.png.
func (p *Page) Screenshot(name string) {
	p.t.Helper()
	var png []byte
	if err := p.try(chromedp.CaptureScreenshot(&png)); err != nil {
		p.t.Logf("screenshot %s: %v", name, err)
		return
	}
	path := filepath.Join(p.artifacts(), name+".png")
	if err := os.WriteFile(path, png, 0o644); err != nil {
		p.t.Fatalf("write screenshot: %v", err)
	}
	p.t.Logf("screenshot: %s", path)
}

func (p *Page) artifacts() string {
	p.t.Helper()
	root := os.Getenv("FIREMODE_ARTIFACTS")
	if root == "" {
		return p.t.ArtifactDir()
	}
	dir := filepath.Join(root, filepath.FromSlash(p.t.Name()))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		p.t.Fatalf("make artifact directory: %v", err)
	}
	return dir
}

func quote(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		return `""` // a string always marshals
	}
	return strings.ReplaceAll(string(b), "\u2028", `\u2028`)
}
