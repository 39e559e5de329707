package cli

import (
	"fmt"

	"firemode/sealed"

	"github.com/spf13/cobra"
)

func keysCommand() *cobra.Command {
	generate := &cobra.Command{
		Use:   "generate",
		Short: "Print a new key for FERNET_KEY",
		Long: `Print a new random Fernet key and nothing else. The first key of FERNET_KEY seals,
all of them open: put a new key in front and keep the old ones.`,
		Example: "  firemode keys generate",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(c.OutOrStdout(), sealed.Generate())
			return err
		},
	}
	return group("keys", "Make keys for sealed fields", "Make keys for the fields that are sealed at rest (names, phones, contacts).", generate)
}
