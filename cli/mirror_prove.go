package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"

	"firemode/audit"
	"firemode/pgsync"

	"github.com/pocketbase/pocketbase/core"
	"github.com/spf13/cobra"
)

// proofMaxBytes bounds the file that check-proof reads: the largest row and what leads from it to the root.
const proofMaxBytes = 256 << 20

// sealRun compares everything, has the outcome stored in PostgreSQL, and appends it to the audit log. The entry is a change
// like any other: it comes after the position that was compared.
func sealRun(ctx context.Context, app core.App, dsn string) (pgsync.Report, error) {
	r, err := pgsync.VerifySealed(ctx, app, dsn)
	if err != nil {
		return r, err
	}
	err = saveAs(app, "mirror verify --sealed", func(tx core.App) error {
		_, err := audit.Append(tx, audit.Entry{
			Action: "verify_mirror", ResourceType: "mirror", ResourceID: r.Run,
			New: map[string]any{
				"equal": r.Equal, "source_id": r.SourceID, "epoch": r.Epoch, "seq": r.Position, "rows": r.Rows,
				"quarantined": r.Quarantined, "differing": r.Differing, "source_root": r.SourceRoot, "mirror_root": r.MirrorRoot,
			},
		})
		return err
	})
	if err != nil {
		return r, fmt.Errorf("record run %s: %w", r.Run, err)
	}
	return r, nil
}

func mirrorProveCommand(app core.App, deps Deps) *cobra.Command {
	var run string
	var timeout time.Duration
	c := &cobra.Command{
		Use:   "prove <table> <id>",
		Short: "Prove that a row was in a sealed run",
		Long: `Print a proof that the row, with exactly the values it has now, was there when
"firemode mirror verify --sealed" found both databases equal. Whoever holds the root of
that run can check the proof without any database: firemode mirror check-proof.
Sealed values appear as ciphertext. Without --run it is the newest run that was equal.
Rows that were added since do no harm; when a row of the table was changed or deleted
since, that run can prove nothing of it any more, and a fresh one is needed.`,
		Example: "  firemode mirror prove defects 0192f0c1-2b3c-7d4e-8f50-616263646566 > proof.json",
		Args:    cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			if deps.MirrorDSN == "" {
				return errMirrorOff
			}
			if err := Prepare(app, deps); err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(c.Context(), timeout)
			defer cancel()
			p, err := pgsync.Prove(ctx, app, deps.MirrorDSN, args[0], args[1], run)
			if err != nil {
				return err
			}
			file, err := p.Encode()
			if err != nil {
				return err
			}
			_, err = c.OutOrStdout().Write(file)
			return err
		},
	}
	c.Flags().StringVar(&run, "run", "", "the sealed run, by its id")
	c.Flags().DurationVar(&timeout, "timeout", verifyDefaultTimeout, "give up after this long")
	c.Flags().Bool("json", true, "a proof is always JSON")
	return c
}

func mirrorCheckProofCommand() *cobra.Command {
	var root string
	var asJSON bool
	c := &cobra.Command{
		Use:   "check-proof <file>",
		Short: "Check a proof, without any database",
		Long: `Check that a file is a proof as "firemode mirror prove" printed it, and print what it
proves. It reads that file and nothing else; "-" is the standard input. Give the root
that you hold as --root; without it, compare the root that is printed. Any other byte in
the file is an error.`,
		Example: "  firemode mirror check-proof proof.json --root 5f1c…\n  firemode mirror check-proof - --json < proof.json",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			file, err := readProof(c.InOrStdin(), args[0])
			if err != nil {
				return fmt.Errorf("read proof: %w", err)
			}
			p, err := pgsync.CheckProof(file)
			if err != nil {
				return err
			}
			if root != "" && root != p.Root {
				return fmt.Errorf("the proof is sound, but for another root: %s", p.Root)
			}
			if asJSON {
				return printJSON(c.OutOrStdout(), p)
			}
			return printProof(c.OutOrStdout(), p, root != "")
		},
	}
	c.Flags().StringVar(&root, "root", "", "the root of the run, in hexadecimal, from a source that you trust")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func readProof(in io.Reader, name string) ([]byte, error) {
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	return io.ReadAll(io.LimitReader(in, proofMaxBytes))
}

func printProof(out io.Writer, p pgsync.Proof, trusted bool) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "row\t%s %s\n", p.Table, p.ID)
	fmt.Fprintf(w, "run\t%s at change %d of epoch %d\n", p.Run, p.Seq, p.Epoch)
	fmt.Fprintf(w, "source\t%s\n", p.SourceID)
	fmt.Fprintf(w, "place\t%d of %d rows\n", p.RowIndex+1, p.Rows)
	fmt.Fprintf(w, "root\t%s\n", p.Root)
	for _, cell := range p.Cells {
		value := "NULL"
		if cell.Value != nil {
			value = fmt.Sprintf("%q", *cell.Value)
		}
		fmt.Fprintf(w, "%s\t%s\n", cell.Column, value)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	verdict := "proved, when the root above is that of the run"
	if trusted {
		verdict = "proved"
	}
	_, err := fmt.Fprintln(out, verdict)
	return err
}
