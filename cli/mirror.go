package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"firemode/pgsync"

	"github.com/pocketbase/pocketbase/core"
	"github.com/spf13/cobra"
)

const (
	// mirrorTimeout is how long PostgreSQL may take to say how far it is.
	mirrorTimeout = 15 * time.Second
	// verifyDefaultTimeout: comparing some million rows takes minutes.
	verifyDefaultTimeout = 10 * time.Minute
)

// errMirrorUnequal, errMirrorOff and errAdoptUnsure end the mirror commands.
var (
	errMirrorUnequal = errors.New("PostgreSQL differs from SQLite; firemode mirror reconcile repairs it")
	errMirrorOff     = errors.New("the mirror is off; set DATABASE_URL to turn it on")
	errAdoptUnsure   = errors.New("rows that only PostgreSQL has are deleted from its tables; say --yes when this directory is the right one")
)

func mirrorCommand(app core.App, deps Deps) *cobra.Command {
	var asJSON bool
	status := &cobra.Command{
		Use:   "status",
		Short: "Say how far the PostgreSQL mirror is",
		Long: `Read both databases, without a running server, and say how far the mirror is:

  state       off, live, resync (tables being compared), stopped (no server feeds
              it), held (needs an operator) or connecting (not reached)
  position    the last change that PostgreSQL holds, of how many
  backlog     changes still to go, and the age of the oldest of them
  quarantine  rows that PostgreSQL could not take

A mirror that is switched off is no error; one that cannot be reached, or is
held, is.`,
		Example: "  firemode mirror status\n  firemode mirror status --json",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := Prepare(app, deps); err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(c.Context(), mirrorTimeout)
			defer cancel()
			st, err := pgsync.ReadStatus(ctx, app, deps.MirrorDSN)
			if err != nil {
				return fmt.Errorf("read the mirror's status: %w", err)
			}
			if asJSON {
				err = printJSON(c.OutOrStdout(), st)
			} else {
				err = printMirror(c.OutOrStdout(), st)
			}
			return errors.Join(err, mirrorProblem(st))
		},
	}
	status.Flags().BoolVar(&asJSON, "json", false, "print JSON")

	var verifyJSON, seal bool
	var timeout time.Duration
	verify := &cobra.Command{
		Use:   "verify",
		Short: "Compare every mirrored row of both databases",
		Long: `Compare every row in SQLite with its copy in PostgreSQL, column by column, at one
moment. A server must be feeding the mirror. Any difference is listed and is an
error, rows in quarantine too. Both databases stay usable meanwhile.
With --sealed the outcome, equal or not, is stored in PostgreSQL (fm_sync.verify_run)
and in the audit log. The root that is printed stands for every value of every row:
keep it elsewhere, and "firemode mirror prove" proves single rows against it.`,
		Example: "  firemode mirror verify\n  firemode mirror verify --sealed\n  firemode mirror verify --json --timeout 1h",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if deps.MirrorDSN == "" {
				return errMirrorOff
			}
			if err := Prepare(app, deps); err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(c.Context(), timeout)
			defer cancel()
			compare := pgsync.Verify
			if seal {
				compare = sealRun
			}
			report, err := compare(ctx, app, deps.MirrorDSN)
			if err != nil {
				return fmt.Errorf("verify the mirror: %w", err)
			}
			if verifyJSON {
				err = printJSON(c.OutOrStdout(), report)
			} else {
				err = printVerify(c.OutOrStdout(), report)
			}
			return errors.Join(err, verifyProblem(report))
		},
	}
	verify.Flags().BoolVar(&verifyJSON, "json", false, "print JSON")
	verify.Flags().BoolVar(&seal, "sealed", false, "store the outcome, for proofs and for the record")
	verify.Flags().DurationVar(&timeout, "timeout", verifyDefaultTimeout, "give up after this long")

	var sure bool
	adopt := &cobra.Command{
		Use:   "adopt",
		Short: "Go on mirroring after a restored backup",
		Long: `Say that this data directory is the one to mirror from now on, after the mirror was
held because both databases remember different changes (a restored backup, a
cloned disk). Every table in PostgreSQL is then made equal to SQLite: rows that
only PostgreSQL has are deleted from its tables; its journal keeps what it has.`,
		Example: "  firemode mirror adopt --yes",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			switch {
			case deps.MirrorDSN == "":
				return errMirrorOff
			case !sure:
				return errAdoptUnsure
			}
			if err := Prepare(app, deps); err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(c.Context(), mirrorTimeout)
			defer cancel()
			if err := pgsync.Adopt(ctx, app, deps.MirrorDSN); err != nil {
				return fmt.Errorf("adopt: %w", err)
			}
			_, err := fmt.Fprintln(c.OutOrStdout(), "adopted; the running server, or the next one, compares every table")
			return err
		},
	}
	adopt.Flags().BoolVar(&sure, "yes", false, "I know that this directory is the right one")

	return group("mirror", "Look after the PostgreSQL mirror",
		"Look at the copy of all records that FireMode keeps in PostgreSQL for reporting (DATABASE_URL).", status, verify, adopt,
		mirrorProveCommand(app, deps), mirrorCheckProofCommand(), mirrorReconcileCommand(app, deps), mirrorRebuildCommand(app, deps),
		mirrorQuarantineCommand(app, deps), mirrorDoctorCommand(app, deps), mirrorRolesCommand())
}

