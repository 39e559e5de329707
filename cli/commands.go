package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"firemode/hooks"
	"firemode/internal/sqlite"
	"firemode/merge"
	"firemode/pgsync"
	"firemode/sealed"

	"github.com/pocketbase/pocketbase/core"
	"github.com/spf13/cobra"
)

// Deps is what the commands need from the program.
type Deps struct {
	Version     string
	Development bool   // false refuses what has no place in production
	HTTP, Diag  string // default addresses of serve, host:port
	MirrorDSN   string // PostgreSQL of the mirror; "" is no mirror

	Tokens *hooks.Tokens
	Keys   *sealed.Keyring // of sealed fields
	// Merge makes the writer of session documents; the command starts and stops it.
	Merge func(app core.App) *merge.Service
	// Serve answers requests until ctx ends.
	Serve func(ctx context.Context, httpAddr, diagAddr string) error

	Now func() time.Time // default time.Now
}

// Commands returns the subcommands over app, which need not be bootstrapped yet.
func Commands(app core.App, deps Deps) []*cobra.Command {
	if deps.Now == nil {
		deps.Now = time.Now
	}
	return []*cobra.Command{
		serveCommand(deps),
		migrateCommand(app, deps),
		seedCommand(app, deps),
		usersCommand(app, deps),
		tokenCommand(app, deps),
		sessionsCommand(app, deps),
		auditCommand(app, deps),
		mirrorCommand(app, deps),
		superuserCommand(app, deps),
		keysCommand(app, deps),
		smokeCommand(deps),
	}
}

// Prepare opens the data directory and brings it up to date: the schema, the
// token secrets, the capture of changes for the mirror. It is cheap when they
// are, and every command that needs the data, serve included, begins with it.
func Prepare(app core.App, deps Deps) error {
	if err := open(app); err != nil {
		return err
	}
	pending, err := pendingMigrations(app)
	if err != nil {
		return err
	}
	// Looking first spares a busy server the lock on its database.
	if len(pending) > 0 {
		if err := app.RunAllMigrations(); err != nil {
			return fmt.Errorf("migrate %s: %w", app.DataDir(), err)
		}
	}
	for _, step := range []struct {
		what string
		do   func() error
	}{
		{"apply the token secret", func() error { return deps.Tokens.ApplySecret(app) }},
		{"note the keys of sealed fields", func() error { return hooks.NoteKeys(app, deps.Keys) }},
		// Also without a mirror: it may be turned on later, and then needs no full comparison.
		{"capture changes for the mirror", func() error { return pgsync.Arm(app, pgsync.Mirrored()) }},
	} {
		if err := sqlite.Patiently(context.Background(), step.do); err != nil {
			return fmt.Errorf("%s: %w", step.what, err)
		}
	}
	return nil
}

func open(app core.App) error {
	if app.IsBootstrapped() {
		return nil
	}
	if err := app.Bootstrap(); err != nil {
		return fmt.Errorf("open the data directory %s: %w", app.DataDir(), err)
	}
	return nil
}

// printJSON writes v as indented JSON.
func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// group makes a command that only holds others: without one of them it shows
// its help, with an unknown one it is an error.
func group(use, short, long string, children ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{
		Use: use, Short: short, Long: long, Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	for _, child := range children {
		if c.Example != "" {
			c.Example += "\n"
		}
		c.Example += child.Example
	}
	c.AddCommand(children...)
	return c
}
