package cli

import (
	"bufio"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"firemode/audit"
	"firemode/collections"
	"firemode/hooks"

	"github.com/pocketbase/dbx"
	"github.com/pocketbase/pocketbase/core"
	"github.com/spf13/cobra"
)

func usersCommand(app core.App, deps Deps) *cobra.Command {
	return group("users", "Manage the accounts of people and API clients",
		`List and make accounts, switch them off and on, give them another role and end their
tokens. A running server follows at once. Every change has an entry in the audit log.
Users are named by username, e-mail address or id. Administrators of the admin UI are
others: see "firemode superuser".`,
		usersListCommand(app, deps), usersCreateCommand(app, deps),
		userChangeCommand(app, deps, userChange{
			use: "disable USER", short: "Switch an account off and end its tokens",
			long:    "Switch an account off. All its tokens end, open streams included, and it gets no new ones.\nWhat it has recorded stays.",
			example: "  firemode users disable mia", done: "disabled",
			change: func(_ Deps, _ core.App, user *core.Record, _ []string) error {
				user.Set(collections.FieldIsActive, false)
				return nil
			},
		}),
		userChangeCommand(app, deps, userChange{
			use: "enable USER", short: "Switch an account on again",
			long:    "Switch an account on again. Tokens that ended stay ended.",
			example: "  firemode users enable mia", done: "enabled",
			change: func(_ Deps, _ core.App, user *core.Record, _ []string) error {
				user.Set(collections.FieldIsActive, true)
				return nil
			},
		}),
		userChangeCommand(app, deps, userChange{
			use: "set-role USER ROLE", short: "Give an account another role", args: 1,
			long:    "Give an account another role: " + strings.Join(userRoles, ", ") + ".\nIt counts from the account's next request on.",
			example: "  firemode users set-role mia manager", done: "changed",
			change: func(_ Deps, _ core.App, user *core.Record, args []string) error {
				user.Set(collections.FieldRole, args[0])
				return nil
			},
		}),
		userChangeCommand(app, deps, userChange{
			use: "revoke USER", short: "End all tokens of an account",
			long:    "End all tokens of an account, open streams included. It may log in again.",
			example: "  firemode users revoke mia", done: "revoked",
			change: func(deps Deps, tx core.App, user *core.Record, _ []string) error {
				return deps.Tokens.RevokeAll(tx, user, "command line", "")
			},
		}))
}

// userRoles are what a user may be, in the order of the schema.
var userRoles = []string{
	collections.RoleInspector, collections.RoleManager, collections.RoleOfficer, collections.RoleOwner, collections.RoleAuditor, collections.RoleClient,
}

// listedUser is a line of users list. Names and telephone numbers are sealed and stay so.
type listedUser struct {
	ID           string `json:"id" db:"id"`
	Username     string `json:"username" db:"username"`
	Email        string `json:"email" db:"email"`
	Role         string `json:"role" db:"role"`
	Organisation string `json:"organisation" db:"organisation"`
	Active       bool   `json:"is_active" db:"is_active"`
	Pseudonym    string `json:"pseudonym" db:"-"` // that auditors read instead of the id
}