// verifyProblem is the error that a comparison stands for. Rows in quarantine are missing
// in PostgreSQL like any other difference.
func verifyProblem(r pgsync.Report) error {
	var missing int64
	for _, t := range r.Tables {
		missing += t.Quarantined
	}
	switch {
	case !r.Equal:
		return errMirrorUnequal
	case missing > 0:
		return fmt.Errorf("PostgreSQL lacks %d rows that it could not take; firemode mirror quarantine says which and why", missing)
	}
	return nil
}

// mirrorProblem is the error that a status stands for, with what to do about it.
func mirrorProblem(st pgsync.Status) error {
	switch st.State {
	case pgsync.StateConnecting:
		return fmt.Errorf("the mirror cannot be read: %s (%s)", st.LastError, st.NextStep)
	case pgsync.StateHeld:
		return fmt.Errorf("%s (%s)", st.LastError, st.NextStep)
	}
	return nil
}

func printMirror(out io.Writer, st pgsync.Status) error {
	if st.State == pgsync.StateOff {
		_, err := fmt.Fprintln(out, "off (DATABASE_URL is not set)")
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "state\t%s\n", st.State)
	fmt.Fprintf(w, "position\t%d of %d\n", st.Position, st.LogEnd)
	fmt.Fprintf(w, "backlog\t%d changes, the oldest %s old\n", st.BacklogEntries, time.Duration(st.LagSeconds*float64(time.Second)).Round(time.Second))
	fmt.Fprintf(w, "quarantine\t%d rows\n", st.QuarantineRows)
	if st.ResyncTables > 0 {
		fmt.Fprintf(w, "comparing\t%d tables\n", st.ResyncTables)
	}
	if !st.LastApplied.IsZero() {
		fmt.Fprintf(w, "last change\t%s\n", st.LastApplied.UTC().Format(time.RFC3339))
	}
	if c := st.LastComparison; c != nil {
		fmt.Fprintf(w, "last comparison\t%s of %d tables with %d rows: %d differed, %d of them repaired\n", c.Mode, c.Tables, c.Rows, c.Diffs, c.Repaired)
	}
	return w.Flush()
}

func printVerify(out io.Writer, r pgsync.Report) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "table\tSQLite\tPostgreSQL\tquarantined\tdiffering")
	for _, t := range r.Tables {
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\n", t.Table, t.SourceRows, t.MirrorRows, t.Quarantined, t.Differing)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, t := range r.Tables {
		for _, d := range t.Differences {
			fmt.Fprintf(out, "differs: %s %s\n", t.Table, d)
		}
	}
	verdict := "equal"
	if !r.Equal {
		verdict = "NOT equal"
	}
	if _, err := fmt.Fprintf(out, "%s at change %d\n", verdict, r.Position); err != nil {
		return err
	}
	if r.Sealed {
		_, err := fmt.Fprintf(out, "run %s\nroot %s\n", r.Run, r.SourceRoot)
		return err
	}
	return nil
}
