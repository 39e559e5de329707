package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/pocketbase/pocketbase/core"
	"github.com/spf13/cobra"
)

// errExportWhat keeps a slip of the finger from printing every log on a terminal.
var errExportWhat = errors.New("name the sessions to export, or say --all")

func sessionsExportCommand(app core.App, deps Deps) *cobra.Command {
	var all bool
	var output string
	c := &cobra.Command{
		Use:   "export [SESSION…]",
		Short: "Write operation logs to a file",
		Long: `Write the operation logs of sessions as lines of JSON: for each session a header
with its authors, every operation byte for byte as its author wrote it, and a
check sum. A log that does not verify is not exported. Anybody can check the file
with "firemode sessions import --check". A server may run meanwhile.

The file holds what people recorded and the ids of who did: keep it accordingly.`,
		Example: `  firemode sessions export --all --output logs.ndjson
  firemode sessions export 0199a3f2-b1c4-7000-8000-000000000000 > log.ndjson`,
		Args: cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, ids []string) error {
			if all == (len(ids) > 0) {
				return errExportWhat
			}
			if err := Prepare(app, deps); err != nil {
				return err
			}
			ids, err := orAllSessions(c, app, ids)
			if err != nil {
				return err
			}
			write := func(out io.Writer) error { return exportSessions(c, app, deps, ids, out) }
			if output == "" {
				return write(c.OutOrStdout())
			}
			return writeWhole(output, write)
		},
	}
	c.Flags().BoolVar(&all, "all", false, "export every session")
	c.Flags().StringVarP(&output, "output", "o", "", "write to this file, which appears when it is complete")
	return c
}

func exportSessions(c *cobra.Command, app core.App, deps Deps, ids []string, out io.Writer) error {
	service := deps.Merge(app)
	bar := newBar(c.ErrOrStderr(), "sessions")
	defer bar.finish()
	var ops int64
	for i, id := range ids {
		bar.set(i, len(ids))
		n, err := service.Export(c.Context(), id, out)
		if err != nil {
			return sessionError(id, err)
		}
		ops += n
	}
	bar.finish()
	fmt.Fprintf(c.ErrOrStderr(), "exported %d operations of %d sessions\n", ops, len(ids))
	return nil
}

// writeWhole writes a file under another name and renames it when it is complete and on
// disk, so that a file of that name is never half a one.
func writeWhole(path string, write func(io.Writer) error) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("make the file: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close(), os.Remove(f.Name()))
		}
	}()
	if err := write(f); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("write the file: %w", err)
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("write the file: %w", err)
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return errors.Join(fmt.Errorf("name the file: %w", err), os.Remove(f.Name()))
	}
	return nil
}
