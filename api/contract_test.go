package api_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// A contract is the served OpenAPI document as a checker: an answer has a
// declared status, a declared content type and a body that its schema accepts.
type contract struct {
	doc     map[string]any
	problem *jsonschema.Schema
	paths   []contractPath

	mu       sync.Mutex // guards the compiler and what it compiled
	compiler *jsonschema.Compiler
	compiled map[string]*jsonschema.Schema
}

// contracts keeps the checker of each document: every world serves the same one.
var contracts struct {
	sync.Mutex
	byText map[string]*contract
}

type contractPath struct {
	pattern *regexp.Regexp
	name    string
}

// documentURL names the document for the schema compiler.
const documentURL = "http://contract.test/openapi.json"

func readContract(t testing.TB, url string) *contract {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, url+"/openapi.json", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("read OpenAPI document: %v", err)
	}
	contracts.Lock()
	defer contracts.Unlock()
	if c := contracts.byText[string(text)]; c != nil {
		return c
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatalf("read OpenAPI document: %v", err)
	}
	c, err := newContract(doc.(map[string]any))
	if err != nil {
		t.Fatal(err)
	}
	contracts.byText = map[string]*contract{string(text): c}
	return c
}

func newContract(doc map[string]any) (*contract, error) {
	c := &contract{doc: doc, compiler: jsonschema.NewCompiler(), compiled: map[string]*jsonschema.Schema{}}
	c.compiler.DefaultDraft(jsonschema.Draft2020)
	c.compiler.AssertFormat()
	if err := c.compiler.AddResource(documentURL, doc); err != nil {
		return nil, err
	}
	var err error
	if c.problem, err = c.schema("#/components/schemas/Problem"); err != nil {
		return nil, err
	}
	for name := range doc["paths"].(map[string]any) {
		pattern := regexp.MustCompile(`\{[a-z_]+\}`).ReplaceAllString(regexp.QuoteMeta(name), "")
		pattern = regexp.MustCompile(`\\\{[a-z_]+\\\}`).ReplaceAllString(pattern, `[^/]+`)
		c.paths = append(c.paths, contractPath{regexp.MustCompile("^" + pattern + "/?$"), name})
	}
	return c, nil
}

// schema compiles the schema at a place in the document.
func (c *contract) schema(at string) (*jsonschema.Schema, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.compiled[at]; s != nil {
		return s, nil
	}
	s, err := c.compiler.Compile(documentURL + at)
	c.compiled[at] = s
	return s, err
}

// operation finds the most literal path that matches.
func (c *contract) operation(method, path string) (name string, op map[string]any) {
	for _, p := range c.paths {
		item := c.doc["paths"].(map[string]any)[p.name].(map[string]any)
		found, ok := item[strings.ToLower(method)].(map[string]any)
		if ok && p.pattern.MatchString(path) && (op == nil || strings.Count(p.name, "{") < strings.Count(name, "{")) {
			name, op = p.name, found
		}
	}
	return name, op
}

func (c *contract) check(method, path string, status int, header http.Header, body []byte) error {
	kind, _, _ := mime.ParseMediaType(header.Get("Content-Type"))
	if method == http.MethodHead {
		return nil
	}
	name, op := c.operation(method, path)
	if op == nil {
		if status < 400 || strings.HasPrefix(path, "/health") {
			return nil // not an operation of the document
		}
		return c.checkProblem(status, kind, body)
	}
	responses := op["responses"].(map[string]any)
	response, ok := responses[strconv.Itoa(status)].(map[string]any)
	if !ok {
		return fmt.Errorf("status %d is not declared", status)
	}
	content, _ := response["content"].(map[string]any)
	if len(content) == 0 {
		if len(body) != 0 {
			return fmt.Errorf("status %d has a body of %d bytes, none is declared", status, len(body))
		}
		return nil
	}
	media, ok := content[kind].(map[string]any)
	if !ok {
		return fmt.Errorf("status %d: content type %q is not declared", status, kind)
	}
	if status >= 400 && kind == "application/problem+json" {
		return c.checkProblem(status, kind, body)
	}
	if kind != "application/json" || media["schema"] == nil {
		return nil
	}
	escape := strings.NewReplacer("~", "~0", "/", "~1", "{", "%7B", "}", "%7D")
	schema, err := c.schema("#/paths/" + escape.Replace(name) + "/" + strings.ToLower(method) +
		"/responses/" + strconv.Itoa(status) + "/content/" + escape.Replace(kind) + "/schema")
	if err != nil {
		return fmt.Errorf("compile schema: %w", err)
	}
	return accept(schema, body)
}

