package browser

import (
	"context"
	"fmt"
	"log"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// startTimeout bounds the start of Chromium. A cold start takes about 2 s, and
// ten times that on a machine that is busy with other tests.
const startTimeout = 45 * time.Second

// process is the one browser of this test process.
var process struct {
	once    sync.Once
	ctx     context.Context
	cancel  context.CancelFunc
	profile string
	err     error
}

// Executable returns the path of Chromium, or an error that says how to get it.
func Executable() (string, error) {
	if path := os.Getenv("FIREMODE_CHROMIUM"); path != "" {
		if _, err := exec.LookPath(path); err != nil {
			return "", fmt.Errorf("FIREMODE_CHROMIUM: %w", err)
		}
		return path, nil
	}
	for _, name := range []string{"/usr/bin/chromium", "chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("no Chromium found: apt-get install -y chromium, or set FIREMODE_CHROMIUM to its path")
}

// start launches the browser on first use.
func start() (context.Context, error) {
	process.once.Do(func() {
		path, err := Executable()
		if err != nil {
			process.err = err
			return
		}
		if process.profile, process.err = os.MkdirTemp("", "firemode-chromium-"); process.err != nil {
			return
		}
		options := append(chromedp.DefaultExecAllocatorOptions[:],
			chromedp.ExecPath(path),
			chromedp.UserDataDir(process.profile),
			chromedp.NoSandbox, // tests run as root in containers, which the sandbox refuses
			chromedp.DisableGPU,
			chromedp.NoFirstRun,
			chromedp.Flag("disable-background-networking", true),
			chromedp.Flag("disable-component-update", true),
			chromedp.Flag("disable-dev-shm-usage", true), // containers give /dev/shm 64 MB
			chromedp.Flag("lang", "en-GB"),
		)
		allocator, stopAllocator := chromedp.NewExecAllocator(context.Background(), options...)
		ctx, stopBrowser := chromedp.NewContext(allocator, chromedp.WithErrorf(report))
		process.ctx = ctx
		process.cancel = func() {
			stopBrowser()
			stopAllocator()
		}
		// The first Run starts the process, and its context is the browser's
		// life, so the deadline stands beside it rather than in it.
		started := make(chan error, 1)
		go func() { started <- chromedp.Run(ctx) }()
		select {
		case err := <-started:
			if err != nil {
				process.err = fmt.Errorf("start chromium: %w", err)
			}
		case <-time.After(startTimeout):
			process.err = fmt.Errorf("start chromium: nothing after %v", startTimeout)
		}
		if process.err != nil {
			process.cancel()
		}
	})
	return process.ctx, process.err
}

// harmless are complaints of the protocol client about events that are newer than
// it is and that nothing here listens to. Chromium 148 sends them many times a page.
var harmless = []string{"unknown IPAddressSpace value", "unhandled node event *dom.EventTopLayerElementsUpdated"}

// report passes on what else the protocol client complains about.
func report(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	for _, part := range harmless {
		if strings.Contains(text, part) {
			return
		}
	}
	log.Print("browser: " + text)
}

// Cleanup ends the browser and removes its profile; call it from TestMain after
// m.Run. It may be called when no browser was started.
func Cleanup() {
	if process.cancel != nil {
		process.cancel()
	}
	if process.profile != "" {
		_ = os.RemoveAll(process.profile)
	}
}

// Open returns a new tab with an empty profile, closed when the test ends. It
// fails the test when there is no Chromium.
func Open(t testing.TB) *Page {
	t.Helper()
	browser, err := start()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := chromedp.NewContext(browser, chromedp.WithNewBrowserContext())
	p := &Page{t: t, ctx: ctx}
	chromedp.ListenTarget(ctx, p.observe)
	t.Cleanup(func() {
		cancel()
		for _, problem := range p.Problems() {
			t.Errorf("browser: %s", problem)
		}
	})
	p.prepare()
	return p
}
