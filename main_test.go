package main

import (
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"firemode/internal/testbin"
)

func TestMain(m *testing.M) {
	code := m.Run()
	testbin.Cleanup()
	os.Exit(code)
}

// Scripts rely on exit codes: 0 done, 1 failed, 2 wrong usage or configuration.
func TestExitCodes(t *testing.T) {
	t.Parallel()
	data := testbin.Env{"FIREMODE_DATA": t.TempDir() + "/data"}
	production := testbin.Env{"FIREMODE_DATA": t.TempDir(), "FIREMODE_ENV": "production"}
	for name, c := range map[string]struct {
		env    testbin.Env
		args   []string
		code   int
		stderr string
	}{
		"help":                               {data, []string{"--help"}, exitOK, ""},
		"no command":                         {data, nil, exitOK, ""},
		"version":                            {data, []string{"--version"}, exitOK, ""},
		"missing flag":                       {data, []string{"token"}, exitUsage, "user"},
		"surplus argument":                   {data, []string{"token", "--user", "demo", "extra"}, exitUsage, "unknown command"},
		"flags that exclude each other":      {data, []string{"seed", "--demo", "--scale", "5"}, exitUsage, "none of the others"},
		"accounts on a fresh directory":      {testbin.Env{"FIREMODE_DATA": t.TempDir() + "/data"}, []string{"users", "list"}, exitOK, "made them in"},
		"administrator on a fresh directory": {testbin.Env{"FIREMODE_DATA": t.TempDir() + "/data"}, []string{"superuser", "create", "root@firemode.test", "a-long-password"}, exitOK, ""},
		"unknown command":                    {data, []string{"sevre"}, exitUsage, "unknown command"},
		"unknown flag":                       {data, []string{"token", "--usr", "demo"}, exitUsage, "unknown flag"},
		"failing command":                    {data, []string{"token", "--user", "nobody"}, exitError, "nobody"},
		"configuration mistakes":             {testbin.Env{"FIREMODE_ENV": "staging", "JWT_SECRET": "short"}, []string{"serve"}, exitUsage, "JWT_SECRET"},
		"production needs secrets":           {production, []string{"serve"}, exitUsage, "FERNET_KEY"},
		"unknown setting":                    {testbin.Env{"FIREMODE_DATA": t.TempDir(), "FIREMODE_HTPP": "127.0.0.1:1"}, []string{"serve"}, exitUsage, "FIREMODE_HTPP: the environment has no such setting; is it FIREMODE_HTTP?"},
		"mirror over plain text":             {testbin.Env{"FIREMODE_DATA": t.TempDir(), "DATABASE_URL": "postgres://u:pgsecret@db.example.org/fm"}, []string{"serve"}, exitUsage, "sslmode=verify-full"},
		"bad mirror address":                 {testbin.Env{"FIREMODE_DATA": t.TempDir(), "DATABASE_URL": "postgres://u:pgsecret@/%zz"}, []string{"serve"}, exitUsage, "DATABASE_URL"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := testbin.Run(t, c.env, c.args...)
			if r.Code != c.code || !strings.Contains(r.Stderr, c.stderr) {
				t.Errorf("firemode %s: exit code %d, want %d with %q\n%s", strings.Join(c.args, " "), r.Code, c.code, c.stderr, r.Stderr)
			}
			for _, no := range []string{"pgsecret", "goroutine ", "panic"} {
				if strings.Contains(r.Stderr+r.Stdout, no) {
					t.Errorf("firemode %s prints %q:\n%s%s", strings.Join(c.args, " "), no, r.Stdout, r.Stderr)
				}
			}
		})
	}
}

