// Command firemode is the backend of the FireMode fire-safety compliance
// platform: one binary that extends PocketBase and mirrors its records into
// PostgreSQL. Run it with --help for its commands.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"sync/atomic"
	"syscall"

	"github.com/pocketbase/pocketbase"
	"github.com/pocketbase/pocketbase/core"
	"github.com/spf13/cobra"

	"firemode/internal/sqlite"
	_ "firemode/migrations"
)

// version is set by the linker: -ldflags "-X main.version=1.2.3".
var version = "development"

// Exit codes that scripts rely on.
const (
	exitOK    = 0
	exitError = 1 // the command ran and failed
	exitUsage = 2 // the configuration or the command line is wrong
)

func main() { os.Exit(run(os.Environ())) }

// run is the whole program. PocketBase reads os.Args itself.
func run(environ []string) int {
	getenv, err := environment(environ)
	if err != nil {
		return usageError(err)
	}
	cfg, err := loadConfig(getenv)
	if err != nil {
		return usageError(fmt.Errorf("the configuration has mistakes:\n%w", err))
	}

	pb := pocketbase.NewWithConfig(pocketbase.Config{
		DefaultDataDir: cfg.DataDir, HideStartBanner: true, DBConnect: sqlite.Connect,
		DataMaxOpenConns: sqlite.DataMaxOpenConns, DataMaxIdleConns: sqlite.DataMaxIdleConns,
		AuxMaxOpenConns: sqlite.AuxMaxOpenConns, AuxMaxIdleConns: sqlite.AuxMaxIdleConns,
	})
	cfg.DataDir = pb.DataDir() // --dir overrides the environment
	if needsSecrets(os.Args[1:]) {
		made, err := cfg.completeSecrets()
		if err != nil {
			return usageError(err)
		}
		if made {
			fmt.Fprintf(os.Stderr, "firemode: no JWT_SECRET or FERNET_KEY is set; made them in %s for development. Back that file up: without its key sealed data cannot be read.\n",
				filepath.Join(cfg.DataDir, generatedSecretsFile))
		}
	}
	p, err := wire(pb, cfg)
	if err != nil {
		return usageError(err)
	}

	if _, _, err := pb.RootCmd.Find(os.Args[1:]); err != nil {
		return usageError(err)
	}
	if err := execute(pb, p); err != nil {
		fmt.Fprintln(os.Stderr, "firemode:", err)
		if errors.As(err, new(*usageMistake)) {
			return exitUsage
		}
		return exitError
	}
	return exitOK
}

func usageError(err error) int {
	fmt.Fprintln(os.Stderr, "firemode:", err)
	return exitUsage
}

// A usageMistake is a wrong flag or argument; it exits 2 as a wrong command does.
type usageMistake struct{ error }

func (u *usageMistake) Unwrap() error { return u.error }

// execute runs the command line and then every OnTerminate hook. PocketBase's
// own Execute drops the error of the command, so that failed and unknown
// commands and a port in use would all exit 0.
func execute(pb *pocketbase.PocketBase, p *parts) error {
	pb.RootCmd.Version = version // not PocketBase's own
	pb.RootCmd.Short = "The backend of the FireMode fire-safety compliance platform"
	pb.RootCmd.Long = `FireMode keeps test sessions, evidence and findings of fire-safety services: one
binary with its database inside, mirrored into PostgreSQL for reporting.

A first look:      firemode seed --demo && firemode serve
All settings:      README.md, or .env.example`
	pb.RootCmd.SetErr(os.Stderr) // PocketBase's own writer makes everything red and hides that it is a terminal
	pb.RootCmd.SilenceErrors, pb.RootCmd.SilenceUsage = true, true
	pb.RootCmd.FParseErrWhitelist = cobra.FParseErrWhitelist{} // an unknown flag is a mistake, not noise
	pb.RootCmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &usageMistake{err} })

	stopped, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	done := make(chan error, 1)
	began := markBegin(pb.RootCmd)
	go func() {
		err := pb.RootCmd.ExecuteContext(stopped)
		if err != nil && !began.Load() {
			err = &usageMistake{err} // refused before the command did anything
		}
		done <- err
	}()

	var err error
	select {
	case err = <-done:
		done = nil
		// Restoring a backup replaces this process by a new one: serving has ended, and
		// nothing else may.
		p.restart.wait()
	case <-stopped.Done():
		stop() // a second signal ends the process at once
	}
	event := &core.TerminateEvent{App: pb}
	terminated := pb.OnTerminate().Trigger(event, func(e *core.TerminateEvent) error {
		if done != nil {
			// Serving ends when the listener does; other commands see the context.
			err = <-done
		}
		return e.App.ResetBootstrapState()
	})
	return errors.Join(err, terminated)
}

// markBegin makes every command below root note that it has begun, which it does once its
// flags and arguments are accepted.
func markBegin(root *cobra.Command) *atomic.Bool {
	began := &atomic.Bool{}
	var mark func(c *cobra.Command)
	mark = func(c *cobra.Command) {
		if run := c.RunE; run != nil {
			c.RunE = func(c *cobra.Command, args []string) error {
				began.Store(true)
				return run(c, args)
			}
		}
		for _, child := range c.Commands() {
			mark(child)
		}
	}
	mark(root)
	return began
}
