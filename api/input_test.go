package api_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"firemode/collections"

	"github.com/pocketbase/dbx"
)

// bad is input that is wrong in itself, whatever operation gets it.
var bad = map[string]struct {
	body   string
	status []int
}{
	"empty":             {"", []int{400}},
	"not JSON":          {"hello", []int{400}},
	"cut":               {`{"a":`, []int{400}},
	"two values":        {`{} {}`, []int{400}},
	"a member twice":    {`{"a":1,"a":2}`, []int{400}},
	"a list":            {`[]`, []int{422}},
	"a number":          {`1`, []int{422}},
	"null":              {`null`, []int{422, 400}},
	"unknown member":    {`{"no_such_member":true}`, []int{422}},
	"NUL":               {`{"name":"a\u0000b"}`, []int{422}},
	"raw NUL":           {"{\"name\":\"a\x00b\"}", []int{400}},
	"lone surrogate":    {`{"name":"\ud800"}`, []int{422}},
	"swapped pair":      {`{"name":"\udc00\ud800"}`, []int{422}},
	"invalid UTF-8":     {"{\"name\":\"\xff\"}", []int{422}},
	"deep":              {strings.Repeat(`{"a":`, 1000) + "1" + strings.Repeat("}", 1000), []int{422}},
	"deep list":         {strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000), []int{422}},
	"number too large":  {`{"name":1e999}`, []int{422}},
	"control character": {"{\"name\":\"a\nb\"}", []int{400}},
	"bad escape":        {`{"name":"\x"}`, []int{400}},
	"10 MB":             {`{"name":"` + strings.Repeat("x", 10<<20) + `"}`, []int{413}},
}

// Every operation of the document gets every kind of bad input. None may answer
// 500, nothing may change, and every answer has the one shape (do checks that).
func TestEveryOperationRefusesBadInput(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	evidence := w.foreignEvidence()
	before := w.rows()
	paths := w.spec.doc["paths"].(map[string]any)
	if len(paths) < 20 {
		t.Fatalf("the document has %d paths; the table would prove little", len(paths))
	}
	ids := map[string]string{
		"unknown": "01930b5e-7a00-7000-8000-00000000dead", "no id": "x", "NUL": "%00", "dots": "..%2f..%2fetc", "not UTF-8": "%ff",
		"quote": "'%20OR%201=1", "long": strings.Repeat("a", 60),
	}
	tried := 0
	for _, path := range slices.Sorted(maps.Keys(paths)) {
		for method, raw := range paths[path].(map[string]any) {
			method = strings.ToUpper(method)
			op := raw.(map[string]any)
			header := map[string]string{"Idempotency-Key": "bad-" + method, "If-Match": "*"}
			as := "manager"
			concrete := strings.NewReplacer("{id}", w.session, "{code}", "X").Replace(path)
			if strings.Contains(path, "/buildings") {
				concrete = strings.ReplaceAll(path, "{id}", w.building)
			}
			for what, id := range ids {
				if !strings.Contains(path, "{id}") {
					break
				}
				a := w.do(request{method: method, path: strings.ReplaceAll(path, "{id}", id), as: as, body: bodyFor(op), header: header})
				if a.status >= 500 || a.status < 400 {
					t.Errorf("%s %s with id %s: got %d\n%s", method, path, what, a.status, clip(a.body))
				}
				tried++
			}
			// What belongs to another organisation is as unknown as what is not there.
			if method == http.MethodGet && strings.Contains(path, "{id}") {
				for _, foreign := range []string{w.theirs, w.theirsessio, evidence} {
					w.do(request{method: method, path: strings.ReplaceAll(path, "{id}", foreign) + mandatory(op), as: as}).want(404)
				}
			}
			if op["security"] != nil {
				w.do(request{method: method, path: concrete, body: bodyFor(op), header: header}).want(401)
				w.do(request{method: method, path: concrete, token: "forged." + w.token["manager"], body: bodyFor(op), header: header}).want(401)
			}
			if method == http.MethodGet {
				for _, query := range []string{"?limit=x", "?limit=-1", "?cursor=%00", "?q=%ff", "?unknown=1", "?status=%00", "?after=-1"} {
					if a := w.do(request{method: method, path: concrete + query, as: as}); a.status >= 500 {
						t.Errorf("GET %s%s: got %d\n%s", path, query, a.status, clip(a.body))
					}
					tried++
				}
				continue
			}
			if !takesJSON(op) {
				continue
			}
			for what, row := range bad {
				a := w.do(request{method: method, path: concrete, as: as, body: row.body, header: header})
				if !slices.Contains(row.status, a.status) {
					t.Errorf("%s %s, %s: got %d, want %v\n%s", method, path, what, a.status, row.status, clip(a.body))
				}
				if a.status == 422 && len(a.pointers()) == 0 {
					t.Errorf("%s %s, %s: 422 without a pointer\n%s", method, path, what, clip(a.body))
				}
				tried++
			}
			header["Content-Type"] = "text/xml"
			w.do(request{method: method, path: concrete, as: as, body: "<a/>", header: header}).want(415)
			header["Content-Type"], header["Content-Encoding"] = "application/json", "gzip"
			w.do(request{method: method, path: concrete, as: as, body: "{}", header: header}).want(415)
		}
	}
	if tried < 300 {
		t.Errorf("tried %d requests only", tried)
	}
	if after := w.rows(); !maps.Equal(before, after) {
		t.Errorf("bad input changed something: %v became %v", before, after)
	}
}

