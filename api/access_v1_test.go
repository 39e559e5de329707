//go:build !race

package api_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"firemode/collections"

	"github.com/pocketbase/pocketbase/core"
)

// The operations of /v1, every one of the OpenAPI document. One without a row
// here is a finding.

// noID is an id that no record has.
const noID = "01999999-9999-7999-8999-999999999999"

// v1Lists are the lists of a collection's records.
var v1Lists = map[string]string{
	"/v1/buildings": collections.Buildings, "/v1/tests/sessions": collections.TestSessions, "/v1/users/me/audits": collections.AuditLog,
}

// v1Records are the beginnings of operations on one record, by its id.
var v1Records = []struct{ path, collection string }{
	{"/v1/evidence/session/{id}", collections.TestSessions}, {"/v1/evidence/{id}", collections.Evidence},
	{"/v1/buildings/{id}", collections.Buildings}, {"/v1/tests/sessions/{id}", collections.TestSessions},
}

// v1Bodies are valid bodies of operations that change one record.
var v1Bodies = map[string]any{
	"PATCH /v1/buildings/{id}":                       map[string]any{"name": "changed"},
	"PUT /v1/buildings/{id}":                         map[string]any{"name": "changed", "address": "x", "building_type": "5"},
	"DELETE /v1/buildings/{id}":                      nil,
	"PATCH /v1/evidence/{id}/flag":                   map[string]any{"flag_reason": "x"},
	"POST /v1/tests/sessions/{id}/conflicts/resolve": map[string]any{"path": "items/A/result", "value": "pass", "seen": []string{"kq3v7m2p5xwa.1"}, "reason": "x"},
	"POST /v1/tests/sessions/{id}/review":            map[string]any{},
	"POST /v1/tests/sessions/{id}/reopen":            map[string]any{},
	"POST /v1/tests/sessions/{id}/lock":              map[string]any{},
	"POST /v1/tests/sessions/{id}/quarantine/admit":  map[string]any{"dots": []string{"kq3v7m2p5xwa.1"}, "reason": "x"},
	"POST /v1/tests/sessions/{id}/redactions":        map[string]any{"dots": []string{"kq3v7m2p5xwa.1"}, "reason": "x"},
	"POST /v1/tests/sessions/{id}/results":           map[string]any{"changes": []any{set("/items/A/result", "pass")}, "idempotency_key": "matrix-0001"},
	"POST /v1/tests/sessions/{id}/sign":              map[string]any{"server_seq": 0, "digest": strings.Repeat("0", 64), "statement": "x"},
}

// v1Elsewhere says why an operation is not asked here.
var v1Elsewhere = map[string]string{
	"POST /v1/auth/login":                  "for everybody; TestLogin in auth_test.go",
	"POST /v1/auth/logout":                 "one's own token only",
	"POST /v1/auth/refresh":                "one's own token only",
	"GET /v1/auth/revocations":             "no collection that a rule opens; auth_test.go",
	"POST /v1/auth/revoke":                 "no collection that a rule opens; auth_test.go and tenancy_test.go",
	"GET /v1/users/me":                     "one's own account only",
	"POST /v1/users/search":                "asks with a number in the body; users_test.go",
	"GET /v1/mirror/status":                "no record",
	"GET /v1/conflicts":                    "rows of a plain table; conflicts_test.go",
	"GET /v1/tests/actors":                 "rows of a plain table; actors_test.go",
	"POST /v1/tests/actors":                "one's own device only",
	"POST /v1/tests/actors/{actor}/revoke": "rows of a plain table; actors_test.go",
	"POST /v1/buildings":                   "tenancy_test.go and buildings_test.go",
	"POST /v1/tests/sessions":              "names its building in the body; sessions_test.go",
	"POST /v1/evidence":                    "names its session in the form; evidence_test.go",
	"POST /v1/evidence/submit":             "names its session in the form; evidence_test.go",
	"POST /v1/tests/sessions/{id}/sync":    "takes what was recorded while a right lasted; quarantine_test.go",
}

// v1Of returns the collection that an operation is about.
func v1Of(path string) string {
	if name := v1Lists[path]; name != "" {
		return name
	}
	for _, r := range v1Records {
		if strings.HasPrefix(path, r.path) {
			return r.collection
		}
	}
	return ""
}

// checkOperations reports operations that no row here is about, and rows without
// an operation. An export, of which there is none, would show up here.
func (c *census) checkOperations(served []string) {
	rows := map[string]bool{}
	for op := range v1Elsewhere {
		rows[op] = true
	}
	for op := range v1Bodies {
		rows[op] = true
	}
	for _, op := range served {
		method, path, _ := strings.Cut(op, " ")
		if !rows[op] && (method != http.MethodGet || v1Of(path) == "") {
			c.report("operation %s has no row in this test", op)
		}
		delete(rows, op)
	}
	for op := range rows {
		c.report("row %s: no such operation", op)
	}
}

