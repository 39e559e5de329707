package pgtest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"
)

// orphanEnv makes this test binary start a server, print its process id and wait to be killed.
const orphanEnv = "FIREMODE_PGTEST_ORPHAN"

func TestMain(m *testing.M) {
	if os.Getenv(orphanEnv) != "" {
		orphan()
	}
	code := Main(m)
	if err := goleak.Find(); code == 0 && err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func orphan() {
	s, err := Start(context.Background())
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(s.cmd.Process.Pid, s.dir)
	select {}
}

func deadline(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	t.Cleanup(cancel)
	return ctx
}

func one(t *testing.T, dsn, sql string) string {
	t.Helper()
	conn, err := pgx.Connect(deadline(t), dsn)
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	defer conn.Close(context.Background())
	var got string
	if err := conn.QueryRow(deadline(t), sql).Scan(&got); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return got
}

func TestDatabasesAreSeparate(t *testing.T) {
	t.Parallel()
	a, b := Database(t), Database(t)
	if err := execute(deadline(t), a, "CREATE TABLE only_here (id int)"); err != nil {
		t.Fatal(err)
	}
	const count = "SELECT count(*)::text FROM pg_tables WHERE tablename = 'only_here'"
	if got := one(t, a, count); got != "1" {
		t.Errorf("first database has %s tables, want 1", got)
	}
	if got := one(t, b, count); got != "0" {
		t.Errorf("second database has %s tables, want 0", got)
	}
	if got := one(t, a, "SHOW server_encoding"); got != "UTF8" {
		t.Errorf("encoding = %s, want UTF8", got)
	}
}

func TestServerSurvivesKillAndPause(t *testing.T) {
	t.Parallel()
	ctx := deadline(t)
	s := NewServer(t)
	if err := execute(ctx, s.DSN("postgres"), "CREATE TABLE kept AS SELECT 'yes' v"); err != nil {
		t.Fatal(err)
	}
	if err := execute(ctx, s.URL("postgres"), "CHECKPOINT"); err != nil {
		t.Fatal(err)
	}
	s.Kill()
	if _, err := pgx.Connect(ctx, s.DSN("postgres")); err == nil {
		t.Fatal("a killed server answers")
	}
	if err := s.Up(ctx); err != nil {
		t.Fatalf("start after kill: %v", err)
	}
	if got := one(t, s.URL("postgres"), "SELECT v FROM kept"); got != "yes" {
		t.Errorf("row after crash = %q, want yes", got)
	}

	conn, err := pgx.Connect(ctx, s.DSN("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	resume, err := s.Pause(ctx)
	if err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	if _, err := conn.Exec(short, "SELECT 1"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("query on a paused server: %v, want deadline exceeded", err)
	}
	resume()
	if got := one(t, s.DSN("postgres"), "SELECT v FROM kept"); got != "yes" {
		t.Errorf("row after pause = %q, want yes", got)
	}
}

func TestServerDiesWithTheTestProcess(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	child := exec.Command(self)
	child.Env = append(os.Environ(), orphanEnv+"=1")
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	word, dir, _ := strings.Cut(strings.TrimSpace(line), " ")
	pid, err := strconv.Atoi(word)
	if err != nil {
		t.Fatalf("child said %q", line)
	}
	defer os.RemoveAll(dir)
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait()
	ctx := deadline(t)
	for running(pid) {
		select {
		case <-ctx.Done():
			t.Fatalf("server %d outlived its test process", pid)
		case <-time.After(startPoll):
		}
	}
}

// running is false for a process that is gone or waits for a parent that will never fetch it.
func running(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	return err == nil && !strings.Contains(string(stat), ") Z ")
}

func TestBinDir(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	for _, dir := range []string{"9/bin", "14/bin", "16/bin", "17/bin"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o700); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"initdb", "postgres"} {
			if dir == "17/bin" && name == "postgres" {
				continue // client only
			}
			if err := os.WriteFile(filepath.Join(root, dir, name), nil, 0o700); err != nil {
				t.Fatal(err)
			}
		}
	}
	nowhere := func(string) (string, error) { return "", exec.ErrNotFound }
	inPath := func(string) (string, error) { return filepath.Join(root, "14/bin/initdb"), nil }
	globs := []string{filepath.Join(root, "*/bin")}
	for _, tc := range []struct {
		name, explicit, want string
		lookPath             func(string) (string, error)
		globs                []string
		wantErr              string
	}{
		{name: "explicit", explicit: filepath.Join(root, "9/bin"), lookPath: inPath, globs: globs, want: "9/bin"},
		{name: "explicit without server", explicit: filepath.Join(root, "17/bin"), lookPath: inPath, globs: globs, wantErr: "no initdb and postgres there"},
		{name: "path before installations", lookPath: inPath, globs: globs, want: "14/bin"},
		{name: "newest complete installation", lookPath: nowhere, globs: globs, want: "16/bin"},
		{name: "nothing names the fix", lookPath: nowhere, wantErr: "apt-get install postgresql"},
	} {
		got, err := binDir(tc.explicit, tc.lookPath, tc.globs)
		if tc.wantErr != "" {
			if err == nil || !strings.Contains(err.Error(), tc.wantErr) {
				t.Errorf("%s: error %v, want one with %q", tc.name, err, tc.wantErr)
			}
			continue
		}
		if want := filepath.Join(root, tc.want); err != nil || got != want {
			t.Errorf("%s: got %q, %v, want %q", tc.name, got, err, want)
		}
	}
}

func TestWithDatabase(t *testing.T) {
	t.Parallel()
	for dsn, want := range map[string]string{
		"postgres://u:p@h:1/old?sslmode=disable": "postgres://u:p@h:1/new?sslmode=disable",
		"host=/tmp dbname=old":                   "host=/tmp dbname=old dbname=new",
	} {
		if got := withDatabase(dsn, "new"); got != want {
			t.Errorf("withDatabase(%q) = %q, want %q", dsn, got, want)
		}
		cfg, err := pgx.ParseConfig(withDatabase(dsn, "new"))
		if err != nil || cfg.Database != "new" {
			t.Errorf("%q parses to %v, %v, want database new", dsn, cfg, err)
		}
	}
}
