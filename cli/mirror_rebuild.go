package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"firemode/pgsync"

	"github.com/pocketbase/pocketbase/core"
	"github.com/spf13/cobra"
)

var (
	errRebuildUnsure = errors.New("all mirrored rows of this database are deleted from PostgreSQL's tables and written again; reports are incomplete meanwhile; say --yes when that is wanted")
	errNobodyFeeds   = errors.New("no server feeds the mirror: start firemode serve, then rebuild; nothing was changed")
)

// rebuilt is the answer of mirror rebuild.
type rebuilt struct {
	pgsync.Comparison
	Position int64 `json:"position"`
	Dropped  bool  `json:"dropped"`
	Done     bool  `json:"done"`
}

func mirrorRebuildCommand(app core.App, deps Deps) *cobra.Command {
	var asJSON, drop, sure bool
	c := &cobra.Command{
		Use:   "rebuild",
		Short: "Make every table in PostgreSQL anew",
		Long: `Have the running server compare every table with SQLite and repair what differs, or
with --drop empty the tables first and fill them again. Both databases stay in use; until
a table is complete, reports lack rows, and "firemode mirror status" says so. The journal,
the history and the rows of other databases in the same PostgreSQL stay as they are.
It waits until all is done. When it is interrupted the server goes on, also after a
restart; call it again to follow. Schemas or tables that were dropped by hand come back.`,
		Example: "  firemode mirror rebuild\n  firemode mirror rebuild --drop --yes",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			switch {
			case deps.MirrorDSN == "":
				return errMirrorOff
			case drop && !sure:
				return errRebuildUnsure
			}
			if err := Prepare(app, deps); err != nil {
				return err
			}
			if err := awaitFed(c.Context(), app, deps); err != nil {
				return err
			}
			order, err := orderRebuild(c.Context(), app, deps, drop)
			if err != nil {
				return err
			}
			bar := newBar(c.ErrOrStderr(), "rows")
			err = awaitReconciled(c.Context(), app, deps, reconciled{Tables: order.Tables, Position: order.Position}, func(int) {
				if run, ok, err := findRun(c.Context(), app, deps, order.Run); err == nil && ok {
					bar.set(int(run.Rows), int(max(order.Rows, run.Rows)))
				}
			})
			bar.finish()
			if err != nil {
				return err
			}
			run, ok, err := findRun(c.Context(), app, deps, order.Run)
			switch {
			case err != nil:
				return err
			case !ok || run.Open > 0:
				return errors.New("another comparison of these tables took the place of this one; firemode mirror status shows it")
			}
			done := rebuilt{run, order.Position, drop, true}
			if asJSON {
				return printJSON(c.OutOrStdout(), done)
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "%d tables with %d rows are complete; %d rows differed, %d of them are repaired\n", done.Tables, done.Rows, done.Diffs, done.Repaired)
			return err
		},
	}
	c.Flags().BoolVar(&drop, "drop", false, "empty the tables first")
	c.Flags().BoolVar(&sure, "yes", false, "I know that reports are incomplete until it is done")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// awaitFed waits for a server that feeds the mirror: without one nothing may be ordered, least of all that tables are
// emptied at some later start.
func awaitFed(ctx context.Context, app core.App, deps Deps) error {
	tick := time.NewTicker(reconcilePoll)
	defer tick.Stop()
	for end := time.Now().Add(reconcilePatience); ; {
		st, err := pgsync.ReadStatus(ctx, app, deps.MirrorDSN)
		if err != nil {
			return fmt.Errorf("read the mirror's status: %w", err)
		}
		switch problem := mirrorProblem(st); {
		case st.State == pgsync.StateLive, st.State == pgsync.StateResync:
			return nil
		case time.Now().Before(end):
		case problem != nil:
			return problem
		default:
			return errNobodyFeeds
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// orderRebuild orders a rebuild, or finds the one that is under way.
func orderRebuild(ctx context.Context, app core.App, deps Deps, drop bool) (pgsync.Rebuilt, error) {
	list, err := pgsync.Comparisons(ctx, app, deps.MirrorDSN)
	if err != nil {
		return pgsync.Rebuilt{}, err
	}
	if at := slices.IndexFunc(list, func(c pgsync.Comparison) bool { return c.Mode == pgsync.ModeRebuild && c.Open > 0 }); at >= 0 {
		return pgsync.Rebuilt{Run: list[at].Run, Tables: make([]string, list[at].Tables), Rows: list[at].Rows}, nil
	}
	r, err := pgsync.Rebuild(app, pgsync.Mirrored(), drop)
	if err != nil {
		return r, fmt.Errorf("rebuild: %w", err)
	}
	return r, nil
}

func findRun(ctx context.Context, app core.App, deps Deps, run string) (pgsync.Comparison, bool, error) {
	list, err := pgsync.Comparisons(ctx, app, deps.MirrorDSN)
	if err != nil {
		return pgsync.Comparison{}, false, err
	}
	for _, c := range list {
		if c.Run == run {
			return c, true, nil
		}
	}
	return pgsync.Comparison{}, false, nil
}
