package cli_test

import (
	"context"
	"strings"
	"testing"

	"firemode/collections"
	"firemode/merge"

	"github.com/pocketbase/pocketbase/core"
)

// visit makes a session in which anna and ben recorded different results for one item.
func (p program) visit(t testing.TB) string {
	t.Helper()
	org := p.add(t, collections.Organisations, map[string]any{"name": "Assured Fire", "kind": "contractor"})
	building := p.add(t, collections.Buildings, map[string]any{
		"name": "Harbour Tower", "address": "1 Quay St", "building_type": "5", "organisation_id": org, "compliance_status": "pending",
	})
	session := p.add(t, collections.TestSessions, map[string]any{"building_id": building, "session_name": "Annual"})
	service := p.deps.Merge(p.app)
	if err := service.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer service.Stop()
	for user, value := range map[string]string{"anna": `"pass"`, "ben": `"fail"`} {
		err := service.Do(t.Context(), func(b *merge.Batch) error {
			_, err := b.Change(merge.ChangeRequest{SessionID: session, UserID: user, Device: user + "'s tablet", Changes: []merge.Change{
				{Op: merge.OpSet, Path: "items/FE-001/result", Value: []byte(value)},
			}})
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return session
}

func (p program) add(t testing.TB, collection string, values map[string]any) string {
	t.Helper()
	c, err := p.app.FindCollectionByNameOrId(collection)
	if err != nil {
		t.Fatal(err)
	}
	r := core.NewRecord(c)
	r.Load(values)
	if err := p.app.Save(r); err != nil {
		t.Fatal(err)
	}
	return r.Id
}

// damage changes stored rows past the triggers that keep everybody else from it.
func (p program) damage(t testing.TB, statements ...string) {
	t.Helper()
	for _, sql := range statements {
		if _, err := p.app.NonconcurrentDB().NewQuery(sql).WithContext(context.Background()).Execute(); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
}

func TestSessionsVerify(t *testing.T) {
	t.Parallel()
	p := newProgram(t)
	if out := p.mustRun(t, "sessions", "verify"); !strings.Contains(out, "0 of 0 sessions") {
		t.Errorf("no sessions: got %q", out)
	}
	session := p.visit(t)
	if out := p.mustRun(t, "sessions", "verify"); !strings.Contains(out, "1 of 1 sessions are what their logs say; 2 operations read") {
		t.Errorf("verify: got %q", out)
	}
	if out := p.mustRun(t, "sessions", "verify", session, "--json"); !strings.Contains(out, `"session_id": "`+session) || strings.Contains(out, "finding") {
		t.Errorf("verify --json: got %s", out)
	}
	p.damage(t, "INSERT INTO crdt_docs (key, n) VALUES ('0199a3f2-b1c4-7000-8000-00000000000f', 1)")
	if out, _, err := p.run("sessions", "verify"); err == nil || !strings.Contains(out, "0199a3f2-b1c4-7000-8000-00000000000f") || !strings.Contains(out, "is gone") {
		t.Errorf("a log without its session: got %q, %v", out, err)
	}
	p.damage(t, "DELETE FROM crdt_docs WHERE key = '0199a3f2-b1c4-7000-8000-00000000000f'")
	p.damage(t, "DROP TRIGGER crdt_ops_no_update", "UPDATE crdt_ops SET line = CAST(replace(line, 'pass', 'fail') AS BLOB)")
	out, _, err := p.run("sessions", "verify")
	if err == nil || !strings.Contains(err.Error(), "operation log") || !strings.Contains(out, session) || !strings.Contains(out, "hash") || !strings.Contains(out, "0 of 1") {
		t.Errorf("after damage: got %q, %v", out, err)
	}
	out, _, err = p.run("sessions", "verify", "--json")
	if err == nil || !strings.Contains(out, `"reason": "the line is not the one its hash was made from"`) {
		t.Errorf("after damage, JSON: got %s, %v", out, err)
	}
	if _, _, err := p.run("sessions", "verify", "0199a3f2-b1c4-7000-8000-000000000000"); err == nil || !strings.Contains(err.Error(), "no session with the id") {
		t.Errorf("unknown session: got %v", err)
	}
}

func TestSessionsShow(t *testing.T) {
	t.Parallel()
	p := newProgram(t)
	session := p.visit(t)
	out := p.mustRun(t, "sessions", "show", session, "--path", "items/FE-001/result")
	for _, want := range []string{"position  2", `"$value": "fail"`, "conflict", `"pass"`, "anna's tablet", "having seen", "stands"} {
		if !strings.Contains(out, want) {
			t.Errorf("show lacks %q:\n%s", want, out)
		}
	}
	if out := p.mustRun(t, "sessions", "show", session, "--path", "items/FE-002/result"); !strings.Contains(out, "nobody has written to items/FE-002/result") {
		t.Errorf("a field nobody wrote to: got\n%s", out)
	}
	for args, want := range map[string]struct{ has, lacks string }{
		"":                                     {"author ", "having seen  remarks"},
		"--json":                               {`"conflicts": [`, `"history"`},
		"--path /items/FE-001/result":          {"put ", "nobody has"},
		"--conflicts":                          {"anna's tablet", "session  "},
		"--conflicts --path title":             {"no conflicts", "anna's tablet"},
		"--conflicts --json":                   {`"conflicts": [`, `"session_data"`},
		"--history --path items/FE-001/result": {"stands", "conflict "},
		"--history --path title --json":        {`"conflicts": null`, `"authors"`},
	} {
		out := p.mustRun(t, append([]string{"sessions", "show", session}, strings.Fields(args)...)...)
		if !strings.Contains(out, want.has) || strings.Contains(out, want.lacks) {
			t.Errorf("show %s: got\n%s\nwant %q and not %q", args, out, want.has, want.lacks)
		}
	}
	for args, want := range map[string]string{
		"sessions show nosuch":                      "no session with the id",
		"sessions show " + session + " --path a//b": "--path",
		"sessions show " + session + " --history":   "--history needs --path",
		"sessions show":                             "accepts 1 arg",
	} {
		if _, _, err := p.run(strings.Fields(args)...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("firemode %s: got %v, want %q", args, err, want)
		}
	}
}

func TestAuditVerify(t *testing.T) {
	t.Parallel()
	p := newProgram(t)
	p.visit(t)
	if out := p.mustRun(t, "audit", "verify"); !strings.Contains(out, "entries are as they were written") {
		t.Errorf("verify: got %q", out)
	}
	if out := p.mustRun(t, "audit", "verify", "--json"); !strings.Contains(out, `"finding": null`) {
		t.Errorf("verify --json: got %s", out)
	}
	p.damage(t, "DROP TRIGGER audit_log_no_update", "UPDATE audit_log SET user_role = 'owner' WHERE seq = 2")
	out, _, err := p.run("audit", "verify")
	if err == nil || !strings.Contains(out, "1 entries are as they were written\nentry 2:") {
		t.Errorf("after damage: got %q, %v", out, err)
	}
	if out, _, err = p.run("audit", "verify", "--json"); err == nil || !strings.Contains(out, `"seq": 2`) {
		t.Errorf("after damage, JSON: got %s, %v", out, err)
	}
}
