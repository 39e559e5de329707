package cli_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"firemode/api"
	"firemode/cli/seed"
	"firemode/hooks"
	"firemode/internal/testapp"
	"firemode/merge"

	"github.com/jackc/pgx/v5"
	"github.com/pocketbase/pocketbase/core"
	"github.com/pocketbase/pocketbase/tools/hook"
)

func connect(ctx context.Context, dsn string) (*pgx.Conn, error) { return pgx.Connect(ctx, dsn) }

// The smoke check passes against the real API and stops at the first failure.
func TestSmoke(t *testing.T) {
	t.Parallel()
	p := newProgram(t)
	p.seed(t, "--scale", "3")
	service := merge.New(p.app, merge.Config{})
	if err := service.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(service.Stop)
	p.app.OnServe().Bind(&hook.Handler[*core.ServeEvent]{Id: "test.api", Func: func(e *core.ServeEvent) error {
		hasher := hooks.NewHasher(hooks.HasherConfig{Time: 1, MemoryKiB: 64, Parallelism: 1})
		if err := api.Bind(e, api.Deps{Hasher: hasher, Tokens: p.deps.Tokens, Merge: service}); err != nil {
			return err
		}
		return e.Next()
	}})
	url := testapp.Serve(t, p.app)

	_, errs, err := p.run("smoke", "--url", url, "--user", "load.manager", "--password", seed.DemoPassword)
	if err != nil || !strings.Contains(errs, "/v1/auth/logout") {
		t.Errorf("against the API: got %v after\n%s", err, errs)
	}
	if _, _, err := p.run("smoke", "--url", url, "--user", "load.manager", "--password", "wrong password"); err == nil || !strings.Contains(err.Error(), "answered 40") {
		t.Errorf("wrong password: got %v", err)
	}

	open := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) }))
	defer open.Close()
	if _, _, err := p.run("smoke", "--url", open.URL); err == nil || !strings.Contains(err.Error(), "want 401") {
		t.Errorf("against a server that refuses nobody: got %v", err)
	}
	open.Close()
	if _, _, err := p.run("smoke", "--url", open.URL); err == nil || !strings.Contains(err.Error(), "is the server running?") {
		t.Errorf("against no server: got %v", err)
	}
}
