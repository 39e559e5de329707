package browser

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
)

// badStatus is the first status that counts as a failed request.
const badStatus = 400

// Problems returns what went wrong on the page so far and was not expected.
func (p *Page) Problems() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []string
	for _, problem := range p.problems {
		if !p.isExpected(problem) {
			out = append(out, problem)
		}
	}
	return out
}

// Expect takes problems whose text contains part off the account of the test.
func (p *Page) Expect(part string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.expected = append(p.expected, part)
}

func (p *Page) isExpected(problem string) bool {
	for _, part := range p.expected {
		if strings.Contains(problem, part) {
			return true
		}
	}
	return false
}

// observe turns the browser's events into problems.
func (p *Page) observe(event any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch e := event.(type) {
	case *runtime.EventConsoleAPICalled:
		if e.Type == runtime.APITypeError || e.Type == runtime.APITypeWarning || e.Type == runtime.APITypeAssert {
			p.add("console %s: %s", e.Type, consoleText(e.Args))
		}
	case *runtime.EventExceptionThrown:
		p.add("exception: %s", e.ExceptionDetails.Error())
	case *log.EventEntryAdded:
		// Failed requests are reported below with more detail.
		if e.Entry.Level == log.LevelError && e.Entry.Source != log.SourceNetwork {
			p.add("log: %s %s", e.Entry.Text, e.Entry.URL)
		}
	case *network.EventRequestWillBeSent:
		p.requests[e.RequestID] = e.Request.Method + " " + e.Request.URL
		if !local(e.Request.URL) {
			p.add("request to another machine: %s", e.Request.URL)
		}
	case *network.EventResponseReceived:
		if e.Response.Status >= badStatus {
			p.add("answer %d to %s", e.Response.Status, p.requests[e.RequestID])
		}
	case *network.EventLoadingFailed:
		// A page may cancel its own requests, as PocketBase's client does when
		// a newer one replaces them.
		if !e.Canceled && e.ErrorText != "net::ERR_ABORTED" {
			p.add("request failed: %s: %s", p.requests[e.RequestID], e.ErrorText)
		}
	}
}

func (p *Page) add(format string, args ...any) {
	p.problems = append(p.problems, fmt.Sprintf(format, args...))
}

// local reports whether an address stays on this machine.
func local(address string) bool {
	u, err := url.Parse(address)
	if err != nil {
		return false
	}
	switch u.Scheme {
	case "data", "blob", "about":
		return true
	}
	host := u.Hostname()
	return host == "127.0.0.1" || host == "localhost" || host == "::1"
}

func consoleText(args []*runtime.RemoteObject) string {
	var parts []string
	for _, arg := range args {
		switch {
		case arg.Description != "":
			parts = append(parts, arg.Description)
		default:
			parts = append(parts, string(arg.Value))
		}
	}
	return strings.Join(parts, " ")
}
