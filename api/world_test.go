package api_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"mime/multipart"
	"net/http"
	"strings"
	"testing"
	"time"

	"firemode/api"
	"firemode/collections"
	"firemode/hooks"
	"firemode/internal/testapp"
	"firemode/merge"

	"github.com/pocketbase/pocketbase/core"
	"github.com/pocketbase/pocketbase/tests"
	"github.com/pocketbase/pocketbase/tools/hook"
)

// A world is a served app with two organisations: ours with people of every
// role and one building, theirs with a manager and a building.
type world struct {
	t     testing.TB
	app   *tests.TestApp
	url   string
	spec  *contract
	deps  api.Deps
	token map[string]string // by the name of a person

	building, session   string // ours
	theirs, theirsessio string // of the other organisation
}

func newWorld(t testing.TB, change ...func(*api.Deps)) *world {
	t.Helper()
	w := &world{t: t, token: map[string]string{}}
	w.deps = api.Deps{
		Hasher:  hooks.NewHasher(hooks.HasherConfig{Time: 1, MemoryKiB: 64, Parallelism: 1}),
		Tokens:  hooks.NewTokens(hooks.TokensConfig{Secret: []byte("a root secret for tests of 32 bytes and more"), TTL: 15 * time.Minute}),
		Version: "1.2.3", Metrics: api.NewMetrics(), DiskFloorBytes: 1,
	}
	w.app = testapp.New(t, func(app core.App) { hooks.Register(app, hooks.Deps{Hasher: w.deps.Hasher, Tokens: w.deps.Tokens}) }, merge.Register)
	if err := w.deps.Tokens.ApplySecret(w.app); err != nil {
		t.Fatal(err)
	}
	w.deps.Merge = merge.New(w.app, merge.Config{})
	if err := w.deps.Merge.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.deps.Merge.Stop)
	for _, f := range change {
		f(&w.deps)
	}
	w.app.OnServe().Bind(&hook.Handler[*core.ServeEvent]{Func: func(se *core.ServeEvent) error {
		if err := api.Bind(se, w.deps); err != nil {
			return err
		}
		return se.Next()
	}})
	w.url = testapp.Serve(t, w.app)
	w.spec = readContract(t, w.url)

	ours := w.save(collections.Organisations, map[string]any{"name": "Assured", "kind": "contractor"}).Id
	others := w.save(collections.Organisations, map[string]any{"name": "Brigade", "kind": "contractor"}).Id
	people := map[string]string{
		"manager": ours, "officer": ours, "inspector": ours, "owner": ours, "auditor": ours, "client": ours, "stranger": others,
	}
	ids := map[string]string{}
	for name, organisation := range people {
		role := name
		if name == "stranger" {
			role = collections.RoleManager
		}
		ids[name] = w.person(name, role, organisation)
	}
	w.building = w.save(collections.Buildings, map[string]any{
		"name": "Harbour Tower", "address": "1 Quay St", "building_type": "5", "organisation_id": ours, "owner_id": ids["owner"],
		"compliance_status": "pending", "contact_name": "Ada Warden", "contact_phone": "0400 000 000",
	}).Id
	w.theirs = w.save(collections.Buildings, map[string]any{
		"name": "Mill", "address": "2 Water Rd", "building_type": "6", "organisation_id": others, "compliance_status": "compliant",
	}).Id
	for _, name := range []string{"inspector", "auditor", "client"} {
		w.save(collections.BuildingGrants, map[string]any{"building_id": w.building, "user_id": ids[name], "starts_at": "2020-01-01 00:00:00.000Z"})
	}
	w.session = w.save(collections.TestSessions, map[string]any{"building_id": w.building, "session_name": "Annual", "status": "active"}).Id
	w.theirsessio = w.save(collections.TestSessions, map[string]any{"building_id": w.theirs, "session_name": "Theirs", "status": "active"}).Id
	return w
}

func (w *world) save(name string, values map[string]any) *core.Record {
	w.t.Helper()
	c, err := w.app.FindCollectionByNameOrId(name)
	if err != nil {
		w.t.Fatal(err)
	}
	r := core.NewRecord(c)
	r.Load(values)
	if err := w.app.Save(r); err != nil {
		w.t.Fatalf("save %s: %v", name, err)
	}
	return r
}

// person makes a user and a token.
func (w *world) person(name, role, organisation string) string {
	w.t.Helper()
	c, err := w.app.FindCollectionByNameOrId(collections.Users)
	if err != nil {
		w.t.Fatal(err)
	}
	r := core.NewRecord(c)
	r.Load(map[string]any{
		"username": name, "email": name + "@example.test", "role": role, "organisation_id": organisation, "is_active": true, "verified": true,
	})
	r.SetPassword(passwordOf(name))
	if err := w.app.Save(r); err != nil {
		w.t.Fatalf("save user %s: %v", name, err)
	}
	w.token[name] = w.issue(r)
	return r.Id
}

func passwordOf(name string) string { return "correct horse " + name }

func (w *world) issue(r *core.Record) string {
	w.t.Helper()
	token, _, err := w.deps.Tokens.Issue(w.app, r, 0)
	if err != nil {
		w.t.Fatal(err)
	}
	return token
}

