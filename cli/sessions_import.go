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
			report, err := importFile(c, app, deps, args[0], check)
			if err != nil {
				return importError(args[0], err)
			}
			if asJSON {
				return printJSON(c.OutOrStdout(), report)
			}
			verb := "added"
			if check {
				verb = "the file is good; to add:"
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "%s %d of %d operations of %d sessions\n", verb, report.Added, report.Ops, report.Sessions)
			return err
		},
	}
	c.Flags().BoolVar(&check, "check", false, "only check the file")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func importFile(c *cobra.Command, app core.App, deps Deps, path string, checkOnly bool) (merge.ImportReport, error) {
	f, err := os.Open(path)
	if err != nil {
		return merge.ImportReport{}, err
	}
	defer f.Close()
	service := deps.Merge(app)
	found, err := service.CheckImport(c.Context(), f)
	if err != nil || checkOnly {
		return found, err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return found, err
	}
	if err := service.Start(c.Context()); err != nil {
		return found, fmt.Errorf("start merging: %w", err)
	}
	defer service.Stop()
	bar := newBar(c.ErrOrStderr(), "operations")
	defer bar.finish()
	return service.Import(c.Context(), f, func(r merge.ImportReport) { bar.set(int(r.Ops), int(found.Ops)) })
}

// importError says what to do about a file that is not imported.
func importError(path string, err error) error {
	var fault *merge.LogFileError
	var fork *crdt.ForkError
	switch {
	case errors.As(err, &fault):
		return fmt.Errorf("%s, %w; nothing was written: export it again", path, fault)
	case errors.As(err, &fork):
		return fmt.Errorf("%s: the log here holds another operation as %s; nothing was written: one of the two histories was changed or made on a copy", path, fork.Dot)
	case errors.Is(err, merge.ErrForeignActor):
		return fmt.Errorf("%s: %w here; nothing was written: the file is of another installation", path, err)
	case errors.Is(err, merge.ErrNoSession):
		return fmt.Errorf("%s: a session of the file does not exist here; nothing was written: restore its record first", path)
	case errors.Is(err, context.Canceled):
		return errors.New("stopped before the end; run it again to go on")
	}
	return fmt.Errorf("import %s: %w", path, err)
}
