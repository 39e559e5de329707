package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"firemode/internal/testbin"
)

// restoreTimeout bounds how long a server may take to come back from a backup on a busy
// machine.
const restoreTimeout = 90 * time.Second

// A backup restored in the admin UI brings back what it holds, and the server goes on.
func TestRestoreInTheAdminUI(t *testing.T) {
	t.Parallel()
	env := testbin.Env{"FIREMODE_DATA": t.TempDir() + "/data"}
	const email, password = "root@example.com", "correct horse battery"
	testbin.MustRun(t, env, "superuser", "create", email, password)
	first := testbin.Start(t, env)
	env["FIREMODE_HTTP"] = strings.TrimPrefix(first.URL, "http://")
	if code := first.Stop(t); code != exitOK {
		t.Fatalf("exit code: %d\n%s", code, first.Log())
	}
	server := testbin.Start(t, env)
	status, token := signIn(t, server.URL, email, password)
	if status != http.StatusOK {
		t.Fatalf("sign-in: got %d", status)
	}
	ask := func(method, path string, body any) (int, string) {
		t.Helper()
		raw, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		req, err := http.NewRequest(method, server.URL+path, bytes.NewReader(raw))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Authorization", token)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return 0, err.Error() // between the two processes
		}
		defer res.Body.Close()
		answer, err := io.ReadAll(res.Body)
		if err != nil {
			return 0, err.Error()
		}
		return res.StatusCode, string(answer)
	}
	must := func(want int, method, path string, body any) {
		t.Helper()
		if got, answer := ask(method, path, body); got != want {
			t.Fatalf("%s %s: got %d %s, want %d", method, path, got, answer, want)
		}
	}
	organisation := func(name string) {
		t.Helper()
		must(200, "POST", "/api/collections/organisations/records", map[string]any{"name": name, "kind": "contractor"})
	}
	count := func(name string) string {
		_, answer := ask("GET", "/api/collections/organisations/records?fields=name&filter="+fmt.Sprintf("name%%3D'%s'", name), nil)
		return answer
	}
	organisation("Before")
	must(204, "POST", "/api/backups", map[string]any{"name": "one.zip"})
	organisation("After")
	must(204, "POST", "/api/backups/one.zip/restore", nil)

	deadline := time.Now().Add(restoreTimeout)
	for {
		if strings.Contains(count("After"), `"totalItems":0`) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the server did not come back with the backup: %s\n%s", count("After"), server.Log())
		}
		<-time.After(50 * time.Millisecond)
	}
	if got := count("Before"); !strings.Contains(got, `"totalItems":1`) {
		t.Errorf("what the backup holds: got %s", got)
	}
	if code := server.Stop(t); code != exitOK {
		t.Errorf("exit code after SIGTERM: got %d, want %d\n%s", code, exitOK, server.Log())
	}
}
