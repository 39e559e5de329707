package cli

import (
	"errors"
	"fmt"
	"text/tabwriter"

	"firemode/hooks"
	"firemode/sealed"

	"github.com/pocketbase/pocketbase/core"
	"github.com/spf13/cobra"
)

// errUnreadable ends keys list and keys rotate when a value opens with no key.
var errUnreadable = errors.New("some values open with no key: put the key they were sealed with back at the end of FERNET_KEY, or restore them from a backup")

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
		Long: `Open every sealed value and count, for each field, how many are sealed with which
key of FERNET_KEY. Keys are named by a fingerprint, in the order of FERNET_KEY. A
key with no values left may be removed. Nothing is changed.`,
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
		"Make, count and change the keys of the fields that are sealed at rest (names, phones, contacts).", generate, list, rotate)
}

// keyCount is one field's values under one key.
type keyCount struct {
	Collection string   `json:"collection"`
	Field      string   `json:"field"`
	Key        string   `json:"key"` // fingerprint; empty for values that no key opens
	Values     int      `json:"values"`
	Records    []string `json:"records,omitempty"` // ids of the first unreadable ones
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
			counts = append(counts, keyCount{Collection: f.Collection, Field: f.Field, Values: f.Unreadable, Records: f.UnreadableIDs})
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
