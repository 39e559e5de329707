// Package testapp gives tests a migrated FireMode app on a data directory of
// their own, and a real HTTP server around it.
//
// The directory is a copy of a template that is migrated once per process, so
// an app costs milliseconds. Hooks are registered by the test: pass the
// functions that the part under test needs.
package testapp

import (
	"fmt"
	"net/http/httptest"
	"os"
	"sync"
	"testing"

	_ "firemode/collections" // registers the sealed field type the schema uses
	"firemode/internal/sqlite"
	_ "firemode/migrations"

	"github.com/pocketbase/pocketbase/apis"
	"github.com/pocketbase/pocketbase/core"
	"github.com/pocketbase/pocketbase/tests"
	"github.com/pocketbase/pocketbase/ui"
)

// template is the migrated directory that every app is copied from.
var template = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "firemode-template-")
	if err != nil {
		return "", err
	}
	app := core.NewBaseApp(config(dir))
	if err := app.Bootstrap(); err != nil {
		return "", fmt.Errorf("bootstrap template: %w", err)
	}
	if err := app.RunAllMigrations(); err != nil {
		return "", fmt.Errorf("migrate template: %w", err)
	}
	// Terminating stops the app's goroutines; tests look for leaks.
	return dir, app.OnTerminate().Trigger(&core.TerminateEvent{App: app}, func(*core.TerminateEvent) error {
		return app.ResetBootstrapState()
	})
})

func config(dir string) core.BaseAppConfig {
	return core.BaseAppConfig{
		DataDir: dir, DBConnect: sqlite.Connect,
		DataMaxOpenConns: sqlite.DataMaxOpenConns, DataMaxIdleConns: sqlite.DataMaxIdleConns,
		AuxMaxOpenConns: sqlite.AuxMaxOpenConns, AuxMaxIdleConns: sqlite.AuxMaxIdleConns,
	}
}

// New returns an app on a fresh copy of the migrated template, with register
// applied in order. It is closed and its directory removed when the test ends.
func New(t testing.TB, register ...func(core.App)) *tests.TestApp {
	t.Helper()
	dir, err := template()
	if err != nil {
		t.Fatalf("build template: %v", err)
	}
	app, err := tests.NewTestAppWithConfig(config(dir))
	if err != nil {
		t.Fatalf("open test app: %v", err)
	}
	t.Cleanup(app.Cleanup)
	for _, f := range register {
		f(app)
	}
	return app
}

// Serve starts app behind a real HTTP server, with every OnServe hook run, and
// returns its base URL. It stops when the test ends.
func Serve(t testing.TB, app core.App) string {
	t.Helper()
	router, err := apis.NewRouter(app)
	if err != nil {
		t.Fatalf("make router: %v", err)
	}
	// apis.Serve mounts the admin UI beside the router; its headers are ours.
	router.GET("/_/{path...}", apis.Static(ui.DistDirFS, false))
	server := httptest.NewUnstartedServer(nil)
	event := new(core.ServeEvent)
	event.App, event.Router, event.Server = app, router, server.Config
	err = app.OnServe().Trigger(event, func(e *core.ServeEvent) error {
		mux, err := e.Router.BuildMux()
		server.Config.Handler = mux
		return err
	})
	if err != nil {
		t.Fatalf("run OnServe: %v", err)
	}
	server.Start()
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	return server.URL
}

// Cleanup removes the template; call it from TestMain after m.Run.
func Cleanup() {
	if dir, err := template(); err == nil {
		_ = os.RemoveAll(dir)
	}
}
