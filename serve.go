package main

import (
	"context"
	"fmt"
	"math"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"firemode/api"
	"firemode/cli"

	"github.com/gofrs/flock"
	"github.com/pocketbase/pocketbase/apis"
	"github.com/pocketbase/pocketbase/core"
	"github.com/pocketbase/pocketbase/tools/hook"
)

const (
	// shutdownGrace is how long requests in flight may take to finish. It is
	// below the 90 s after which systemd kills a service.
	shutdownGrace = 20 * time.Second
	// diagReadTimeout bounds a diagnostics request's header.
	diagReadTimeout = 10 * time.Second
)

// lockFile keeps a second server off a data directory: two processes would each
// believe to be the only writer.
const lockFile = "firemode.lock"

// lockDataDir takes the lock until release is called or the process ends.
func lockDataDir(dir string) (release func(), err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make the data directory: %w", err)
	}
	lock := flock.New(filepath.Join(dir, lockFile))
	held, err := lock.TryLock()
	if err != nil {
		return nil, fmt.Errorf("lock the data directory: %w", err)
	}
	if !held {
		return nil, fmt.Errorf("another firemode serves %s; stop it first or set FIREMODE_DATA to another directory", dir)
	}
	return func() { _ = lock.Unlock() }, nil
}

// serve answers requests on addr, and diagnostics on diagAddr, until the
// process is told to stop. Port 0 takes a free one; the addresses are printed.
func (p *parts) serve(app core.App, deps cli.Deps, addr, diagAddr string) error {
	release, err := lockDataDir(app.DataDir())
	if err != nil {
		return err
	}
	defer release()

	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("listen for requests: %w; set FIREMODE_HTTP to another address", err)
	}
	defer listener.Close()
	diagListener, err := net.Listen("tcp", diagAddr)
	if err != nil {
		return fmt.Errorf("listen for diagnostics: %w; set FIREMODE_DIAG to another address", err)
	}
	diagnostics := &http.Server{Handler: api.Diagnostics(p.api()), ReadHeaderTimeout: diagReadTimeout}
	go func() { _ = diagnostics.Serve(diagListener) }() // ends with Close below
	defer diagnostics.Close()

	if err := cli.Prepare(app, deps); err != nil {
		return err
	}
	finishInFlight(app)
	app.OnServe().Bind(&hook.Handler[*core.ServeEvent]{
		Id: "firemode.serve.listen", Priority: math.MaxInt, // after every part is bound
		Func: func(e *core.ServeEvent) error {
			e.Listener, e.InstallerFunc = listener, nil
			if err := e.Next(); err != nil {
				return err
			}
			printAddresses(listener.Addr(), diagListener.Addr())
			return nil
		},
	})
	return apis.Serve(app, apis.ServeConfig{HttpAddr: listener.Addr().String(), ShowStartBanner: false})
}

// printAddresses tells a person where to go next, and scripts which ports were taken.
func printAddresses(api, diag net.Addr) {
	fmt.Printf(`FireMode %s
  serving      http://%[2]s
  admin UI     http://%[2]s/_/
  API docs     http://%[2]s/docs
  diagnostics  http://%[3]s
`, version, api, diag)
}

// finishInFlight lets acknowledged work end before the server goes. PocketBase
// cancels every request first and waits one second; here new connections stop,
// event streams are closed, and running requests may finish.
func finishInFlight(app core.App) {
	var server *http.Server
	app.OnServe().Bind(&hook.Handler[*core.ServeEvent]{
		Id: "firemode.serve.remember",
		Func: func(e *core.ServeEvent) error {
			server = e.Server
			return e.Next()
		},
	})
	app.OnTerminate().Bind(&hook.Handler[*core.TerminateEvent]{
		Id: "firemode.serve.finish", Priority: -10000, // before PocketBase's own at -9999
		Func: func(e *core.TerminateEvent) error {
			if server != nil {
				broker := e.App.SubscriptionsBroker()
				for id := range broker.Clients() {
					broker.Unregister(id)
				}
				ctx, cancel := context.WithTimeout(context.Background(), shutdownGrace)
				defer cancel()
				if err := server.Shutdown(ctx); err != nil {
					e.App.Logger().Warn("requests were cut off at shutdown", "error", err)
				}
			}
			return e.Next()
		},
	})
}
