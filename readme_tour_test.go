package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"firemode/internal/pgtest"
	"firemode/internal/testbin"
	"firemode/sealed"

	"github.com/jackc/pgx/v5"
)

const (
	tourTimeout  = 3 * time.Minute
	tourAddress  = "http://localhost:5000" // as printed; the test's server has a port of its own
	mirrorPeriod = 100 * time.Millisecond  // between two looks at the mirror
)

// A tourStep is one sh block and the answer printed below it.
type tourStep struct{ script, answer string }

var tourPattern = regexp.MustCompile("(?s)```sh\n(.*?)```\n```text\n(.*?)```")

// The tour works as printed.
func TestReadmeTour(t *testing.T) {
	t.Parallel()
	steps := tourSteps(t)
	env := testbin.Env{"FIREMODE_DATA": t.TempDir() + "/data"}
	testbin.MustRun(t, env, "seed", "--demo")
	server := testbin.Start(t, env)

	for i, output := range runTour(t, env, server.URL, steps) {
		if err := printed(steps[i].answer, output); err != nil {
			t.Errorf("step %d: %v\nscript:\n%soutput:\n%s", i+1, err, steps[i].script, output)
		}
	}
}

func tourSteps(t *testing.T) (steps []tourStep) {
	t.Helper()
	_, section, _ := strings.Cut(readText(t, "README.md"), "\n## Five-minute tour\n")
	section, _, _ = strings.Cut(section, "\n## ")
	for _, m := range tourPattern.FindAllStringSubmatch(section, -1) {
		steps = append(steps, tourStep{m[1], m[2]})
	}
	if n := strings.Count(section, "```sh\n"); n != len(steps) || n < 5 {
		t.Fatalf("the tour has %d sh blocks and %d with an answer", n, len(steps))
	}
	return steps
}

// runTour runs all steps in one shell, as a reader does, and returns what each printed.
func runTour(t *testing.T, env testbin.Env, url string, steps []tourStep) []string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Symlink(testbin.Path(t), filepath.Join(dir, "firemode")); err != nil {
		t.Fatal(err)
	}
	const mark = "\n==== end of step ====\n"
	var script strings.Builder
	script.WriteString("set -euo pipefail\n")
	for _, s := range steps {
		script.WriteString(strings.ReplaceAll(s.script, tourAddress, url))
		script.WriteString("printf '" + strings.ReplaceAll(mark, "\n", `\n`) + "'\n")
	}
	ctx, cancel := context.WithTimeout(t.Context(), tourTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-c", script.String())
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "ARGON2_TIME_COST=1", "ARGON2_MEMORY_COST=1024", "ARGON2_PARALLELISM=1")
	for k, v := range env {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("the tour ended with %v\n%s%s", err, stdout.String(), stderr.String())
	}
	outputs := strings.Split(stdout.String(), mark)
	return outputs[:len(outputs)-1]
}

// printed says whether output has the documented lines, in order; "…" stands
// for anything.
func printed(answer, output string) error {
	lines := strings.Split(strings.TrimSpace(output), "\n")
	for want := range strings.Lines(answer) {
		want = strings.TrimSpace(want)
		parts := strings.Split(want, "…")
		for i, p := range parts {
			parts[i] = regexp.QuoteMeta(p)
		}
		pattern := regexp.MustCompile("^" + strings.Join(parts, ".*") + "$")
		i := slices.IndexFunc(lines, pattern.MatchString)
		if i < 0 {
			return fmt.Errorf("no line like %s", want)
		}
		lines = lines[i+1:]
	}
	return nil
}

func TestPrintedFindsAWrongAnswer(t *testing.T) {
	t.Parallel()
	const output = "{\"id\":\"1\",\"n\":2}\nsession x\n"
	for answer, want := range map[string]bool{
		"{\"id\":\"…\",\"n\":2}\nsession …\n": true,
		"session …\n":                         true,
		"{\"id\":\"…\",\"n\":3}\n":            false,
		"session …\n{\"id\":\"…\",\"n\":2}\n": false, // the other order
		"{\"id\"\n":                           false, // half a line
	} {
		if got := printed(answer, output) == nil; got != want {
			t.Errorf("%q in %q: got %v, want %v", answer, output, got, want)
		}
	}
}

var commandPattern = regexp.MustCompile("(?m)(?:^|[`$( ])(?:\\./)?firemode ([a-z]+)(?: ([a-z]+))?")

