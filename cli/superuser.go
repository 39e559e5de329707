package cli

import (
	"github.com/pocketbase/pocketbase/cmd"
	"github.com/pocketbase/pocketbase/core"
	"github.com/spf13/cobra"
)

// superuserCommand is PocketBase's own command, on a directory that has been
// brought up to date first: it expects the database to be open.
func superuserCommand(app core.App, deps Deps) *cobra.Command {
	c := cmd.NewSuperuserCommand(app)
	c.Short = "Manage administrators of the admin UI"
	c.Long = `Make, change and remove the accounts that log in to the admin UI (/_/).

Passwords are stored as Argon2id. A new account has every right; give it the role
officer or auditor in the admin UI to let it only read.`
	c.Example = `  firemode superuser create admin@example.com a-long-password
  firemode superuser upsert admin@example.com another-long-password`
	c.PersistentPreRunE = func(*cobra.Command, []string) error { return Prepare(app, deps) }
	return c
}
