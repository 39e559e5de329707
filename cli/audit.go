package cli

import (
	"errors"
	"fmt"
	"io"

	"firemode/audit"
	"firemode/collections"

	"github.com/pocketbase/pocketbase/core"
	"github.com/spf13/cobra"
)

// errAuditDamaged ends audit verify.
var errAuditDamaged = errors.New("the audit log was changed: keep this data directory as it is, and compare with the newest backup and with the mirror")

// auditReport is the outcome of audit verify.
type auditReport struct {
	Entries int64          `json:"entries"` // checked and good
	Finding *audit.Finding `json:"finding"` // the first bad entry; null when there is none
}

func auditCommand(app core.App, deps Deps) *cobra.Command {
	var asJSON bool
	verify := &cobra.Command{
		Use:   "verify",
		Short: "Check that no entry of the audit log was changed",
		Long: `Read the audit log from its first entry to its last and check each: its hash, and
that none is missing in between. The first bad entry is named and is an error. A
server may run meanwhile. Entries removed at the end are not found.`,
		Example: "  firemode audit verify\n  firemode audit verify --json",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := Prepare(app, deps); err != nil {
				return err
			}
			total, err := app.CountRecords(collections.AuditLog)
			if err != nil {
				return fmt.Errorf("count audit entries: %w", err)
			}
			bar := newBar(c.ErrOrStderr(), "audit entries")
			n, bad, err := audit.Verify(c.Context(), app, func(checked int64) { bar.set(int(checked), int(total)) })
			bar.finish()
			if err != nil {
				return fmt.Errorf("verify the audit log: %w", err)
			}
			report := auditReport{Entries: n, Finding: bad}
			if asJSON {
				err = printJSON(c.OutOrStdout(), report)
			} else {
				err = printAudit(c.OutOrStdout(), report)
			}
			if bad != nil {
				err = errors.Join(err, errAuditDamaged)
			}
			return err
		},
	}
	verify.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return group("audit", "Check the audit log", "Check the log of who did what.", verify)
}

func printAudit(out io.Writer, r auditReport) error {
	_, err := fmt.Fprintf(out, "%d entries are as they were written\n", r.Entries)
	if r.Finding != nil && err == nil {
		_, err = fmt.Fprintf(out, "entry %d: %s\n", r.Finding.Seq, r.Finding.Reason)
	}
	return err
}
