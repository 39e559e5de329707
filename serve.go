package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"firemode/api"
	"firemode/cli"
	"firemode/hooks"

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

// dataDirMode keeps other users of the machine away from password hashes and tokens.
const dataDirMode = 0o700

// lockFile keeps a second server off a data directory: two processes would each
// believe to be the only writer.
const lockFile = "firemode.lock"

// lockDataDir takes the lock until release is called or the process ends.
func lockDataDir(dir string) (release func(), err error) {
	if err := os.MkdirAll(dir, dataDirMode); err != nil {
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
func (p *parts) serve(ctx context.Context, app core.App, deps cli.Deps, addr, diagAddr string) error {
	settle, ok := p.launch.begin(ctx)
	if !ok {
		return nil // told to stop before it began
	}
	defer settle()
	if err := checkLoopback(diagAddr); err != nil {
		return &usageMistake{fmt.Errorf("--diag %w", err)}
	}
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
	if err := hooks.CheckKeys(ctx, app, deps.Keys); err != nil {
		if ctx.Err() != nil {
			return nil // told to stop meanwhile
		}
		return err
	}
	app.OnServe().Bind(&hook.Handler[*core.ServeEvent]{
		Id: "firemode.serve.listen", Priority: math.MaxInt, // after every part is bound
		Func: func(e *core.ServeEvent) error {
			e.Listener, e.InstallerFunc = listener, nil
			if err := e.Next(); err != nil {
				return err
			}
			if err := ctx.Err(); err != nil {
				return err // told to stop meanwhile
			}
			printAddresses(listener.Addr(), diagListener.Addr())
			settle()
			return nil
		},
	})
	err = apis.Serve(app, apis.ServeConfig{HttpAddr: listener.Addr().String(), ShowStartBanner: false})
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		return nil
	}
	return err
}

// launch keeps stopping and starting apart: what ends the parts of a server
// waits until all of them have started, or until starting was given up.
type launch struct {
	mu      sync.Mutex    // guards settled
	settled chan struct{} // closed when starting is over; nil when it never began
}

// begin says that starting begins, unless ctx has ended. settle ends it and may
// be called again.
func (l *launch) begin(ctx context.Context) (settle func(), ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if ctx.Err() != nil {
		return nil, false
	}
	l.settled = make(chan struct{})
	return sync.OnceFunc(func() { close(l.settled) }), true
}

// wait returns when starting is over. The context of begin MUST have ended, so
// that nothing begins afterwards.
func (l *launch) wait() {
	l.mu.Lock()
	settled := l.settled
	l.mu.Unlock()
	if settled != nil {
		<-settled
	}
}

// restart keeps the process alive while PocketBase is about to replace it by a new one, as
// after restoring a backup.
type restart struct {
	mu   sync.Mutex    // guards over
	over chan struct{} // closed when a restart failed; nil when none was begun
}

// begin says that a restart begins; failed says that it came to nothing.
func (r *restart) begin() (failed func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	over := make(chan struct{})
	r.over = over
	return func() { close(over) }
}

// wait returns when no restart is under way.
func (r *restart) wait() {
	r.mu.Lock()
	over := r.over
	r.mu.Unlock()
	if over != nil {
		<-over
	}
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

// drain lets acknowledged work end before the server goes. PocketBase cancels
// every request first and waits one second; here new connections stop, event
// streams are closed, and running requests may finish.
func drain(app core.App, server *http.Server) {
	broker := app.SubscriptionsBroker()
	for id := range broker.Clients() {
		broker.Unregister(id)
	}
	ctx, cancel := context.WithTimeout(context.Background(), shutdownGrace)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil {
		app.Logger().Warn("requests were cut off at shutdown", "error", err)
	}
}