// Every command that the pages name exists.
func TestReadmeCommands(t *testing.T) {
	t.Parallel()
	groups := []string{"migrate", "mirror", "keys", "superuser"} // their second word is a command too
	named := map[string]bool{}
	for _, path := range markdownFiles {
		for _, code := range regexp.MustCompile("(?s)```.*?```|`[^`\n]*`").FindAllString(readText(t, path), -1) {
			for _, m := range commandPattern.FindAllStringSubmatch(code, -1) {
				command := m[1]
				if slices.Contains(groups, m[1]) && m[2] != "" {
					command += " " + m[2]
				}
				named[command] = true
			}
		}
	}
	for _, prose := range []string{"firemode", "from"} {
		delete(named, prose)
	}
	if len(named) < 6 {
		t.Errorf("found %d commands only: %v", len(named), named)
	}
	env := testbin.Env{"FIREMODE_DATA": t.TempDir() + "/data"}
	for command := range named {
		if r := testbin.Run(t, env, append(strings.Fields(command), "--help")...); r.Code != exitOK {
			t.Errorf("firemode %s --help: exit code %d\n%s", command, r.Code, r.Stderr)
		}
	}
}

// Production has no demonstration accounts: the first administrator is made on
// the command line, on a data directory that does not exist yet.
func TestReadmeFirstAdministrator(t *testing.T) {
	t.Parallel()
	m := regexp.MustCompile(`firemode (superuser create) (\S+) '([^']+)'`).FindStringSubmatch(readText(t, "README.md"))
	if m == nil {
		t.Fatal("README.md does not say how to make the first administrator")
	}
	env := testbin.Env{
		"FIREMODE_DATA": t.TempDir() + "/data", "FIREMODE_ENV": production,
		"JWT_SECRET": strings.Repeat("0123456789", 4), "FERNET_KEY": sealed.Generate(),
	}
	testbin.MustRun(t, env, append(strings.Fields(m[1]), m[2], m[3])...)
	server := testbin.Start(t, env)
	for password, want := range map[string]bool{m[3]: true, "not " + m[3]: false} {
		body := strings.NewReader(fmt.Sprintf(`{"identity":%q,"password":%q}`, m[2], password))
		res, err := http.Post(server.URL+"/api/collections/_superusers/auth-with-password", "application/json", body)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if got := res.StatusCode == http.StatusOK; got != want {
			t.Errorf("log in with %q: got status %d, want success: %v", password, res.StatusCode, want)
		}
	}
}

// The mirror section makes a role that FireMode can work with and one that reads
// reports and nothing else.
func TestReadmeMirrorRoles(t *testing.T) {
	t.Parallel()
	_, section, _ := strings.Cut(readText(t, "README.md"), "\n### Mirror\n")
	section, _, _ = strings.Cut(section, "\n### ")
	blocks := regexp.MustCompile("(?s)```sql\n(.*?)```").FindAllStringSubmatch(section, -1)
	if len(blocks) != 2 {
		t.Fatalf("SQL blocks: got %d, want the database and the logins", len(blocks))
	}
	ctx, cancel := context.WithTimeout(t.Context(), tourTimeout)
	defer cancel()
	postgres := pgtest.NewServer(t)
	execSQL(ctx, t, postgres.URL("postgres"), blocks[0][1])
	admin, err := pgx.Connect(ctx, postgres.URL("firemode"))
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close(ctx)
	env := testbin.Env{
		"FIREMODE_DATA": t.TempDir() + "/data", "DATABASE_URL": as(postgres.URL("firemode"), "fm_sync", "change-me"),
	}
	if _, err := admin.Exec(ctx, testbin.MustRun(t, env, "mirror", "roles")); err != nil {
		t.Fatal(err)
	}
	execSQL(ctx, t, postgres.URL("firemode"), blocks[1][1])

	server := testbin.Start(t, env)
	reader, err := pgx.Connect(ctx, as(postgres.URL("firemode"), "firemode_reader", "change-me-too"))
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close(ctx)
	var n int
	for reader.QueryRow(ctx, "SELECT count(*) FROM fm_report.buildings").Scan(&n) != nil {
		select {
		case <-time.After(mirrorPeriod):
		case <-ctx.Done():
			t.Fatalf("the reader cannot read:\n%s", server.Log())
		}
	}
	for _, statement := range []string{"DELETE FROM fm_mirror.buildings", "SELECT * FROM fm_mirror.buildings", "SELECT * FROM fm_sync.journal"} {
		if _, err := reader.Exec(ctx, statement); err == nil {
			t.Errorf("the reader may %q", statement)
		}
	}
}

// as is the connection string with another user.
func as(url, user, password string) string {
	return regexp.MustCompile(`^(postgres(?:ql)?://)(?:[^@/]*@)?`).ReplaceAllString(url, "${1}"+user+":"+password+"@")
}

// execSQL runs statements one by one, since CREATE DATABASE wants no transaction.
func execSQL(ctx context.Context, t *testing.T, url, script string) {
	t.Helper()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	for _, statement := range strings.SplitAfter(script, ";\n") {
		if strings.TrimSpace(statement) == "" {
			continue
		}
		if _, err := conn.Exec(ctx, statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
}
