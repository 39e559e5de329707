package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"firemode/crdt"
	"firemode/merge"

	"github.com/pocketbase/pocketbase/core"
	"github.com/spf13/cobra"
)

func sessionsImportCommand(app core.App, deps Deps) *cobra.Command {
	var check, asJSON bool
	c := &cobra.Command{
		Use:   "import FILE",
		Short: "Add exported operations that are missing here",
		Long: `Check a file that "firemode sessions export" wrote, in itself and against what is
stored here, and add the operations that are missing, with their authors and
times. Nothing is written unless the whole file is good; operations that are here
already stay as they are. It may be stopped and repeated, and works while a
server runs. The sessions themselves must exist: import fills their logs, as after
restoring a backup.

With --check nothing is written at all.`,
		Example: "  firemode sessions import --check logs.ndjson\n  firemode sessions import logs.ndjson",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := Prepare(app, deps); err != nil {
				return err
			}
			report, begun, err := importFile(c, app, deps, args[0], check)
			if err != nil {
				return importError(args[0], begun, err)
			}
			if asJSON {
				return printJSON(c.OutOrStdout(), report)
			}
			verb := "added"
			if check {
				verb = "the file is good; to add:"
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "%s %d of %d operations of %d sessions\n", verb, report.Added, report.Ops, report.Sessions)
			if report.Revoked > 0 && err == nil {
				_, err = fmt.Fprintf(c.OutOrStdout(), "devices revoked in the file and not here before: %d\n", report.Revoked)
			}
			return err
		},
	}
	c.Flags().BoolVar(&check, "check", false, "only check the file")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// importFile checks the file and then imports it; begun says that it got so far.
func importFile(c *cobra.Command, app core.App, deps Deps, path string, checkOnly bool) (report merge.ImportReport, begun bool, err error) {
	f, err := os.Open(path)
	if err != nil {
		return report, false, err
	}
	defer f.Close()
	service := deps.Merge(app)
	found, err := service.CheckImport(c.Context(), f)
	if err != nil || checkOnly {
		return found, false, err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return found, false, err
	}
	if err := service.Start(c.Context()); err != nil {
		return found, false, fmt.Errorf("start merging: %w", err)
	}
	defer service.Stop()
	bar := newBar(c.ErrOrStderr(), "operations")
	defer bar.finish()
	report, err = service.Import(c.Context(), f, func(r merge.ImportReport) { bar.set(int(r.Ops), int(found.Ops)) })
	return report, true, err
}

// importError says what to do about a file that is not imported. What the check has passed
// can still fail when the file or, beside a server, the log changes meanwhile.
func importError(path string, begun bool, err error) error {
	var fault *merge.LogFileError
	var fork *crdt.ForkError
	kept := "nothing was written"
	if begun {
		kept = "operations added before that stay"
	}
	switch {
	case errors.As(err, &fault):
		return fmt.Errorf("%s, %w; %s: export it again", path, fault, kept)
	case errors.As(err, &fork):
		return fmt.Errorf("%s: the log here holds another operation as %s; %s: one of the two histories was changed or made on a copy", path, fork.Dot, kept)
	case errors.Is(err, merge.ErrForeignActor):
		return fmt.Errorf("%s: %w here; %s: the file is of another installation", path, err, kept)
	case errors.Is(err, merge.ErrNoSession):
		return fmt.Errorf("%s: a session of the file does not exist here; %s: restore its record first", path, kept)
	case errors.Is(err, merge.ErrLegalHold):
		return fmt.Errorf("%s: the file erases values of a session whose evidence is under legal hold; %s: release the hold first", path, kept)
	case errors.Is(err, context.Canceled):
		return errors.New("stopped before the end; run it again to go on")
	}
	return fmt.Errorf("import %s: %w", path, err)
}
