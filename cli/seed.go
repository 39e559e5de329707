package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"

	"firemode/cli/seed"
	"firemode/merge"

	"github.com/pocketbase/pocketbase/core"
	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// errSeedProduction: every seeded account has a published password.
var errSeedProduction = errors.New("seeded accounts have a published password, so seed is refused while FIREMODE_ENV is production")

func seedCommand(app core.App, deps Deps) *cobra.Command {
	var demo, asJSON bool
	var scale int
	var number int64
	c := &cobra.Command{
		Use:   "seed",
		Short: "Fill the data directory with demonstration records",
		Long: `Store plausible records: two organisations, twelve users over all roles, 24
buildings, a year of test sessions with real conflicts between two tablets,
evidence pictures, the starter rules, defects in every state and calibration
certificates. With --scale, many buildings for load tests instead.

It brings the schema up to date first and needs no server; one may run meanwhile.
Running it again adds nothing. The same --seed gives the same records.

All accounts get one published password, which is printed at the end; therefore
the command is refused in production.`,
		Example: `  firemode seed
  firemode seed --demo --json
  firemode seed --scale 10000`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if !deps.Development {
				return errSeedProduction
			}
			if err := Prepare(app, deps); err != nil {
				return err
			}
			bar := newBar(c.ErrOrStderr(), "seeding")
			config := seed.Config{Seed: number, Now: deps.Now, Progress: bar.set}
			var report seed.Report
			var err error
			if c.Flags().Changed("scale") {
				report, err = seed.Scale(c.Context(), app, scale, config)
			} else {
				report, err = seedDemo(c.Context(), app, deps, config)
			}
			bar.finish()
			if err != nil {
				return fmt.Errorf("seed: %w", err)
			}
			if asJSON {
				return printJSON(c.OutOrStdout(), struct {
					seed.Report
					Password string `json:"password"`
				}{report, seed.DemoPassword})
			}
			return printReport(c.OutOrStdout(), report)
		},
	}
	c.Flags().BoolVar(&demo, "demo", false, "store the demonstration (the default)")
	c.Flags().IntVar(&scale, "scale", 0, "store this many buildings for load tests instead")
	c.Flags().Int64Var(&number, "seed", 1, "number that all made-up content is derived from")
	c.Flags().BoolVar(&asJSON, "json", false, "print the counts and logins as JSON")
	c.MarkFlagsMutuallyExclusive("demo", "scale")
	return c
}

// seedDemo runs the demonstration with a merge service of its own.
func seedDemo(ctx context.Context, app core.App, deps Deps, config seed.Config) (seed.Report, error) {
	service := deps.Merge(app)
	if err := service.Start(ctx); err != nil {
		return seed.Report{}, fmt.Errorf("start merging: %w", err)
	}
	defer service.Stop()
	config.Sync = func(ctx context.Context, batches []seed.Batch) error {
		return service.Do(ctx, func(b *merge.Batch) error {
			for _, sent := range batches {
				_, err := b.Append(merge.SyncRequest{
					SessionID: sent.SessionID, UserID: sent.UserID, Actor: sent.Actor,
					Prev: sent.Prev, Head: sent.Head, Lines: sent.Lines,
				})
				if err != nil {
					return err
				}
			}
			return nil
		})
	}
	return seed.Demo(ctx, app, config)
}

func printReport(out io.Writer, r seed.Report) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "records\tadded\ttotal\t")
	for _, c := range r.Counts {
		fmt.Fprintf(w, "%s\t%d\t%d\t\n", c.Collection, c.Added, c.Total)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if r.Added == 0 {
		fmt.Fprintln(out, "\nEverything was there already; nothing was added.")
	}
	fmt.Fprintf(out, "\nLogins, all with the password %s (development only):\n", seed.DemoPassword)
	w = tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, l := range r.Logins {
		fmt.Fprintf(w, "  %s\t%s\t%s\n", l.Identity, l.Role, l.Where)
	}
	return w.Flush()
}

// bar shows progress on a terminal, and nothing elsewhere.
type bar struct{ *progressbar.ProgressBar }

// barInterval: a terminal redrawn more often only costs time.
const barInterval = 100 * time.Millisecond

func newBar(w io.Writer, what string) *bar {
	if f, ok := w.(*os.File); !ok || !term.IsTerminal(int(f.Fd())) {
		return &bar{}
	}
	return &bar{progressbar.NewOptions(1, progressbar.OptionSetWriter(w), progressbar.OptionSetDescription(what),
		progressbar.OptionShowCount(), progressbar.OptionSetPredictTime(true), progressbar.OptionThrottle(barInterval),
		progressbar.OptionSetRenderBlankState(true), progressbar.OptionClearOnFinish())}
}

// set shows done of total. The bar is decoration: its errors are nobody's business.
func (b *bar) set(done, total int) {
	if b.ProgressBar == nil {
		return
	}
	if b.GetMax() != total {
		b.ChangeMax(total)
	}
	_ = b.Set(done)
}

func (b *bar) finish() {
	if b.ProgressBar != nil {
		_ = b.Finish()
	}
}