// A port in use and a data directory in use are failures with a next step, and
// the running server does not notice.
func TestSecondServerIsRefused(t *testing.T) {
	t.Parallel()
	env := testbin.Env{"FIREMODE_DATA": t.TempDir() + "/data"}
	first := testbin.Start(t, env)

	second := testbin.Launch(t, env)
	if code := second.Wait(t); code != exitError || !strings.Contains(second.Log(), "another firemode serves") {
		t.Errorf("second server on one data directory: exit code %d, want %d and the reason\n%s", code, exitError, second.Log())
	}

	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	third := testbin.Launch(t, testbin.Env{"FIREMODE_DATA": t.TempDir() + "/data", "FIREMODE_HTTP": busy.Addr().String()})
	if code := third.Wait(t); code != exitError || !strings.Contains(third.Log(), "FIREMODE_HTTP") {
		t.Errorf("port in use: exit code %d, want %d and the variable to change\n%s", code, exitError, third.Log())
	}

	res, err := http.Get(first.URL + "/health/ready")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Errorf("the first server after both: got %d, want 200", res.StatusCode)
	}
	if code := first.Stop(t); code != exitOK {
		t.Errorf("exit code after SIGTERM: got %d, want %d\n%s", code, exitOK, first.Log())
	}
}

// Told to stop at any moment of its start, a server stops, with exit code 0.
func TestStopWhileStarting(t *testing.T) {
	t.Parallel()
	env := testbin.Env{"FIREMODE_DATA": t.TempDir() + "/data"}
	testbin.MustRun(t, env, "migrate", "up")
	for delay := range 12 {
		server := testbin.Launch(t, env)
		// From before the first line of the program to after the last of its start.
		<-time.After(time.Duration(delay) * 30 * time.Millisecond)
		if code := server.Stop(t); code != exitOK && code != -1 { // -1: the signal came before it was listened for
			t.Errorf("stopped after %d ms: exit code %d\n%s", delay*30, code, server.Log())
		}
	}
}

// Profiles and metrics need no login, so no door opens them to other machines.
func TestDiagnosticsStayOnLoopback(t *testing.T) {
	t.Parallel()
	r := testbin.Run(t, testbin.Env{"FIREMODE_DATA": t.TempDir() + "/data"}, "serve", "--http", "127.0.0.1:0", "--diag", "0.0.0.0:0")
	if r.Code != exitUsage || !strings.Contains(r.Stderr, "loopback") {
		t.Errorf("serve --diag 0.0.0.0:0: exit code %d, want %d and the reason\n%s", r.Code, exitUsage, r.Stderr)
	}
}

// Global flags before the command change nothing of what it needs.
func TestFlagsBeforeTheCommand(t *testing.T) {
	t.Parallel()
	dir := t.TempDir() + "/elsewhere"
	testbin.MustRun(t, nil, "--dir", dir, "migrate", "up")
	if _, err := os.Stat(dir + "/" + generatedSecretsFile); err != nil {
		t.Errorf("secrets of --dir %s: %v", dir, err)
	}
}

// The contract that scripts rely on: seed works without a server and twice,
// token prints the token and nothing else, also while a server runs, and the
// demo user may list buildings and create sessions with it.
func TestScriptContract(t *testing.T) {
	t.Parallel()
	env := testbin.Env{"FIREMODE_DATA": t.TempDir() + "/data"}
	testbin.MustRun(t, env, "seed", "--demo")
	testbin.MustRun(t, env, "seed", "--demo")
	server := testbin.Start(t, env)
	testbin.MustRun(t, env, "superuser", "upsert", "root@firemode.test", "a-long-password")
	token := testbin.MustRun(t, env, "token", "--user", "demo", "--ttl", "24h")
	if strings.Count(strings.TrimSpace(token), ".") != 2 || strings.ContainsAny(strings.TrimSpace(token), " \n\t") {
		t.Fatalf("standard output of token: got %q, want the token alone", token)
	}
	req, err := http.NewRequest(http.MethodGet, server.URL+"/v1/buildings/", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(token))
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Errorf("GET /v1/buildings/ with the demo token: got %d, want 200", res.StatusCode)
	}
}