// rows counts what bad input could have made.
func (w *world) rows() map[string]int {
	w.t.Helper()
	out := map[string]int{}
	for _, table := range []string{"buildings", "test_sessions", "evidence", "idempotency_keys", "audit_log", "crdt_ops", "token_revocation_list"} {
		var n int
		if err := w.app.DB().NewQuery("SELECT count(*) FROM " + table).Row(&n); err != nil {
			w.t.Fatal(err)
		}
		out[table] = n
	}
	return out
}

// foreignEvidence is evidence of the other organisation's session.
func (w *world) foreignEvidence() string {
	w.t.Helper()
	content := pngOf(w.t, 77)
	return w.uploadForm("/v1/evidence", "stranger", "foreign-0001",
		"session_id", w.theirsessio, "evidence_type", "photo", "sha256_hash", sum(content), "file", content).want(201).text("evidence_id")
}

// mandatory is a query with the parameters that an operation insists on.
func mandatory(op map[string]any) string {
	list, _ := op["parameters"].([]any)
	for _, raw := range list {
		p := raw.(map[string]any)
		if p["in"] == "query" && p["required"] == true {
			return "?" + p["name"].(string) + "=a"
		}
	}
	return ""
}

func takesJSON(op map[string]any) bool {
	b, ok := op["requestBody"].(map[string]any)
	return ok && b["content"].(map[string]any)["application/json"] != nil
}

// bodyFor is an empty object where JSON is taken.
func bodyFor(op map[string]any) any {
	if takesJSON(op) {
		return "{}"
	}
	return nil
}

// Wrong types for every member of every JSON body: 422 with a pointer to it.
func TestEveryMemberRefusesWrongTypes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for path, item := range w.spec.doc["paths"].(map[string]any) {
		for method, raw := range item.(map[string]any) {
			op := raw.(map[string]any)
			if !takesJSON(op) {
				continue
			}
			for name := range w.spec.members(op) {
				if name == "value" {
					continue // that of a result: any JSON is one
				}
				value := any(map[string]any{"wrong": []int{1}})
				if name == "metadata" || name == "vector_clock" {
					value = 7
				}
				raw, _ := json.Marshal(map[string]any{name: value})
				a := w.do(request{
					method: strings.ToUpper(method), path: strings.ReplaceAll(path, "{id}", w.session), as: "manager", body: raw,
					header: map[string]string{"Idempotency-Key": "type-" + name, "If-Match": "*"},
				})
				if a.status != 422 || !slices.ContainsFunc(a.pointers(), func(p string) bool { return strings.HasPrefix(p, "/"+name) }) {
					t.Errorf("%s %s, %s: got %d %v, want 422 with /%s", method, path, name, a.status, a.pointers(), name)
				}
			}
		}
	}
}

// members lists the members of an operation's JSON body.
func (c *contract) members(op map[string]any) map[string]any {
	schema := op["requestBody"].(map[string]any)["content"].(map[string]any)["application/json"].(map[string]any)["schema"].(map[string]any)
	if ref, ok := schema["$ref"].(string); ok {
		schema = c.doc["components"].(map[string]any)["schemas"].(map[string]any)[strings.TrimPrefix(ref, "#/components/schemas/")].(map[string]any)
	}
	members, _ := schema["properties"].(map[string]any)
	return members
}

// The record API refuses what it would otherwise change in silence, and keeps what is fine.
func TestRecordAPIBodiesAreStrict(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := w.superuser(collections.RoleAdmin)
	send := func(path, body string) answer {
		return w.do(request{method: "POST", path: path, token: admin, body: body})
	}
	const organisations = "/api/collections/organisations/records"
	for name, row := range map[string]struct {
		body   string
		status int
	}{
		"a member twice":   {`{"name":"A","name":"B","kind":"contractor"}`, 400},
		"lone surrogate":   {`{"name":"\ud800","kind":"contractor"}`, 422},
		"invalid UTF-8":    {"{\"name\":\"x\xff\",\"kind\":\"contractor\"}", 422},
		"NUL":              {`{"name":"a\u0000b","kind":"contractor"}`, 422},
		"cut off":          {`{"name":"A"`, 400},
		"deep":             {strings.Repeat("[", 50) + strings.Repeat("]", 50), 422},
		"plain, and taken": {`{"name":"Ü 1","kind":"contractor"}`, 200},
	} {
		if a := send(organisations, row.body); a.status != row.status {
			t.Errorf("%s: got %d, want %d\n%s", name, a.status, row.status, a.body)
		}
		if row.status == 200 {
			continue
		}
		if a := send("/api/batch", `{"requests":[{"method":"POST","url":"`+organisations+`","body":`+row.body+`}]}`); a.status/100 != 4 {
			t.Errorf("%s, in a batch: got %d\n%s", name, a.status, a.body)
		}
	}
	if n, _ := w.app.CountRecords(collections.Organisations, dbx.Like("name", "Ü")); n != 1 {
		t.Errorf("organisations stored: got %d, want 1", n)
	}
}

// Reads have everything acknowledged, also where the record of a large document lags.
func TestLargeDocumentsAreReadUpToDate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	changes := make([]any, 900)
	for i := range changes {
		changes[i] = set(fmt.Sprintf("/items/FE-%04d/remark", i), "a remark of some length about this item")
	}
	w.results("inspector", "large-0001", map[string]any{"changes": changes}).want(200)
	for i := range 5 {
		seq := w.results("inspector", fmt.Sprint("large-a-", i), map[string]any{"changes": []any{set("/title", i)}}).want(200).member("server_seq")
		for _, read := range []string{"", "/offline-bundle"} {
			a := w.get("owner", read).want(200)
			got := a.member("server_seq")
			if read != "" {
				got = a.member("session").(map[string]any)["server_seq"]
			}
			if got != seq {
				t.Errorf("%s after %v: got position %v", read, seq, got)
			}
		}
	}
}
