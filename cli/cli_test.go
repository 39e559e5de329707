package cli_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"firemode/cli"
	"firemode/collections"
	"firemode/hooks"
	"firemode/internal/pgtest"
	"firemode/internal/sqlite"
	"firemode/internal/testapp"
	"firemode/merge"
	_ "firemode/migrations"
	"firemode/sealed"

	"github.com/pocketbase/pocketbase/core"
	"github.com/spf13/cobra"
)

var update = flag.Bool("update", false, "rewrite the golden help texts")

// keyText is the key of keyring.
var keyText = sync.OnceValue(sealed.Generate)

// keyring seals in all tests of this package: it is one per process.
var keyring = sync.OnceValue(func() *sealed.Keyring {
	ring, err := sealed.Parse(keyText())
	if err != nil {
		panic(err)
	}
	collections.UseSealer(ring)
	return ring
})

func TestMain(m *testing.M) {
	keyring()
	code := m.Run()
	pgtest.StopShared()
	testapp.Cleanup()
	os.Exit(code)
}

// noon is the time of all commands in these tests, unless they say otherwise.
var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

const rootSecret = "a root secret of tests with more than 32 bytes"

// parts gives an app the hooks of the program, with a cheap Argon2.
func parts() (func(core.App), cli.Deps) {
	hasher := hooks.NewHasher(hooks.HasherConfig{Time: 1, MemoryKiB: 64, Parallelism: 1})
	tokens := hooks.NewTokens(hooks.TokensConfig{Secret: []byte(rootSecret)})
	deps := cli.Deps{
		Version: "1.2.3", Development: true, HTTP: "127.0.0.1:5000", Diag: "127.0.0.1:6060",
		Tokens: tokens, Keys: keyring(),
		Merge: func(app core.App) *merge.Service { return merge.New(app, merge.Config{}) },
		Serve: func(context.Context, string, string) error { return nil },
		Now:   func() time.Time { return noon },
	}
	return func(app core.App) { hooks.Register(app, hooks.Deps{Hasher: hasher, Tokens: tokens}) }, deps
}

// program is an app with its commands.
type program struct {
	app  core.App
	deps cli.Deps
}

func newProgram(t testing.TB) program {
	t.Helper()
	register, deps := parts()
	return program{testapp.New(t, register), deps}
}

// newFreshProgram has a data directory that does not exist yet.
func newFreshProgram(t testing.TB) program {
	t.Helper()
	register, deps := parts()
	app := core.NewBaseApp(core.BaseAppConfig{
		DataDir: filepath.Join(t.TempDir(), "data"), DBConnect: sqlite.Connect,
		DataMaxOpenConns: sqlite.DataMaxOpenConns, DataMaxIdleConns: sqlite.DataMaxIdleConns,
		AuxMaxOpenConns: sqlite.AuxMaxOpenConns, AuxMaxIdleConns: sqlite.AuxMaxIdleConns,
	})
	t.Cleanup(func() { _ = app.ResetBootstrapState() })
	register(app)
	return program{app, deps}
}

// root is the command line as main makes it.
func (p program) root() *cobra.Command {
	root := &cobra.Command{Use: "firemode", SilenceErrors: true, SilenceUsage: true}
	root.AddCommand(cli.Commands(p.app, p.deps)...)
	return root
}

func (p program) run(args ...string) (stdout, stderr string, err error) {
	var out, errs bytes.Buffer
	root := p.root()
	root.SetOut(&out)
	root.SetErr(&errs)
	root.SetArgs(args)
	err = root.ExecuteContext(context.Background())
	return out.String(), errs.String(), err
}

func (p program) mustRun(t testing.TB, args ...string) string {
	t.Helper()
	out, _, err := p.run(args...)
	if err != nil {
		t.Fatalf("firemode %s: %v", strings.Join(args, " "), err)
	}
	return out
}

