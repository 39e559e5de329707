package api_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"firemode/api"
	"firemode/collections"
)

func (w *world) login(identity, password string) answer {
	w.t.Helper()
	return w.do(request{method: "POST", path: "/v1/auth/login", body: map[string]any{"identity": identity, "password": password}})
}

func TestLoginRefreshLogout(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, identity := range []string{"inspector", "inspector@example.test"} {
		a := w.login(identity, passwordOf("inspector")).want(200)
		if seconds := a.member("expires_in").(float64); a.text("token_type") != "Bearer" || seconds < 890 || seconds > 900 || a.member("user").(map[string]any)["role"] != "inspector" {
			t.Errorf("login: got %s", a.body)
		}
	}
	w.login("inspector", "wrong").want(401)
	w.login("nobody", "wrong").want(401)
	w.login("' OR 1=1 --", "x").want(401)
	w.login("", "x").want(422)
	w.login(strings.Repeat("x", 10_000), "x").want(422)

	token := w.login("inspector", passwordOf("inspector")).want(200).text("access_token")
	fresh := w.do(request{method: "POST", path: "/v1/auth/refresh", token: token}).want(200).text("access_token")
	w.do(request{method: "GET", path: "/v1/users/me", token: fresh}).want(200)
	w.do(request{method: "POST", path: "/v1/auth/logout", token: token}).want(200)
	w.do(request{method: "GET", path: "/v1/users/me", token: token}).want(401)
	w.do(request{method: "GET", path: "/v1/users/me", token: fresh}).want(200)
	if got := w.do(request{method: "GET", path: "/v1/auth/revocations", token: fresh}).want(200).items(); len(got) != 1 || got[0]["reason"] != "logout" {
		t.Errorf("revocations: got %v", got)
	}

	user, err := w.app.FindFirstRecordByData(collections.Users, "username", "inspector")
	if err != nil {
		t.Fatal(err)
	}
	fixed, _, err := w.deps.Tokens.Issue(w.app, user, 3600e9)
	if err != nil {
		t.Fatal(err)
	}
	w.do(request{method: "POST", path: "/v1/auth/refresh", token: fixed}).want(403)
	user.Set(collections.FieldIsActive, false)
	if err := w.app.Save(user); err != nil {
		t.Fatal(err)
	}
	w.login("inspector", passwordOf("inspector")).want(403)
	w.do(request{method: "GET", path: "/v1/users/me", token: fresh}).want(401)
}

func TestRevokeByRole(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := func(who string) string {
		return w.do(request{method: "GET", path: "/v1/users/me", as: who}).want(200).text("id")
	}
	inspector, stranger, officer := id("inspector"), id("stranger"), id("officer")
	admin := w.superuser("admin")
	w.token["su-auditor"] = w.superuser("auditor")
	revoke := func(as string, body map[string]any) answer {
		return w.do(request{method: "POST", path: "/v1/auth/revoke", as: as, body: body})
	}
	revoke("inspector", map[string]any{"user_id": officer}).want(404)
	revoke("client", map[string]any{"user_id": inspector}).want(404)
	revoke("officer", map[string]any{"user_id": stranger}).want(404)
	revoke("su-auditor", map[string]any{"user_id": inspector}).want(403)
	revoke("inspector", map[string]any{"token_jti": "somebody-elses"}).want(403)
	revoke("inspector", map[string]any{}).want(422)
	revoke("officer", map[string]any{"user_id": inspector, "token_jti": "some-jti", "reason": "lost tablet"}).want(200)
	if got := w.do(request{method: "GET", path: "/v1/auth/revocations", as: "manager"}).want(200).items(); len(got) != 1 || got[0]["user_id"] != inspector {
		t.Errorf("the manager's list: got %v", got)
	}
	for _, who := range []string{"stranger", "owner"} {
		if got := w.do(request{method: "GET", path: "/v1/auth/revocations", as: who}).want(200).items(); len(got) != 0 {
			t.Errorf("%s sees %v", who, got)
		}
	}
	revoke("officer", map[string]any{"user_id": inspector, "reason": "lost tablet"}).want(200)
	w.do(request{method: "GET", path: "/v1/users/me", as: "inspector"}).want(401)
	w.login("inspector", passwordOf("inspector")).want(200)
	w.do(request{method: "POST", path: "/v1/auth/revoke", token: admin, body: map[string]any{"user_id": stranger}}).want(200)
	w.do(request{method: "GET", path: "/v1/users/me", as: "stranger"}).want(401)
}

