package cli_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"firemode/collections"
	"firemode/internal/testapp"

	"github.com/pocketbase/pocketbase/core"
)

func sha256Hex(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// users stores one active and one disabled user.
func users(t *testing.T, app core.App) {
	t.Helper()
	save := func(name string, values map[string]any) *core.Record {
		c, err := app.FindCollectionByNameOrId(name)
		if err != nil {
			t.Fatal(err)
		}
		r := core.NewRecord(c)
		r.Load(values)
		if name == collections.Users {
			r.SetPassword("correct horse battery")
		}
		if err := app.Save(r); err != nil {
			t.Fatalf("save %s: %v", name, err)
		}
		return r
	}
	org := save(collections.Organisations, map[string]any{"name": "Assured Fire", "kind": "contractor"}).Id
	for id, name := range map[string]string{collections.DemoUserID: "demo", "": "retired"} {
		values := map[string]any{"username": name, "email": name + "@firemode.test", "role": "manager", "organisation_id": org, "is_active": name == "demo"}
		if id != "" {
			values["id"] = id
		}
		save(collections.Users, values)
	}
}

// The token command works beside a running server, which accepts the token.
func TestTokenIsAccepted(t *testing.T) {
	t.Parallel()
	p := newProgram(t)
	p.mustRun(t, "migrate", "up")
	users(t, p.app)
	url := testapp.Serve(t, p.app)
	for _, name := range []string{"demo", "demo@firemode.test", collections.DemoUserID} {
		out, errs, err := p.run("token", "--user", name, "--ttl", "24h")
		if err != nil || errs != "" {
			t.Fatalf("token --user %s: %v, on standard error %q", name, err, errs)
		}
		token, rest, _ := strings.Cut(out, "\n")
		if strings.Count(token, ".") != 2 || rest != "" {
			t.Errorf("standard output: got %q, want one token and a line feed", out)
		}
		if got := status(t, url, token); got != http.StatusOK {
			t.Errorf("a request with the token of %s: got %d, want 200", name, got)
		}
	}
	if got := status(t, url, "x.y.z"); got == http.StatusOK {
		t.Error("a request with a made-up token: got 200")
	}

	var answer map[string]string
	if err := json.Unmarshal([]byte(p.mustRun(t, "token", "--user", "demo", "--ttl", "90m", "--json")), &answer); err != nil {
		t.Fatal(err)
	}
	expires, err := time.Parse(time.RFC3339, answer["expires_at"])
	if left := time.Until(expires); err != nil || left < 85*time.Minute || left > 91*time.Minute || answer["user_id"] != collections.DemoUserID {
		t.Errorf("--json: got %v, want 90 minutes for the demo user", answer)
	}
	var entries int
	if err := p.app.DB().NewQuery("SELECT count(*) FROM audit_log WHERE action = 'issue_token' AND user_agent = 'firemode token'").Row(&entries); err != nil || entries != 4 {
		t.Errorf("audit entries: got %d (%v), want 4", entries, err)
	}
}

func status(t *testing.T, url, token string) int {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, url+"/api/collections/users/records/"+collections.DemoUserID, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	return res.StatusCode
}

func TestTokenOfADisabledUserIsRefused(t *testing.T) {
	t.Parallel()
	p := newProgram(t)
	users(t, p.app)
	out, _, err := p.run("token", "--user", "retired")
	if err == nil || !strings.Contains(err.Error(), "not active") || out != "" {
		t.Errorf("got %q and %v, want it refused", out, err)
	}
}