// superuser makes a superuser of a role and returns a token.
func (w *world) superuser(role string) string {
	w.t.Helper()
	c, err := w.app.FindCollectionByNameOrId(collections.Superusers)
	if err != nil {
		w.t.Fatal(err)
	}
	r := core.NewRecord(c)
	r.SetEmail(role + "@example.test")
	r.SetPassword(passwordOf(role))
	r.Set(collections.FieldRole, role)
	if err := w.app.Save(r); err != nil {
		w.t.Fatal(err)
	}
	return w.issue(r)
}

// A request is what a test sends. Body may be nil, []byte, string or anything
// that marshals.
type request struct {
	method, path string
	as           string // name of a person; "" is a guest
	token        string // instead of as
	body         any
	header       map[string]string
}

// An answer is what came back, checked against the contract.
type answer struct {
	t      testing.TB
	status int
	header http.Header
	body   []byte
}

func (w *world) do(r request) answer {
	w.t.Helper()
	return w.send(r, nil)
}

// send is do with a body of its own.
func (w *world) send(r request, body io.Reader) answer {
	w.t.Helper()
	kind := "application/json"
	if body == nil {
		switch b := r.body.(type) {
		case nil:
			kind = ""
		case []byte:
			body = bytes.NewReader(b)
		case string:
			body = strings.NewReader(b)
		default:
			raw, err := json.Marshal(b)
			if err != nil {
				w.t.Fatal(err)
			}
			body = bytes.NewReader(raw)
		}
	}
	req, err := http.NewRequest(r.method, w.url+r.path, body)
	if err != nil {
		w.t.Fatal(err)
	}
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	if token := w.token[r.as]; token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	if r.token != "" {
		req.Header.Set("Authorization", "Bearer "+r.token)
	}
	for name, value := range r.header {
		req.Header.Set(name, value)
	}
	client := http.Client{Timeout: 20 * time.Second, Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := client.Do(req)
	if err != nil {
		w.t.Fatalf("%s %s: %v", r.method, r.path, err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		w.t.Fatalf("%s %s: read answer: %v", r.method, r.path, err)
	}
	a := answer{t: w.t, status: res.StatusCode, header: res.Header, body: raw}
	if err := w.spec.check(r.method, req.URL.Path, res.StatusCode, res.Header, raw); err != nil {
		w.t.Errorf("%s %s answered against its contract: %v\n%s", r.method, r.path, err, clip(raw))
	}
	return a
}

// transport keeps no idle connection, so that none outlives its server.
var transport = &http.Transport{DisableKeepAlives: true}

func clip(raw []byte) string {
	if len(raw) > 2000 {
		return string(raw[:2000]) + "…"
	}
	return string(raw)
}

// want fails unless the answer has the status.
func (a answer) want(status int) answer {
	a.t.Helper()
	if a.status != status {
		a.t.Fatalf("status: got %d, want %d\n%s", a.status, status, clip(a.body))
	}
	return a
}

// refused checks that the answer is a problem with this code.
func (a answer) refused(code string) {
	a.t.Helper()
	if got := a.member("error_code"); got != code || a.header.Get("Content-Type") != "application/problem+json" {
		a.t.Errorf("error_code: got %v as %s, want %s", got, a.header.Get("Content-Type"), code)
	}
}

// member reads a top-level member of a JSON answer.
func (a answer) member(name string) any {
	a.t.Helper()
	var m map[string]any
	if err := json.Unmarshal(a.body, &m); err != nil {
		a.t.Fatalf("read answer: %v\n%s", err, clip(a.body))
	}
	return m[name]
}

func (a answer) text(name string) string {
	a.t.Helper()
	s, ok := a.member(name).(string)
	if !ok {
		a.t.Fatalf("%s: got %v, want a string\n%s", name, a.member(name), clip(a.body))
	}
	return s
}

// items reads the data of a page.
func (a answer) items() []map[string]any {
	a.t.Helper()
	var p struct{ Data []map[string]any }
	if err := json.Unmarshal(a.body, &p); err != nil {
		a.t.Fatal(err)
	}
	return p.Data
}

// pointers reads the pointers of a problem.
func (a answer) pointers() (out []string) {
	a.t.Helper()
	var p struct{ Errors []struct{ Pointer string } }
	if err := json.Unmarshal(a.body, &p); err != nil {
		a.t.Fatal(err)
	}
	for _, e := range p.Errors {
		out = append(out, e.Pointer)
	}
	return out
}

// form builds a multipart body in the order of parts: name, value, name, value.
// The part called file gets the file's bytes.
func form(parts ...string) (body *bytes.Buffer, contentType string) {
	body = new(bytes.Buffer)
	m := multipart.NewWriter(body)
	for i := 0; i < len(parts); i += 2 {
		var (
			part io.Writer
			err  error
		)
		if parts[i] == "file" {
			part, err = m.CreateFormFile("file", "picture.bin")
		} else {
			part, err = m.CreateFormField(parts[i])
		}
		if err != nil {
			panic(err)
		}
		_, _ = io.WriteString(part, parts[i+1])
	}
	_ = m.Close()
	return body, m.FormDataContentType()
}

func sum(content string) string {
	s := sha256.Sum256([]byte(content))
	return hex.EncodeToString(s[:])
}