// operations are those of the served document, as "METHOD /path".
func (c *census) operations() (out []string) {
	for path, item := range c.spec.doc["paths"].(map[string]any) {
		for method := range item.(map[string]any) {
			if strings.HasPrefix(path, "/v1/") {
				out = append(out, strings.ToUpper(method)+" "+path)
			}
		}
	}
	slices.Sort(out)
	return out
}

// nothing is the answer to an operation on an id that does not exist. People of a
// role get the same.
func (c *census) nothing(p person, op string, body any) asked {
	who := p.name
	if p.active() {
		who = p.record.GetString(collections.FieldRole)
	}
	if c.nothings == nil {
		c.nothings = map[string]asked{}
	}
	key := who + " " + op
	if _, ok := c.nothings[key]; !ok {
		method, path, _ := strings.Cut(op, " ")
		c.nothings[key] = c.ask(p, method, strings.Replace(path, "{id}", noID, 1), body)
	}
	return c.nothings[key]
}

// checkV1 asks every operation about a collection. Hidden records answer like
// ids that do not exist.
func (c *census) checkV1(p person, collection *core.Collection) {
	for _, op := range c.operations() {
		method, path, _ := strings.Cut(op, " ")
		if v1Of(path) != collection.Name || v1Elsewhere[op] != "" {
			continue
		}
		if belowRecord(path) && v1Lists[path] == "" && !slices.Contains(append(collections.Roles(), "stranger"), p.name) {
			continue // what lies below a record is asked by each role and from outside
		}
		if v1Lists[path] != "" {
			c.checkV1List(p, collection.Name, path)
			continue
		}
		if method != http.MethodGet {
			c.checkV1Change(p, collection.Name, op)
			continue
		}
		nothing := c.nothing(p, op, nil).status
		for _, r := range c.gone(p, collection.Name, path) {
			if got := c.ask(p, method, strings.Replace(path, "{id}", r.Id, 1), nil).status; got != nothing || got/100 != 4 {
				c.report("%s %s of hidden %s: got %d, and %d for an id that does not exist", p.name, op, r.Id, got, nothing)
			}
		}
		for _, r := range c.visible(p, collection.Name)[:min(1, len(c.visible(p, collection.Name)))] {
			if got := c.ask(p, method, strings.Replace(path, "{id}", r.Id, 1), nil).status; got == http.StatusNotFound {
				c.report("%s %s of %s: got %d, want it shown", p.name, op, r.Id, got)
			}
		}
	}
}

// gone are hidden records: the oldest, the newest, and one that is deleted. For
// what lies below a record, and for whoever is turned away at the door, one is enough.
func (c *census) gone(p person, collection, path string) []*core.Record {
	hidden := c.hidden(p, collection)
	if !p.active() || belowRecord(path) {
		return hidden[len(hidden)-1:]
	}
	out := ends(hidden)
	for _, r := range hidden {
		if r.GetString(collections.FieldDeletedAt) != "" {
			return append(slices.Clone(out), r)
		}
	}
	return out
}

// belowRecord says whether an operation is about something of a record.
func belowRecord(path string) bool { return !strings.HasSuffix(path, "{id}") }

func (c *census) checkV1List(p person, collection, path string) {
	a := c.ask(p, http.MethodGet, path+"?limit=100", nil)
	var page struct{ Data []shownRecord }
	if a.status == http.StatusOK {
		if err := json.Unmarshal(a.body, &page); err != nil {
			c.t.Fatal(err)
		}
	}
	var got []string
	for _, item := range page.Data {
		got = append(got, item.text("id"))
	}
	slices.Sort(got)
	if want := ids(c.visible(p, collection)); !slices.Equal(got, want) {
		c.report("%s GET %s: got %d with %d records, want %d", p.name, path, a.status, len(got), len(want))
	}
}

func (c *census) checkV1Change(p person, collection, op string) {
	body := v1Bodies[op]
	method, path, _ := strings.Cut(op, " ")
	nothing := c.nothing(p, op, body)
	if p.active() && nothing.status != http.StatusNotFound && nothing.status != http.StatusForbidden {
		c.report("%s %s of an id that does not exist: got %d %s, want 404: the body is not what the operation takes", p.name, op, nothing.status, nothing.body)
	}
	for _, r := range c.gone(p, collection, path) {
		if got := c.ask(p, method, strings.Replace(path, "{id}", r.Id, 1), body); got.status != nothing.status || got.status/100 != 4 {
			c.report("%s %s of hidden %s: got %d, and %d for an id that does not exist", p.name, op, r.Id, got.status, nothing.status)
		}
	}
}