// checkProblem holds an error to the one shape.
func (c *contract) checkProblem(status int, kind string, body []byte) error {
	if kind != "application/problem+json" {
		return fmt.Errorf("an error of content type %q", kind)
	}
	if err := accept(c.problem, body); err != nil {
		return err
	}
	var p struct {
		Status                              int
		Detail, Message, ErrorCode, Transid string
		TransactionID                       string `json:"transaction_id"`
		Code                                string `json:"error_code"`
	}
	if err := json.Unmarshal(body, &p); err != nil {
		return err
	}
	if p.Status != status || p.Code != "FIRE-"+strconv.Itoa(status) || p.Detail == "" || p.Detail != p.Message || p.TransactionID == "" {
		return fmt.Errorf("problem does not agree with itself or status %d", status)
	}
	if leak := leakPattern.Find(body); leak != nil {
		return fmt.Errorf("problem tells about the inside: %q", leak)
	}
	return nil
}

// leakPattern is what no answer may hold: SQL, Go types, stacks, paths.
var leakPattern = regexp.MustCompile(`(?i)SQL logic|constraint failed|select \*|goroutine |\.go:\d|sqlite|/pb_data|/tmp/|panic|\*core\.|unmarshal`)

func accept(schema *jsonschema.Schema, body []byte) error {
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("body is not JSON: %w", err)
	}
	return schema.Validate(value)
}

// The checker itself is checked: each of these answers is wrong in one way.
func TestContractCheckerCatches(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	good := w.do(request{method: "GET", path: "/v1/users/me", as: "manager"}).want(200)
	header := http.Header{"Content-Type": {"application/json"}}
	if err := w.spec.check("GET", "/v1/users/me", 200, header, good.body); err != nil {
		t.Fatalf("a good answer: %v", err)
	}
	problem := w.do(request{method: "GET", path: "/v1/users/me"}).want(401).body
	problemHeader := http.Header{"Content-Type": {"application/problem+json"}}
	for name, row := range map[string]struct {
		status int
		header http.Header
		body   string
	}{
		"undeclared status":       {418, problemHeader, string(problem)},
		"undeclared content type": {200, http.Header{"Content-Type": {"text/html"}}, string(good.body)},
		"missing member":          {200, header, `{"id":"x"}`},
		"unknown member":          {200, header, strings.Replace(string(good.body), `{`, `{"more":1,`, 1)},
		"wrong type":              {200, header, regexp.MustCompile(`"is_active":true`).ReplaceAllString(string(good.body), `"is_active":"yes"`)},
		"wrong format":            {200, header, regexp.MustCompile(`"created_at":"[^"]*"`).ReplaceAllString(string(good.body), `"created_at":"yesterday"`)},
		"error as JSON":           {401, header, string(problem)},
		"error of another status": {403, problemHeader, string(problem)},
		"error with SQL":          {401, problemHeader, strings.Replace(string(problem), "A valid", "SQL logic error: a valid", 2)},
	} {
		if row.body == string(good.body) && row.status == 200 && row.header.Get("Content-Type") == "application/json" {
			t.Errorf("%s: the row changes nothing", name)
		}
		if err := w.spec.check("GET", "/v1/users/me", row.status, row.header, []byte(row.body)); err == nil {
			t.Errorf("%s: not caught", name)
		}
	}
}