// Every command explains itself; the texts are compared as a whole.
func TestHelp(t *testing.T) {
	t.Parallel()
	p := newProgram(t)
	var walk func(c *cobra.Command, path []string)
	walk = func(c *cobra.Command, path []string) {
		for _, child := range c.Commands() {
			if !child.IsAvailableCommand() {
				continue
			}
			here := append(append([]string{}, path...), child.Name())
			name := strings.Join(here, " ")
			if child.Short == "" || child.Long == "" || child.Example == "" {
				t.Errorf("%s: short %q, long of %d characters, example %q; none may be empty", name, child.Short, len(child.Long), child.Example)
			}
			golden(t, strings.Join(here, "-")+".txt", p.mustRun(t, append(here, "--help")...))
			if name != "superuser" { // what lies below is PocketBase's own text
				walk(child, here)
			}
		}
	}
	walk(p.root(), nil)
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", "help", name)
	if *update {
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(got), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil || got != string(want) {
		t.Errorf("%s (%v): got\n%s\nwant\n%s\n(go test ./cli -run TestHelp -update, then read the difference)", path, err, got, want)
	}
}

// Every mistake on the command line is an error with a sentence that says what to do.
func TestMistakes(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		args string
		want string
	}{
		{"nosuch", "unknown command"},
		{"migrate sideways", "unknown command"},
		{"migrate up 7", "unknown command"},
		{"migrate up --fast", "unknown flag: --fast"},
		{"migrate down", "additive"},
		{"migrate down --all 3", "restore the backup"},
		{"serve extra", "unknown command"},
		{"serve --http 5000", `--http: "5000" is not host:port`},
		{"serve --diag localhost:x", `--diag: "localhost:x" is not host:port`},
		{"seed --demo --scale 5", "none of the others can be"},
		{"seed --scale 0", "must be 1 to 1000000"},
		{"seed --scale -1", "must be 1 to 1000000"},
		{"seed --seed x", "invalid argument"},
		{"token", `required flag(s) "user" not set`},
		{"token --user demo --ttl 1s", "--ttl 1s: must be 1m to 720h"},
		{"token --user demo --ttl 721h", "must be 1m to 720h"},
		{"token --user demo --ttl tomorrow", "invalid argument"},
		{"token --user demo", `no user with the username "demo"; make it with "firemode seed"`},
		{"token --user nobody@firemode.test", `no user with the email "nobody@firemode.test"`},
		{"token --user 0199a3f2-b1c4-7000-8000-000000000000", `no user with the id "0199a3f2`},
		{"mirror verify", "set DATABASE_URL"},
		{"smoke --url 127.0.0.1:5000", "must be like http://"},
	} {
		p := newProgram(t)
		out, _, err := p.run(strings.Fields(row.args)...)
		if err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("firemode %s: got %v, want an error with %q", row.args, err, row.want)
		}
		if out != "" {
			t.Errorf("firemode %s: wrote to standard output: %q", row.args, out)
		}
	}
}

func TestServeDelegates(t *testing.T) {
	t.Parallel()
	p, boom := newProgram(t), errors.New("port in use")
	var got [2]string
	p.deps.Serve = func(_ context.Context, http, diag string) error { got = [2]string{http, diag}; return boom }
	if _, _, err := p.run("serve", "--http", "127.0.0.1:8080"); !errors.Is(err, boom) {
		t.Errorf("error: got %v, want %v", err, boom)
	}
	if want := [2]string{"127.0.0.1:8080", "127.0.0.1:6060"}; got != want {
		t.Errorf("addresses: got %v, want %v", got, want)
	}
}

func TestMigrate(t *testing.T) {
	t.Parallel()
	p := newFreshProgram(t)
	if out := p.mustRun(t, "migrate", "status"); !strings.Contains(out, "1763900000_initial_schema.go") || !strings.Contains(out, "pending") {
		t.Errorf("status before: got\n%s\nwant the first migration pending", out)
	}
	if out := p.mustRun(t, "migrate", "up"); !strings.Contains(out, "applied 1763900000_initial_schema.go") {
		t.Errorf("up: got\n%s", out)
	}
	if out := p.mustRun(t, "migrate", "up"); strings.Contains(out, "applied") || !strings.Contains(out, "up to date") {
		t.Errorf("second up: got\n%s\nwant nothing applied", out)
	}
	if out := p.mustRun(t, "migrate", "status"); strings.Contains(out, "pending") {
		t.Errorf("status after: got\n%s", out)
	}
	if out := p.mustRun(t, "migrate", "status", "--json"); !strings.Contains(out, `"applied_at": "20`) {
		t.Errorf("status --json: got\n%s", out)
	}
}

func TestKeysGenerate(t *testing.T) {
	t.Parallel()
	p := newProgram(t)
	first, second := p.mustRun(t, "keys", "generate"), p.mustRun(t, "keys", "generate")
	if first == second {
		t.Error("two keys are equal")
	}
	if _, err := sealed.Parse(strings.TrimSpace(first)); err != nil {
		t.Errorf("parse %q: %v", first, err)
	}
}
