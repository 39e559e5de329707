package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"

	"firemode/collections"
	"firemode/merge"

	"github.com/pocketbase/pocketbase/core"
	"github.com/spf13/cobra"
)

// errLogDamaged ends sessions verify.
var errLogDamaged = errors.New("a session is not what its operation log says: keep this data directory as it is, and compare with the newest backup and with the devices")

func sessionsCommand(app core.App, deps Deps) *cobra.Command {
	return group("sessions", "Look after the operation logs of test sessions",
		"Check, read and move the operation logs that the documents of test sessions are made from.",
		sessionsVerifyCommand(app, deps), sessionsShowCommand(app, deps), sessionsExportCommand(app, deps), sessionsImportCommand(app, deps))
}

// sessionReport is the outcome of sessions verify for one session.
type sessionReport struct {
	SessionID string `json:"session_id"`
	merge.Report
}

func sessionsVerifyCommand(app core.App, deps Deps) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "verify [SESSION…]",
		Short: "Check documents against their operation logs",
		Long: `Read the operation log of each session, or of those named by id, and check:
positions without gaps, every line against its hash, every device's chain, and the
stored document and snapshot against what the log leads to. The first difference
of a session is listed, and any is an error. A server may run meanwhile.`,
		Example: "  firemode sessions verify\n  firemode sessions verify 0199a3f2-b1c4-7000-8000-000000000000 --json",
		Args:    cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, ids []string) error {
			if err := Prepare(app, deps); err != nil {
				return err
			}
			reports, err := verifySessions(c, app, deps, ids)
			if err != nil {
				return err
			}
			if asJSON {
				err = printJSON(c.OutOrStdout(), reports)
			} else {
				err = printSessionReports(c.OutOrStdout(), reports)
			}
			for _, r := range reports {
				if r.Finding != nil {
					return errors.Join(err, errLogDamaged)
				}
			}
			return err
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print every session's outcome as JSON")
	return c
}

// verifySessions verifies the sessions named, or all of them.
func verifySessions(c *cobra.Command, app core.App, deps Deps, ids []string) ([]sessionReport, error) {
	reports := []sessionReport{}
	if len(ids) == 0 {
		var err error
		if reports, err = strayLogs(c, app); err != nil {
			return nil, err
		}
	}
	ids, err := orAllSessions(c, app, ids)
	if err != nil {
		return nil, err
	}
	service := deps.Merge(app)
	bar := newBar(c.ErrOrStderr(), "sessions")
	defer bar.finish()
	for i, id := range ids {
		bar.set(i, len(ids))
		r, err := service.Verify(c.Context(), id)
		if err != nil {
			return nil, sessionError(id, err)
		}
		reports = append(reports, sessionReport{id, r})
	}
	return reports, nil
}

// strayLogs finds operation logs whose session is gone.
func strayLogs(c *cobra.Command, app core.App) ([]sessionReport, error) {
	var keys []string
	err := app.DB().NewQuery(`SELECT key FROM crdt_docs WHERE key NOT IN (SELECT id FROM test_sessions) ORDER BY key`).WithContext(c.Context()).Column(&keys)
	if err != nil {
		return nil, fmt.Errorf("list operation logs: %w", err)
	}
	reports := make([]sessionReport, len(keys))
	for i, key := range keys {
		reports[i] = sessionReport{key, merge.Report{Finding: &merge.Finding{Reason: "the session of this operation log is gone"}}}
	}
	return reports, nil
}

// orAllSessions returns ids, or those of every session when there are none.
func orAllSessions(c *cobra.Command, app core.App, ids []string) ([]string, error) {
	if len(ids) > 0 {
		return ids, nil
	}
	err := app.DB().Select(collections.FieldID).From(collections.TestSessions).OrderBy(collections.FieldID).WithContext(c.Context()).Column(&ids)
	if err != nil {
		return nil, fmt.Errorf("list sessions: %w", err)
	}
	return ids, nil
}

// sessionError names the session that an error is about.
func sessionError(id string, err error) error {
	switch {
	case errors.Is(err, merge.ErrNoSession):
		return fmt.Errorf("no session with the id %q", id)
	case errors.Is(err, context.Canceled):
		return errors.New("stopped before the end")
	}
	return fmt.Errorf("session %s: %w", id, err)
}

func printSessionReports(out io.Writer, reports []sessionReport) error {
	var ops int64
	good := 0
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, r := range reports {
		ops += r.Ops
		switch {
		case r.Finding == nil:
			good++
		case r.Finding.N > 0:
			fmt.Fprintf(w, "%s\toperation %d\t%s\n", r.SessionID, r.Finding.N, r.Finding.Reason)
		default:
			fmt.Fprintf(w, "%s\t\t%s\n", r.SessionID, r.Finding.Reason)
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, "%d of %d sessions are what their logs say; %d operations read\n", good, len(reports), ops)
	return err
}
