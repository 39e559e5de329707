package cli

import (
	"errors"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/pocketbase/pocketbase/core"
	"github.com/spf13/cobra"
)

// errMigrateDown explains why there is no way back.
var errMigrateDown = errors.New(`migrations are additive and are not undone: undoing one would drop compliance records.
To go back, stop the server and restore the backup made before the upgrade`)

func migrateCommand(app core.App, deps Deps) *cobra.Command {
	up := &cobra.Command{
		Use:   "up",
		Short: "Bring the data directory up to date",
		Long: `Apply every migration that the data directory has not seen. All of them run in one
transaction: when one fails, the data stays as it was. Running it again changes
nothing. The server does the same when it starts.`,
		Example: "  firemode migrate up",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := open(app); err != nil {
				return err
			}
			pending, err := pendingMigrations(app)
			if err != nil {
				return err
			}
			if err := Prepare(app, deps); err != nil {
				return err
			}
			out := c.OutOrStdout()
			for _, name := range pending {
				fmt.Fprintln(out, "applied", name)
			}
			fmt.Fprintf(out, "%s is up to date\n", app.DataDir())
			return nil
		},
	}

	var asJSON bool
	status := &cobra.Command{
		Use:     "status",
		Short:   "List applied and pending migrations",
		Long:    "List every migration with the time it was applied, or as pending. Changes nothing.",
		Example: "  firemode migrate status\n  firemode migrate status --json",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := open(app); err != nil {
				return err
			}
			list, err := readMigrations(app)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(c.OutOrStdout(), list)
			}
			w := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 2, ' ', 0)
			for _, m := range list {
				state := "pending"
				if m.AppliedAt != nil {
					state = "applied " + m.AppliedAt.Format(time.RFC3339)
				}
				fmt.Fprintf(w, "%s\t%s\n", m.Name, state)
			}
			return w.Flush()
		},
	}
	status.Flags().BoolVar(&asJSON, "json", false, "print JSON")

	down := &cobra.Command{
		Use:     "down",
		Short:   "Not offered: migrations are additive",
		Long:    errMigrateDown.Error() + ".",
		Example: "  firemode migrate status",
		// Whatever is asked for, the answer is the same.
		Args:               cobra.ArbitraryArgs,
		FParseErrWhitelist: cobra.FParseErrWhitelist{UnknownFlags: true},
		RunE:               func(*cobra.Command, []string) error { return errMigrateDown },
	}
	return group("migrate", "Bring the schema of the data directory up to date",
		"Apply or list the steps that bring a data directory from any earlier release to this one.", up, status, down)
}

// A migration is one step and when this data directory took it, nil for never.
type migration struct {
	Name      string     `json:"name"`
	AppliedAt *time.Time `json:"applied_at"`
}

// readMigrations lists PocketBase's own steps, then ours, in the order they run.
func readMigrations(app core.App) ([]migration, error) {
	applied := map[string]int64{}
	if app.HasTable(core.DefaultMigrationsTable) { // absent before the first migration
		var rows []struct {
			File    string `db:"file"`
			Applied int64  `db:"applied"`
		}
		if err := app.DB().Select("file", "applied").From(core.DefaultMigrationsTable).All(&rows); err != nil {
			return nil, fmt.Errorf("read migrations: %w", err)
		}
		for _, r := range rows {
			applied[r.File] = r.Applied
		}
	}
	var all core.MigrationsList
	all.Copy(core.SystemMigrations)
	all.Copy(core.AppMigrations)
	list := make([]migration, 0, len(all.Items()))
	for _, item := range all.Items() {
		m := migration{Name: item.File}
		if at, ok := applied[item.File]; ok {
			t := time.UnixMicro(at).UTC()
			m.AppliedAt = &t
		}
		list = append(list, m)
	}
	return list, nil
}

// pendingMigrations names the steps that this data directory has not taken.
func pendingMigrations(app core.App) (names []string, err error) {
	list, err := readMigrations(app)
	for _, m := range list {
		if m.AppliedAt == nil {
			names = append(names, m.Name)
		}
	}
	return names, err
}
