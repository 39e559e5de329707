package hooks

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"testing"
	"time"

	"firemode/collections"
	"firemode/internal/testapp"

	"github.com/pocketbase/dbx"
	"github.com/pocketbase/pocketbase/core"
	"github.com/pocketbase/pocketbase/tests"
	"github.com/pocketbase/pocketbase/tools/router"
)

// cheap costs next to nothing: 8 KiB, one pass.
var cheap = HasherConfig{Time: 1, MemoryKiB: 8, Parallelism: 1, MaxMemoryKiB: 1024, MaxWait: 20 * time.Second}

const (
	rightPassword = "correct horse battery"
	testSecret    = "0123456789abcdef0123456789abcdef"
	// deadline is how long a test waits for what must happen.
	deadline = 10 * time.Second
)

// site is a running server with every hook, and what the tests know about it.
type site struct {
	t      *testing.T
	app    *tests.TestApp
	hasher *Hasher
	tokens *Tokens
	url    string
	client *http.Client
	org    *core.Record
	router *router.Router[*core.RequestEvent]
	// without names an OnServe hook that the test leaves out, as a control.
	without string
}

func newSite(t *testing.T, before ...func(*site)) *site {
	t.Helper()
	s := &site{
		t: t, hasher: NewHasher(cheap),
		tokens: NewTokens(TokensConfig{Secret: []byte(testSecret), TTL: 15 * time.Minute}),
	}
	for _, f := range before {
		f(s)
	}
	s.app = testapp.New(t, func(app core.App) {
		Register(app, Deps{Hasher: s.hasher, Tokens: s.tokens})
		if s.without != "" {
			app.OnServe().Unbind(s.without)
		}
		app.OnServe().BindFunc(func(se *core.ServeEvent) error {
			s.router = se.Router
			return se.Next()
		})
	})
	if err := s.tokens.ApplySecret(s.app); err != nil {
		t.Fatal(err)
	}
	s.url = testapp.Serve(t, s.app)
	transport := &http.Transport{MaxIdleConnsPerHost: 16}
	s.client = &http.Client{Transport: transport, Timeout: deadline}
	t.Cleanup(transport.CloseIdleConnections)
	s.org = organisation(t, s.app)
	return s
}

func (s *site) user(username, role string) *core.Record {
	s.t.Helper()
	return s.userOf(username, role, s.org)
}

func (s *site) userOf(username, role string, org *core.Record) *core.Record {
	s.t.Helper()
	return save(s.t, s.app, collections.Users, map[string]any{
		"username": username, "email": username + "@example.com", "password": rightPassword, "role": role,
		"organisation_id": org.Id, "is_active": true, "full_name": "Name of " + username,
	})
}

func (s *site) superuser(name, role string) *core.Record {
	s.t.Helper()
	return save(s.t, s.app, collections.Superusers, map[string]any{"email": name + "@example.com", "password": rightPassword, "role": role})
}

func (s *site) building(name string) *core.Record {
	s.t.Helper()
	return save(s.t, s.app, collections.Buildings, map[string]any{
		"name": name, "address": "1 Quay St", "building_type": "5", "organisation_id": s.org.Id,
		"contact_name": "Ada of " + name, "contact_phone": "+61 400 000 777", "contact_email": "ada@harbour.example",
	})
}

func (s *site) find(collection, id string) *core.Record {
	s.t.Helper()
	r, err := s.app.FindRecordById(collection, id)
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

type answer map[string]any

func (a answer) text(name string) string {
	v, _ := a[name].(string)
	return v
}

// send makes one request. body is nil, an http form (*form) or JSON.
func (s *site) send(method, path, token string, body any) (*http.Response, answer) {
	s.t.Helper()
	var reader io.Reader
	contentType := ""
	switch b := body.(type) {
	case nil:
	case *form:
		reader, contentType = &b.body, b.contentType
	default:
		raw, err := json.Marshal(b)
		if err != nil {
			s.t.Fatal(err)
		}
		reader, contentType = bytes.NewReader(raw), "application/json"
	}
	req, err := http.NewRequest(method, s.url+path, reader)
	if err != nil {
		s.t.Fatal(err)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	if token != "" {
		req.Header.Set("Authorization", token)
	}
	res, err := s.client.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	out := answer{}
	if json.Unmarshal(raw, &out) != nil {
		out["raw"] = string(raw)
	}
	return res, out
}

// must sends a request and fails the test on any status but want.
func (s *site) must(want int, method, path, token string, body any) answer {
	s.t.Helper()
	res, out := s.send(method, path, token, body)
	if res.StatusCode != want {
		s.t.Fatalf("%s %s: got %d %v, want %d", method, path, res.StatusCode, out, want)
	}
	return out
}

func (s *site) login(collection, identity, password string) string {
	s.t.Helper()
	return s.must(200, "POST", "/api/collections/"+collection+"/auth-with-password", "", answer{"identity": identity, "password": password}).text("token")
}

func (s *site) cannotLogin(collection, identity, password string) {
	s.t.Helper()
	s.must(400, "POST", "/api/collections/"+collection+"/auth-with-password", "", answer{"identity": identity, "password": password})
}

// column reads one stored value, past every hook.
func (s *site) column(table, column, id string) string {
	s.t.Helper()
	var v string
	if err := s.app.DB().Select(column).From(table).Where(dbx.HashExp{"id": id}).Row(&v); err != nil {
		s.t.Fatal(err)
	}
	return v
}

func (s *site) exec(sql string, params dbx.Params) {
	s.t.Helper()
	if _, err := s.app.NonconcurrentDB().NewQuery(sql).Bind(params).Execute(); err != nil {
		s.t.Fatal(err)
	}
}

// form is a multipart body.
type form struct {
	body        bytes.Buffer
	contentType string
}

func newForm(t *testing.T, fields map[string]string, file, name string, content []byte) *form {
	t.Helper()
	f := &form{}
	w := multipart.NewWriter(&f.body)
	for k, v := range fields {
		if err := w.WriteField(k, v); err != nil {
			t.Fatal(err)
		}
	}
	if file != "" {
		part, err := w.CreateFormFile(file, name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := part.Write(content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	f.contentType = w.FormDataContentType()
	return f
}

// eventually waits until ok holds, and fails the test at the deadline.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for !ok() {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			t.Fatalf("%s did not happen within %s", what, deadline)
		}
	}
}

func records(collection string, parts ...any) string {
	path := "/api/collections/" + collection + "/records"
	for _, p := range parts {
		path += fmt.Sprintf("/%v", p)
	}
	return path
}