func usersListCommand(app core.App, deps Deps) *cobra.Command {
	var role string
	var asJSON bool
	c := &cobra.Command{
		Use: "list", Short: "List accounts", Args: cobra.NoArgs,
		Long: `List accounts by username, with role, organisation and whether they are switched on.
Auditors read a pseudonym in the place of the id; the last column says whose it is.`,
		Example: "  firemode users list --role officer\n  firemode users list --json",
		RunE: func(c *cobra.Command, _ []string) error {
			if err := Prepare(app, deps); err != nil {
				return err
			}
			users := []listedUser{}
			err := app.DB().NewQuery(`SELECT u.id, u.username, u.email, u.role, u.is_active, coalesce(o.name, '') AS organisation
				FROM users u LEFT JOIN organisations o ON o.id = u.organisation_id
				WHERE {:role} = '' OR u.role = {:role} ORDER BY u.username`).WithContext(c.Context()).Bind(dbx.Params{"role": role}).All(&users)
			if err != nil {
				return fmt.Errorf("list users: %w", err)
			}
			names, err := hooks.LoadPseudonyms(app)
			if err != nil {
				return err
			}
			for i := range users {
				users[i].Pseudonym = names.Of(users[i].ID)
			}
			if asJSON {
				return printJSON(c.OutOrStdout(), users)
			}
			if len(users) == 0 {
				_, err := fmt.Fprintln(c.OutOrStdout(), `no accounts; make one with "firemode users create"`)
				return err
			}
			w := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "USERNAME\tE-MAIL\tROLE\tORGANISATION\tSTATE\tID\tAUDITORS READ")
			for _, u := range users {
				state := "active"
				if !u.Active {
					state = "disabled"
				}
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", u.Username, u.Email, u.Role, u.Organisation, state, u.ID, u.Pseudonym)
			}
			return w.Flush()
		},
	}
	c.Flags().StringVar(&role, "role", "", "only accounts of this role")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func usersCreateCommand(app core.App, deps Deps) *cobra.Command {
	var username, email, role, organisation, name string
	var fromStdin, asJSON bool
	c := &cobra.Command{
		Use: "create", Short: "Make an account", Args: cobra.NoArgs,
		Long: `Make an account that can log in at once. Without --password-stdin a password is made
and printed, this once: it is stored as Argon2id only.`,
		Example: `  firemode users create --username mia --email mia@example.org --role inspector --organisation "Assured Fire"
  firemode users create --username ci --email ci@example.org --role client --organisation "Assured Fire" --password-stdin < password.txt`,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := Prepare(app, deps); err != nil {
				return err
			}
			password := rand.Text()
			if fromStdin {
				line, err := bufio.NewReader(c.InOrStdin()).ReadString('\n')
				if err != nil && !errors.Is(err, io.EOF) {
					return fmt.Errorf("read password: %w", err)
				}
				password = strings.TrimRight(line, "\r\n")
			}
			org, err := findOrganisation(app, organisation)
			if err != nil {
				return err
			}
			users, err := app.FindCollectionByNameOrId(collections.Users)
			if err != nil {
				return fmt.Errorf("find users: %w", err)
			}
			user := core.NewRecord(users)
			user.Load(map[string]any{
				collections.FieldUsername: username, collections.FieldEmail: email, "verified": true, collections.FieldRole: role,
				collections.FieldFullName: name, collections.FieldOrganisationID: org, collections.FieldIsActive: true,
			})
			user.SetPassword(password)
			if err := saveAs(app, "users create", func(tx core.App) error { return tx.Save(user) }); err != nil {
				return fmt.Errorf("make account: %w", err)
			}
			out := map[string]string{"user_id": user.Id, "username": username}
			if !fromStdin {
				out["password"] = password
			}
			if asJSON {
				return printJSON(c.OutOrStdout(), out)
			}
			fmt.Fprintf(c.OutOrStdout(), "made %s (%s)\n", username, user.Id)
			if !fromStdin {
				fmt.Fprintf(c.OutOrStdout(), "password: %s\n", password)
			}
			return nil
		},
	}
	flags := c.Flags()
	flags.StringVar(&username, "username", "", "name to log in with")
	flags.StringVar(&email, "email", "", "e-mail address, to log in with too")
	flags.StringVar(&role, "role", "", "one of "+strings.Join(userRoles, ", "))
	flags.StringVar(&organisation, "organisation", "", "name or id of the organisation")
	flags.StringVar(&name, "name", "", "full name of the person")
	flags.BoolVar(&fromStdin, "password-stdin", false, "read the password from the first line of standard input")
	flags.BoolVar(&asJSON, "json", false, "print JSON")
	for _, required := range []string{"username", "email", "role", "organisation"} {
		if err := c.MarkFlagRequired(required); err != nil {
			panic("cli: internal error: " + err.Error()) // the flags are declared above
		}
	}
	return c
}

func findOrganisation(app core.App, name string) (id string, err error) {
	err = app.DB().NewQuery(`SELECT id FROM organisations WHERE id = {:name} OR name = {:name}`).Bind(dbx.Params{"name": name}).Row(&id)
	if errors.Is(err, sql.ErrNoRows) {
		return "", fmt.Errorf("no organisation %q; make it in the admin UI", name)
	}
	if err != nil {
		return "", fmt.Errorf("find organisation: %w", err)
	}
	return id, nil
}

// userChange is a command that changes one account.
type userChange struct {
	use, short, long, example string
	args                      int    // beside the user
	done                      string // what is said afterwards
	change                    func(deps Deps, tx core.App, user *core.Record, args []string) error
}

func userChangeCommand(app core.App, deps Deps, what userChange) *cobra.Command {
	return &cobra.Command{
		Use: what.use, Short: what.short, Long: what.long, Example: what.example, Args: cobra.ExactArgs(1 + what.args),
		RunE: func(c *cobra.Command, args []string) error {
			if err := Prepare(app, deps); err != nil {
				return err
			}
			user, err := findUser(app, args[0])
			if err != nil {
				return err
			}
			err = saveAs(app, c.CommandPath(), func(tx core.App) error {
				if err := what.change(deps, tx, user, args[1:]); err != nil {
					return err
				}
				return tx.Save(user)
			})
			if err != nil {
				return fmt.Errorf("change %s: %w", args[0], err)
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "%s %s\n", what.done, user.GetString(collections.FieldUsername))
			return err
		},
	}
}

// saveAs runs fn in a transaction whose audit entries name the command.
func saveAs(app core.App, command string, fn func(tx core.App) error) error {
	return app.RunInTransaction(func(tx core.App) error {
		defer audit.Attribute(tx, audit.Actor{Role: audit.SystemRole, UserAgent: "firemode " + strings.TrimPrefix(command, "firemode ")})()
		return fn(tx)
	})
}
