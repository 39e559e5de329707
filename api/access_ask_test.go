//go:build !race

package api_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
)

// marksIn are the marks, secrets and e-mail addresses in a text. Marks stand in
// one record each, secrets in sealed fields.
func marksIn(text []byte) (out []string) {
	for _, word := range bytes.FieldsFunc(text, func(r rune) bool {
		return r != '-' && r != '@' && r != '.' && (r < '0' || r > '9') && (r < 'a' || r > 'z')
	}) {
		if bytes.HasPrefix(word, []byte("mark-")) || bytes.HasPrefix(word, []byte("seal-")) || bytes.HasSuffix(word, []byte("@example.test")) {
			out = append(out, string(word))
		}
	}
	return out
}

// addressHeader gives every request an address of its own: PocketBase slows an
// address down after a few filters that found nothing.
const addressHeader = "X-Test-Address"

// An asked is what came back.
type asked struct {
	status int
	body   []byte
}

// ask sends a request. Whatever the request, an answer is no server error and
// shows no mark or secret that is not for this person.
func (c *census) ask(p person, method, path string, body any) asked {
	c.t.Helper()
	var payload io.Reader
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			c.t.Fatal(err)
		}
		payload = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(c.t.Context(), method, c.url+path, payload)
	if err != nil {
		c.t.Fatal(err)
	}
	c.requests++
	if path != "/api/realtime" { // a stream is of one address
		req.Header.Set(addressHeader, fmt.Sprintf("10.%d.%d.%d", c.requests>>16, c.requests>>8&255, c.requests&255))
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if method != http.MethodGet {
		c.wrote = true
		req.Header.Set("If-Match", "*")
	}
	if token := c.token[p.name]; token != "" {
		req.Header.Set("Authorization", token)
	}
	res, err := c.client.Do(req)
	if err != nil {
		c.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer res.Body.Close()
	a := asked{status: res.StatusCode}
	if a.body, err = io.ReadAll(res.Body); err != nil {
		c.t.Fatal(err)
	}
	if a.status >= 500 {
		c.report("%s %s %s: status %d", p.name, method, path, a.status)
	}
	if method == http.MethodGet {
		c.checkMarks(p, method+" "+path, a.body)
	}
	return a
}

func (c *census) checkMarks(p person, where string, text []byte) {
	for _, mark := range marksIn(text) {
		if !c.known[p.name][mark] {
			c.report("%s %s: shows %s", p.name, where, mark)
			return
		}
	}
}

func (c *census) report(format string, args ...any) {
	c.found = append(c.found, fmt.Sprintf(format, args...))
}
