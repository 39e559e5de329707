package cli

import (
	"errors"
	"fmt"
	"io"
	"text/tabwriter"

	"firemode/hooks"
	"firemode/sealed"

	"github.com/pocketbase/pocketbase/core"
	"github.com/spf13/cobra"
)

// errUnreadable ends keys list, rotate and verify when a value does not open.
var errUnreadable = errors.New("some values do not open: put the key they were sealed with back at the end of FERNET_KEY, or restore them from a backup; firemode keys verify names them")

// errDamaged ends keys verify when every value opens and something else is wrong.
var errDamaged = errors.New("some blind indexes are wrong, so that a search misses values: restore the records from a backup, or save the values anew")

func keysCommand(app core.App, deps Deps) *cobra.Command {
	generate := &cobra.Command{
		Use:   "generate",
		Short: "Print a new key for FERNET_KEY",
		Long: `Print a new random Fernet key and nothing else. The first key of FERNET_KEY seals,
all of them open: put a new key in front and keep the old ones until
"firemode keys rotate" is done.`,
		Example: "  firemode keys generate",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(c.OutOrStdout(), sealed.Generate())
			return err
		},
	}

	var asJSON bool
	list := &cobra.Command{
		Use:   "list",
		Short: "Count the sealed values under each key",
		Long: `Count, for each sealed field, how many values are sealed with which key of
FERNET_KEY. Keys are named by a fingerprint, in the order of FERNET_KEY. A key with no
values left may be removed. "firemode keys verify" says which values are unreadable.
Nothing is changed.`,
		Example: "  firemode keys list\n  firemode keys list --json",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := Prepare(app, deps); err != nil {
				return err
			}
			return listKeys(c, app, deps.Keys, asJSON)
		},
	}
	list.Flags().BoolVar(&asJSON, "json", false, "print JSON")

	rotate := &cobra.Command{
		Use:   "rotate",
		Short: "Seal every value anew with the first key",
		Long: `Seal every value that is not sealed with the first key of FERNET_KEY anew, and
count the values under each key afterwards. It works while a server runs with the
same FERNET_KEY, may be stopped at any time and goes on when it is run again: a
value is replaced only when nobody has changed it meanwhile.`,
		Example: "  firemode keys rotate",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := Prepare(app, deps); err != nil {
				return err
			}
			n, err := hooks.ResealAll(c.Context(), app, deps.Keys, func(changed int) {
				fmt.Fprintf(c.ErrOrStderr(), "\rsealed anew: %d", changed)
			})
			if err != nil {
				return fmt.Errorf("seal anew: %w", err)
			}
			fmt.Fprintf(c.ErrOrStderr(), "\rsealed anew: %d\n", n)
			return listKeys(c, app, deps.Keys, false)
		},
	}
	return group("keys", "Make and change the keys of sealed fields",
		"Make, count and change the keys of the fields that are sealed at rest (names, phones, contacts).",
		generate, list, rotate, verifyKeysCommand(app, deps), forgetKeysCommand(app, deps))
}

func verifyKeysCommand(app core.App, deps Deps) *cobra.Command {
	var asJSON bool
	verify := &cobra.Command{
		Use:   "verify",
		Short: "Open every sealed value and check its blind index",
		Long: `Open every sealed value with the keys of FERNET_KEY: it must be as it was written, be
sealed for the record and the field it stands in, and its blind index must be that of
the value. Whatever is not is named by record and field, never by its value, and is an
error. A server may run meanwhile. Nothing is changed.`,
		Example: "  firemode keys verify\n  firemode keys verify --json",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := Prepare(app, deps); err != nil {
				return err
			}
			bar := newBar(c.ErrOrStderr(), "sealed values")
			report, err := hooks.VerifySealed(c.Context(), app, deps.Keys, bar.set)
			bar.finish()
			if err != nil {
				return fmt.Errorf("verify sealed values: %w", err)
			}
			if asJSON {
				err = printJSON(c.OutOrStdout(), report)
			} else {
				err = printSealed(c.OutOrStdout(), report)
			}
			switch {
			case report.Unreadable > 0:
				err = errors.Join(err, errUnreadable)
			case report.Bad > 0:
				err = errors.Join(err, errDamaged)
			}
			return err
		},
	}
	verify.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return verify
}

func printSealed(out io.Writer, r hooks.SealedReport) error {
	_, err := fmt.Fprintf(out, "%d of %d sealed values are as they were written\n", r.Values-r.Bad, r.Values)
	for _, f := range r.Findings {
		if err == nil {
			_, err = fmt.Fprintf(out, "%s.%s of %s: %s\n", f.Collection, f.Field, f.Record, f.Reason)
		}
	}
	if more := r.Bad - len(r.Findings); more > 0 && err == nil {
		_, err = fmt.Fprintf(out, "and %d more\n", more)
	}
	return err
}

func forgetKeysCommand(app core.App, deps Deps) *cobra.Command {
	return &cobra.Command{
		Use:   "forget <fingerprint>...",
		Short: "Accept that keys are lost, with what only they open",
		Long: `A server does not start when FERNET_KEY lacks a key that values are sealed with; it
names the fingerprint. When that key is lost for good, this command lets it start
nevertheless. The values stay as they are and open again should the key be found; until
then reading their records is answered with an error.`,
		Example: "  firemode keys forget 1f2e3d4c",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, ids []string) error {
			if err := Prepare(app, deps); err != nil {
				return err
			}
			if err := hooks.ForgetKeys(app, ids); err != nil {
				return fmt.Errorf("forget keys: %w", err)
			}
			return nil
		},
	}
}

// keyCount is one field's values under one key.
type keyCount struct {
	Collection string `json:"collection"`
	Field      string `json:"field"`
	Key        string `json:"key"` // fingerprint; empty for values that do not open
	Values     int    `json:"values"`
}

func listKeys(c *cobra.Command, app core.App, ring *sealed.Keyring, asJSON bool) error {
	fields, err := hooks.CountSealed(c.Context(), app, ring)
	if err != nil {
		return fmt.Errorf("count sealed values: %w", err)
	}
	var counts []keyCount
	var problem error
	for _, f := range fields {
		for _, key := range ring.KeyIDs() {
			counts = append(counts, keyCount{Collection: f.Collection, Field: f.Field, Key: key, Values: f.ByKey[key]})
		}
		if f.Unreadable > 0 {
			problem = errUnreadable
			counts = append(counts, keyCount{Collection: f.Collection, Field: f.Field, Values: f.Unreadable})
		}
	}
	if asJSON {
		return errors.Join(printJSON(c.OutOrStdout(), counts), problem)
	}
	w := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "field\tkey\tvalues")
	for _, n := range counts {
		key := n.Key
		if key == "" {
			key = "unreadable"
		}
		fmt.Fprintf(w, "%s.%s\t%s\t%d\n", n.Collection, n.Field, key, n.Values)
	}
	return errors.Join(w.Flush(), problem)
}
