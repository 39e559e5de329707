package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"firemode/pgsync"

	"github.com/pocketbase/pocketbase/core"
	"github.com/spf13/cobra"
)

const (
	// reconcilePoll is how often mirror reconcile asks how far the comparison is.
	reconcilePoll = 200 * time.Millisecond
	// reconcilePatience is how long it waits for a server that feeds the mirror.
	reconcilePatience = 5 * time.Second
)

// errUnhealthy ends mirror doctor when a check has failed.
var errUnhealthy = errors.New("not everything is as it should be")

// reconciled is the answer of mirror reconcile.
type reconciled struct {
	Tables   []string `json:"tables"`
	Position int64    `json:"position"` // at whose passing they are compared
	Done     bool     `json:"done"`
}

func mirrorReconcileCommand(app core.App, deps Deps) *cobra.Command {
	var asJSON, noWait bool
	c := &cobra.Command{
		Use:   "reconcile [table ...]",
		Short: "Compare tables with PostgreSQL and repair what differs",
		Long: `Have the running server compare tables row by row, while both databases are in use, and
write what differs to PostgreSQL: rows that were changed there by hand, rows in
quarantine whose reason is gone, a table that was emptied. Without a name, all tables.
It waits until they are compared, and says how far it is.`,
		Example: "  firemode mirror reconcile\n  firemode mirror reconcile defects evidence\n  firemode mirror reconcile --no-wait",
		RunE: func(c *cobra.Command, names []string) error {
			if deps.MirrorDSN == "" {
				return errMirrorOff
			}
			if err := Prepare(app, deps); err != nil {
				return err
			}
			var done reconciled
			var err error
			if done.Tables, done.Position, err = pgsync.Reconcile(app, pgsync.Mirrored(), names...); err != nil {
				return fmt.Errorf("reconcile: %w", err)
			}
			if !noWait && len(done.Tables) > 0 {
				bar := newBar(c.ErrOrStderr(), "tables")
				err = awaitReconciled(c.Context(), app, deps, done, func(tables int) { bar.set(tables, len(done.Tables)) })
				bar.finish()
				if err != nil {
					return err
				}
				done.Done = true
			}
			if asJSON {
				return printJSON(c.OutOrStdout(), done)
			}
			word := "are compared by the running server, or the next one"
			if done.Done {
				word = "compared; what differed is repaired"
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "%d tables %s\n", len(done.Tables), word)
			return err
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	c.Flags().BoolVar(&noWait, "no-wait", false, "do not wait until it is done")
	return c
}

// awaitReconciled waits until the marked tables are compared, and shows how many are.
func awaitReconciled(ctx context.Context, app core.App, deps Deps, want reconciled, show func(tables int)) error {
	tick := time.NewTicker(reconcilePoll)
	defer tick.Stop()
	fedAt := time.Now()
	for {
		st, err := pgsync.ReadStatus(ctx, app, deps.MirrorDSN)
		if err != nil {
			return fmt.Errorf("read the mirror's status: %w", err)
		}
		passed := st.Position >= want.Position
		switch {
		case st.State == pgsync.StateHeld, st.State == pgsync.StateConnecting && time.Since(fedAt) > reconcilePatience:
			return mirrorProblem(st)
		case passed && st.ResyncTables == 0:
			return nil
		case st.State != pgsync.StateStopped && st.State != pgsync.StateConnecting:
			fedAt = time.Now()
		case time.Since(fedAt) > reconcilePatience:
			return errors.New("the tables are marked, and no server feeds the mirror: start firemode serve, which compares them")
		}
		if passed {
			show(max(0, len(want.Tables)-st.ResyncTables))
		}
		select {
		case <-ctx.Done():
			return errors.New("stopped waiting; the tables are compared all the same")
		case <-tick.C:
		}
	}
}

func mirrorQuarantineCommand(app core.App, deps Deps) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "quarantine",
		Short: "List the rows that PostgreSQL does not take",
		Long: `List the rows that PostgreSQL refused, with its reason and never with their values. They are
tried again every ten minutes, when they change, and by firemode mirror reconcile.`,
		Example: "  firemode mirror quarantine\n  firemode mirror quarantine --json",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if deps.MirrorDSN == "" {
				return errMirrorOff
			}
			if err := Prepare(app, deps); err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(c.Context(), mirrorTimeout)
			defer cancel()
			list, err := pgsync.Quarantine(ctx, app, deps.MirrorDSN)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(c.OutOrStdout(), append([]pgsync.Refused{}, list...))
			}
			if len(list) == 0 {
				_, err := fmt.Fprintln(c.OutOrStdout(), "no row is in quarantine")
				return err
			}
			w := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "TABLE\tID\tSINCE\tTRIES\tREASON")
			for _, r := range list {
				reason := strings.TrimSpace(r.SQLState + " " + r.Constraint + " " + r.Message)
				fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%s\n", r.Table, r.ID, r.FirstAt.UTC().Format(time.RFC3339), r.Tries, reason)
			}
			return w.Flush()
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func mirrorRolesCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "roles",
		Short: "Print the SQL that makes PostgreSQL's roles",
		Long: `Print a script for an administrator of PostgreSQL; nothing is executed. It makes three
roles and the schemas of the mirror, and may be run again at any time:

  fm_owner    owns the schemas and everything in them; nobody logs in as it
  fm_sync     the login for DATABASE_URL
  fm_report   may read the views of fm_report and nothing else

A mirror whose one role owns everything works without it.`,
		Example: "  firemode mirror roles > roles.sql\n  firemode mirror roles | psql -v ON_ERROR_STOP=1 postgres://postgres@db.example.org/firemode",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			_, err := fmt.Fprint(c.OutOrStdout(), pgsync.Roles())
			return err
		},
	}
}

func mirrorDoctorCommand(app core.App, deps Deps) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Check everything that the mirror needs",
		Long: `Check the address, the server's version, encoding and clock, the rights of its role, the
encryption on the way, the views for reports and the state of the mirror; say what to
do about each thing that is not as it should be. It changes nothing.`,
		Example: "  firemode mirror doctor\n  firemode mirror doctor --json",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if deps.MirrorDSN == "" {
				return errMirrorOff
			}
			if err := Prepare(app, deps); err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(c.Context(), mirrorTimeout)
			defer cancel()
			checks := pgsync.Examine(ctx, app, deps.MirrorDSN)
			var failed error
			for _, check := range checks {
				if !check.OK {
					failed = errUnhealthy
				}
			}
			if asJSON {
				return errors.Join(printJSON(c.OutOrStdout(), checks), failed)
			}
			w := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 2, ' ', 0)
			for _, check := range checks {
				verdict, advice := "ok", ""
				if !check.OK {
					verdict, advice = "NOT OK", "-> "+check.Advice
				}
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", verdict, check.Name, check.Detail, advice)
			}
			return errors.Join(w.Flush(), failed)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}
