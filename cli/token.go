package cli

import (
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"firemode/audit"
	"firemode/collections"

	"github.com/pocketbase/dbx"
	"github.com/pocketbase/pocketbase/core"
	"github.com/spf13/cobra"
)

// Bounds of a token from the command line. A longer one should be an account of
// the role client with its own password.
const (
	tokenMinTTL     = time.Minute
	tokenMaxTTL     = 30 * 24 * time.Hour
	tokenDefaultTTL = 24 * time.Hour
)

func tokenCommand(app core.App, deps Deps) *cobra.Command {
	var user string
	var ttl time.Duration
	var asJSON bool
	c := &cobra.Command{
		Use:   "token",
		Short: "Print a token for a user",
		Long: `Print a token for the API and nothing else, for scripts and for trying things out.
A running server accepts it at once. It can be revoked like any other token, dies
with its user's account and cannot be prolonged.

The user is named by username, e-mail address or id; "demo" is the demonstration
user that "firemode seed" makes.`,
		Example: `  firemode token --user demo --ttl 24h
  curl -H "Authorization: Bearer $(firemode token --user demo)" http://127.0.0.1:5000/v1/buildings`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if ttl < tokenMinTTL || ttl > tokenMaxTTL {
				return fmt.Errorf("--ttl %s: must be %s to %s", ttl, hours(tokenMinTTL), hours(tokenMaxTTL))
			}
			if err := Prepare(app, deps); err != nil {
				return err
			}
			record, err := findUser(app, user)
			if err != nil {
				return err
			}
			if !record.GetBool(collections.FieldIsActive) {
				return fmt.Errorf("user %q is not active; no token is issued for a disabled account", user)
			}
			token, expires, err := deps.Tokens.Issue(app, record, ttl)
			if err != nil {
				return fmt.Errorf("issue a token for %q: %w", user, err)
			}
			if err := recordToken(app, record, expires); err != nil {
				return err
			}
			if asJSON {
				return printJSON(c.OutOrStdout(), map[string]string{
					"token": token, "user_id": record.Id, collections.FieldUsername: record.GetString(collections.FieldUsername),
					collections.FieldRole: record.GetString(collections.FieldRole), "expires_at": expires.UTC().Format(time.RFC3339),
				})
			}
			_, err = fmt.Fprintln(c.OutOrStdout(), token)
			return err
		},
	}
	c.Flags().StringVar(&user, "user", "", "username, e-mail address or id")
	c.Flags().DurationVar(&ttl, "ttl", tokenDefaultTTL, "how long the token is valid, such as 90m or 24h")
	c.Flags().BoolVar(&asJSON, "json", false, "print the token with its user and expiry as JSON")
	if err := c.MarkFlagRequired("user"); err != nil {
		panic("cli: internal error: " + err.Error()) // the flag is declared above
	}
	return c
}

// hours writes a duration without zero parts: 720h0m0s is 720h.
func hours(d time.Duration) string {
	return strings.TrimSuffix(strings.TrimSuffix(d.String(), "0s"), "0m")
}

// findUser finds a user by username, e-mail address or id.
func findUser(app core.App, name string) (*core.Record, error) {
	record := &core.Record{}
	field := collections.FieldUsername
	switch {
	case strings.Contains(name, "@"):
		field = core.FieldNameEmail
	case len(name) == len(collections.DemoUserID) && strings.Count(name, "-") == strings.Count(collections.DemoUserID, "-"):
		field = collections.FieldID
	}
	err := app.RecordQuery(collections.Users).AndWhere(dbx.HashExp{field: name}).Limit(1).One(record)
	if errors.Is(err, sql.ErrNoRows) {
		hint := ""
		if name == demoUsername {
			hint = `; make it with "firemode seed"`
		}
		return nil, fmt.Errorf("no user with the %s %q%s", field, name, hint)
	}
	if err != nil {
		return nil, fmt.Errorf("find user: %w", err)
	}
	return record, nil
}

const demoUsername = "demo"

// recordToken leaves an entry in the audit log: a token is as good as a login.
func recordToken(app core.App, record *core.Record, expires time.Time) error {
	return saveAs(app, "token", func(tx core.App) error {
		_, err := audit.Append(tx, audit.Entry{
			Action: "issue_token", ResourceType: collections.Users, ResourceID: record.Id,
			New: map[string]any{"expires_at": expires.UTC().Format(time.RFC3339)},
		})
		return err
	})
}