// Missing, forged, expired and foreign tokens.
func TestTokensThatAreNone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	good := w.token["inspector"]
	user, err := w.app.FindFirstRecordByData(collections.Users, "username", "inspector")
	if err != nil {
		t.Fatal(err)
	}
	expired, _, err := w.deps.Tokens.Issue(w.app, user, 1)
	if err != nil {
		t.Fatal(err)
	}
	noJTI, err := user.NewAuthToken()
	if err != nil {
		t.Fatal(err)
	}
	file, err := user.NewFileToken()
	if err != nil {
		t.Fatal(err)
	}
	for name, token := range map[string]string{
		"none": "", "garbage": "x", "cut": good[:len(good)-2], "another signature": good[:len(good)-6] + "AAAAAA",
		"expired": expired, "without jti": noJTI, "a file token": file, "huge": strings.Repeat("x", 100_000),
		"alg none": "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0." + strings.Split(good, ".")[1] + ".",
	} {
		a := w.do(request{method: "GET", path: "/v1/users/me", token: token})
		if a.status != 401 && !(name == "huge" && a.status == 431) {
			t.Errorf("%s: got %d, want 401", name, a.status)
		}
		if a.status == 401 && !strings.HasPrefix(a.header.Get("WWW-Authenticate"), "Bearer") {
			t.Errorf("%s: no WWW-Authenticate", name)
		}
	}
}

// Guessing a password ends at both doors after ten failures, with the time to wait.
func TestGuessingIsThrottled(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	record := func(password string) answer {
		return w.do(request{method: "POST", path: "/api/collections/users/auth-with-password", body: map[string]any{"identity": "inspector", "password": password}})
	}
	for i := range 5 {
		w.login("inspector", fmt.Sprint("guess ", i)).want(401)
		record(fmt.Sprint("guess ", i)).want(400)
	}
	for _, a := range []answer{w.login("inspector", "one more guess"), record("one more guess")} {
		a.want(429)
		if seconds, err := strconv.Atoi(a.header.Get("Retry-After")); err != nil || seconds < 500 || seconds > 600 || a.member("retryable") != true {
			t.Errorf("got Retry-After %q and %s, want about ten minutes", a.header.Get("Retry-After"), a.body)
		}
	}
	w.login("manager", "wrong").want(401) // somebody else from the same address
}

// Whoever writes faster than any tablet is told how long to wait, at every door that writes;
// reading goes on, and so do the others.
func TestFloodsOfWritesAreThrottled(t *testing.T) {
	t.Parallel()
	now := time.Now()
	w := newWorld(t, func(d *api.Deps) {
		d.WritesPerSecond = 0.5
		d.Now = func() time.Time { return now }
	})
	sent := 0
	result := func() answer {
		sent++
		return w.do(request{as: "inspector", method: "POST", path: "/v1/tests/sessions/" + w.session + "/results",
			header: map[string]string{"Idempotency-Key": fmt.Sprintf("flood-%04d", sent)},
			body:   map[string]any{"changes": []any{map[string]any{"op": "inc", "path": "heads", "value": 1}}}})
	}
	for range 5 {
		result().want(200)
	}
	record := request{as: "inspector", method: "PATCH", path: "/api/collections/users/records/nobody", body: map[string]any{}}
	for _, a := range []answer{result(), w.do(record)} {
		a.want(429)
		if a.header.Get("Retry-After") != "2" || a.member("retryable") != true {
			t.Errorf("got Retry-After %q and %s, want 2 seconds", a.header.Get("Retry-After"), a.body)
		}
	}
	w.do(request{as: "inspector", method: "GET", path: "/v1/tests/sessions/" + w.session}).want(200)
	w.login("manager", "wrong").want(401)
	w.do(request{as: "manager", method: "POST", path: "/v1/tests/sessions",
		header: map[string]string{"Idempotency-Key": "another-0001"}, body: map[string]any{"building_id": w.building, "session_name": "Again"}}).want(201)
	now = now.Add(2 * time.Second)
	result().want(200)
}
