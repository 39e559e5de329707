package main

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"firemode/internal/testbin"
)

// signIn logs a superuser in over HTTP and returns the status and the token.
func signIn(t *testing.T, url, email, password string) (int, string) {
	t.Helper()
	body, err := json.Marshal(map[string]string{"identity": email, "password": password})
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.Post(url+"/api/collections/_superusers/auth-with-password", "application/json", strings.NewReader(string(body)))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	answer := struct{ Token string }{}
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, answer.Token
}

func statusWith(t *testing.T, url, token string) int {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, url+"/api/collections/users/records", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", token)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	return res.StatusCode
}

// The first administrator is made on an empty data directory. A new password,
// set by another process, ends their sessions at the running server at once.
func TestSuperuserCommand(t *testing.T) {
	t.Parallel()
	env := testbin.Env{"FIREMODE_DATA": t.TempDir() + "/data"}
	const email, first, second = "root@example.com", "correct horse battery", "another long secret"
	testbin.MustRun(t, env, "superuser", "create", email, first)
	if r := testbin.Run(t, env, "superuser", "create", email, first); r.Code != exitError {
		t.Errorf("the same superuser again: exit code %d, want %d\n%s", r.Code, exitError, r.Stderr)
	}
	server := testbin.Start(t, env)
	status, token := signIn(t, server.URL, email, first)
	if status != http.StatusOK || statusWith(t, server.URL, token) != http.StatusOK {
		t.Fatalf("sign-in with the password of the command: got %d, want 200", status)
	}
	testbin.MustRun(t, env, "superuser", "upsert", email, second)
	if got := statusWith(t, server.URL, token); got != http.StatusUnauthorized {
		t.Errorf("a session from before the new password: got %d, want 401", got)
	}
	if status, _ := signIn(t, server.URL, email, first); status != http.StatusBadRequest {
		t.Errorf("sign-in with the old password: got %d, want 400", status)
	}
	if status, _ := signIn(t, server.URL, email, second); status != http.StatusOK {
		t.Errorf("sign-in with the new password: got %d, want 200", status)
	}
}
