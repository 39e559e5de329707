package cli_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"firemode/collections"
	"firemode/hooks"
	"firemode/internal/testapp"

	"github.com/pocketbase/dbx"
)

// An account is made, logs in at a running server, changes its role and is switched off there
// at once; every act is in the audit log on the account of the command.
func TestUsers(t *testing.T) {
	t.Parallel()
	p := newProgram(t)
	p.mustRun(t, "migrate", "up")
	users(t, p.app)
	url := testapp.Serve(t, p.app)
	var made struct {
		UserID   string `json:"user_id"`
		Password string `json:"password"`
	}
	out := p.mustRun(t, "users", "create", "--username", "mia", "--email", "mia@example.org", "--role", "inspector", "--organisation", "Assured Fire", "--name", "Mia Chen", "--json")
	if err := json.Unmarshal([]byte(out), &made); err != nil || made.UserID == "" || len(made.Password) < 20 {
		t.Fatalf("create: got %s (%v)", out, err)
	}
	status := func(want int) {
		t.Helper()
		body := fmt.Sprintf(`{"identity":"mia","password":%q}`, made.Password)
		res, err := http.Post(url+"/api/collections/users/auth-with-password", "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("login: got %d, want %d", res.StatusCode, want)
		}
	}
	status(200)
	if out := p.mustRun(t, "users", "list", "--role", "inspector"); !strings.Contains(out, "mia@example.org") || strings.Contains(out, "demo") || strings.Contains(out, "Chen") {
		t.Errorf("list: got %s, want mia alone, without her name", out)
	}
	if out := p.mustRun(t, "users", "set-role", "mia", "manager"); out != "changed mia\n" {
		t.Errorf("set-role: got %q", out)
	}
	p.mustRun(t, "users", "revoke", "mia@example.org")
	p.mustRun(t, "users", "disable", made.UserID)
	status(403)
	var listed []struct {
		ID        string
		Username  string
		Role      string
		Active    bool `json:"is_active"`
		Pseudonym string
	}
	if err := json.Unmarshal([]byte(p.mustRun(t, "users", "list", "--json")), &listed); err != nil || len(listed) != 3 || listed[1].Username != "mia" || listed[1].Role != "manager" || listed[1].Active {
		t.Errorf("list --json: got %+v (%v)", listed, err)
	}
	if names, err := hooks.LoadPseudonyms(p.app); err != nil || listed[1].Pseudonym != names.Of(listed[1].ID) {
		t.Errorf("pseudonym of %s: got %s (%v)", listed[1].ID, listed[1].Pseudonym, err)
	}
	p.mustRun(t, "users", "enable", "mia")
	status(200)
	var entries int
	err := p.app.DB().NewQuery(`SELECT count(*) FROM audit_log WHERE resource_id = {:id} AND user_agent LIKE 'firemode users%' AND action IN ('create','update','revoke_all_tokens')`).
		Bind(dbx.Params{"id": made.UserID}).Row(&entries)
	if err != nil || entries < 5 {
		t.Errorf("audit log: got %d entries of the commands (%v), want one for each act", entries, err)
	}
	for name, args := range map[string][]string{
		"unknown role":         {"users", "set-role", "mia", "boss"},
		"unknown user":         {"users", "disable", "nobody"},
		"unknown organisation": {"users", "create", "--username", "x", "--email", "x@example.org", "--role", "client", "--organisation", "Nowhere"},
		"taken name":           {"users", "create", "--username", "mia", "--email", "y@example.org", "--role", "client", "--organisation", "Assured Fire"},
		"no role":              {"users", "create", "--username", "z", "--email", "z@example.org", "--organisation", "Assured Fire"},
	} {
		if out, errs, err := p.run(args...); err == nil || strings.Contains(out+errs, "goroutine") {
			t.Errorf("%s: got %q %q, want an error", name, out, errs)
		}
	}
	var role string
	if err := p.app.DB().Select(collections.FieldRole).From(collections.Users).Where(dbx.HashExp{"username": "mia"}).Row(&role); err != nil || role != "manager" {
		t.Errorf("after refused changes: got role %s (%v), want manager", role, err)
	}
}
