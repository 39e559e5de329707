package cli_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"firemode/audit"
	"firemode/collections"
	"firemode/crdt"

	"github.com/pocketbase/dbx"
	"github.com/pocketbase/pocketbase/core"
)

type seedReport struct {
	Added  int
	Counts []struct {
		Collection   string
		Added, Total int
	}
	Password string
	Logins   []struct{ Identity, Role string }
}

func (p program) seed(t testing.TB, args ...string) seedReport {
	t.Helper()
	var r seedReport
	if err := json.Unmarshal([]byte(p.mustRun(t, append([]string{"seed", "--json"}, args...)...)), &r); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r seedReport) total(collection string) int {
	for _, c := range r.Counts {
		if c.Collection == collection {
			return c.Total
		}
	}
	return -1
}

// The demonstration holds everything a newcomer looks for, and a second run
// adds nothing.
func TestSeedDemo(t *testing.T) {
	t.Parallel()
	p := newFreshProgram(t)
	first := p.seed(t, "--demo")
	before := dump(t, p.app)
	for collection, want := range map[string]int{
		collections.Organisations: 2, collections.Users: 12, collections.Superusers: 2, collections.Buildings: 24,
		collections.TestSessions: 96, collections.Rules: 46, collections.CalibrationCertificates: 7, collections.RevokedTokens: 1,
	} {
		if got := first.total(collection); got != want {
			t.Errorf("%s: got %d, want %d", collection, got, want)
		}
	}
	for _, collection := range []string{collections.Evidence, collections.Classifications, collections.Defects, collections.TableCRDTOps} {
		if got := first.total(collection); got < 30 {
			t.Errorf("%s: got %d, want some dozens", collection, got)
		}
	}
	// Not only because it knows that it is complete: each step finds its rows there.
	if _, err := p.app.DB().NewQuery("DELETE FROM _fm_params WHERE k = 'seed.demo.complete'").Execute(); err != nil {
		t.Fatal(err)
	}
	second := p.seed(t)
	if second.Added != 0 {
		t.Errorf("second run: added %d rows, want none: %+v", second.Added, second.Counts)
	}
	if after := dump(t, p.app); !slices.Equal(before, after) {
		t.Errorf("the second run changed the data: %s", firstDifference(before, after))
	}
	if out := p.mustRun(t, "seed"); !strings.Contains(out, "nothing was added") || !strings.Contains(out, first.Password) {
		t.Errorf("third run: got\n%s", out)
	}
	if _, _, err := p.run("seed", "--seed", "2"); err == nil || !strings.Contains(err.Error(), "was filled with --seed 1") {
		t.Errorf("another seed: got %v", err)
	}
	checkStory(t, p.app)
	checkSealed(t, p.app)
	checkEvidence(t, p.app)
	checkResume(t, before)
}

// checkStory looks for what the demonstration is about.
func checkStory(t *testing.T, app core.App) {
	t.Helper()
	demo, err := app.FindRecordById(collections.Users, collections.DemoUserID)
	if err != nil || demo.GetString("role") != collections.RoleManager || !demo.GetBool("is_active") || demo.GetString("full_name") != "Dana Mercer" {
		t.Errorf("demo user: got %v (%v)", demo, err)
	}
	for name, column := range map[string]struct {
		collection, field string
		want              []string
	}{
		"roles":       {collections.Users, "role", []string{"auditor", "client", "inspector", "manager", "officer", "owner"}},
		"superusers":  {collections.Superusers, "role", []string{"admin", "officer"}},
		"sessions":    {collections.TestSessions, "status", []string{"active", "in_review", "locked"}},
		"defects":     {collections.Defects, "state", []string{"acknowledged", "closed", "open", "repair_scheduled", "repaired", "verified"}},
		"severities":  {collections.Defects, "severity_class", []string{"critical_defect", "non_conformance", "non_critical_defect"}},
		"buildings":   {collections.Buildings, "compliance_status", []string{"compliant", "non_compliant", "pending", "under_review"}},
		"provenances": {collections.Rules, "provenance", []string{"illustrative", "public"}},
	} {
		var got []string
		if err := app.DB().Select(column.field).Distinct(true).From(column.collection).OrderBy(column.field).Column(&got); err != nil || !slices.Equal(got, column.want) {
			t.Errorf("%s: got %v (%v), want %v", name, got, err, column.want)
		}
	}

	// Documents are the merge of their log, with conflicts that wait for a decision.
	sessions, err := app.FindAllRecords(collections.TestSessions)
	if err != nil {
		t.Fatal(err)
	}
	conflicts := 0
	for _, s := range sessions {
		doc := crdt.New()
		var lines []string
		err := app.DB().NewQuery("SELECT line FROM crdt_ops o JOIN crdt_docs d ON d.id = o.doc WHERE d.key = {:id} ORDER BY o.n").Bind(dbx.Params{"id": s.Id}).Column(&lines)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range lines {
			op, err := crdt.ParseOp([]byte(line))
			if err == nil {
				_, err = doc.Apply(&op)
			}
			if err != nil {
				t.Fatalf("session %s: %v", s.Id, err)
			}
		}
		schema := crdt.MustTestSession()
		conflicts += len(schema.Conflicts(doc))
		if got, want := s.GetString("session_data"), string(doc.Materialise(schema)); got != want {
			t.Errorf("session %s: the document is not the merge of its log:\n%.200s\n%.200s", s.Id, got, want)
		}
		if s.GetInt("server_seq") != len(lines) || len(lines) == 0 {
			t.Errorf("session %s: server_seq %d of %d operations", s.Id, s.GetInt("server_seq"), len(lines))
		}
	}
	if conflicts < 10 {
		t.Errorf("conflicts: got %d, want some", conflicts)
	}

	var byPeople, bySystem int
	if err := app.DB().NewQuery("SELECT count(*) FROM audit_log WHERE user_role = 'system' AND user_agent = 'firemode seed --demo'").Row(&bySystem); err != nil || bySystem < 500 {
		t.Errorf("audit entries of the system: got %d (%v)", bySystem, err)
	}
	if err := app.DB().NewQuery("SELECT count(*) FROM audit_log WHERE user_role != 'system' AND action != 'merge'").Row(&byPeople); err != nil || byPeople != 0 {
		t.Errorf("audit entries of people who did nothing: got %d (%v)", byPeople, err)
	}
	if _, bad, err := audit.Verify(t.Context(), app, nil); err != nil || bad != nil {
		t.Errorf("audit log: %v %+v", err, bad)
	}
}

// checkSealed reads the columns as they lie in SQLite, and the files themselves.
func checkSealed(t *testing.T, app core.App) {
	t.Helper()
	for _, name := range []string{collections.Users, collections.Buildings} {
		c, err := app.FindCollectionByNameOrId(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, field := range collections.SealedFields(c) {
			var raw []string
			if err := app.DB().Select(field.GetName()).From(name).Column(&raw); err != nil {
				t.Fatal(err)
			}
			filled := 0
			for _, v := range raw {
				if v != "" {
					filled++
				}
				if v != "" && !strings.Contains(v, "gAAAA") { // version and time of a Fernet token
					t.Errorf("%s.%s holds %q, not a token", name, field.GetName(), v)
				}
			}
			if filled == 0 {
				t.Errorf("%s.%s: no value at all", name, field.GetName())
			}
		}
	}
	if _, err := app.DB().NewQuery("PRAGMA wal_checkpoint(TRUNCATE)").Execute(); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(app.DataDir(), "*.db*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("database files: %v (%v)", files, err)
	}
	for _, path := range files {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, plain := range []string{"Dana Mercer", "Noel Baxter", "+61 2 5550 0101", "@facilities.test"} {
			if strings.Contains(string(content), plain) {
				t.Errorf("%s holds %q in plain text", filepath.Base(path), plain)
			}
		}
		if filepath.Base(path) == "data.db" && !strings.Contains(string(content), "Harbour Tower") {
			t.Error("data.db does not hold the name of a building: the search finds nothing")
		}
	}
}

// checkEvidence holds each picture against its record.
func checkEvidence(t *testing.T, app core.App) {
	t.Helper()
	records, err := app.FindAllRecords(collections.Evidence)
	if err != nil {
		t.Fatal(err)
	}
	sums := map[string]bool{}
	for _, r := range records {
		content, err := os.ReadFile(filepath.Join(app.DataDir(), "storage", r.BaseFilesPath(), r.GetString("file")))
		if err != nil || len(content) != r.GetInt("size") || sha256Hex(content) != r.GetString("checksum") {
			t.Errorf("evidence %s: %d bytes (%v), the record says %d with %s", r.Id, len(content), err, r.GetInt("size"), r.GetString("checksum"))
		}
		if sums[r.GetString("checksum")] {
			t.Errorf("evidence %s: the same picture twice", r.Id)
		}
		sums[r.GetString("checksum")] = true
	}
}

// dump is every row, less what must differ: secrets and their seals, and the
// times and ids of what happened at the time of seeding.
func dump(t *testing.T, app core.App) []string {
	t.Helper()
	differs := map[string][]string{
		collections.Users:           {"password", "tokenKey", "full_name", "phone", "phone_index"},
		collections.Superusers:      {"password", "tokenKey", "created", "updated"},
		collections.Buildings:       {"contact_name", "contact_phone", "contact_email"},
		collections.Rules:           {},
		collections.Classifications: {"audit_id"},
		collections.AuditLog:        nil,
		collections.IdempotencyKeys: nil,
		"crdt_ops":                  {"recv", "doc", "actor"},
		"crdt_actors":               {"id"},
	}
	names := []string{collections.Superusers, "crdt_ops", "crdt_actors"}
	for _, c := range collections.All() {
		names = append(names, c.Name)
	}
	var out []string
	for _, name := range names {
		skip, listed := differs[name]
		if listed && skip == nil {
			continue
		}
		var rows []dbx.NullStringMap
		if err := app.DB().Select("*").From(name).All(&rows); err != nil {
			t.Fatal(err)
		}
		for _, r := range rows {
			var parts []string
			for column, v := range r {
				// updated_at is when the row was last touched, not part of the story.
				if !slices.Contains(skip, column) && column != collections.FieldUpdatedAt {
					parts = append(parts, column+"="+v.String)
				}
			}
			slices.Sort(parts)
			out = append(out, name+" "+strings.Join(parts, "|"))
		}
	}
	slices.Sort(out)
	return out
}

func firstDifference(a, b []string) string {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return fmt.Sprintf("\n%.600s\n%.600s", a[i], b[i])
		}
	}
	return fmt.Sprintf("%d and %d rows", len(a), len(b))
}

// checkResume fills another directory with the same seed, cut off in the middle
// and run again: it holds the same as whole.
func checkResume(t *testing.T, whole []string) {
	t.Helper()
	p := newProgram(t)
	if _, err := p.app.DB().NewQuery(`CREATE TRIGGER cut BEFORE UPDATE ON defects
		WHEN NEW.state = 'verified' BEGIN SELECT RAISE(ABORT, 'power cut'); END`).Execute(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := p.run("seed"); err == nil || !strings.Contains(err.Error(), "power cut") {
		t.Fatalf("first half: got %v, want it cut off", err)
	}
	if _, err := p.app.DB().NewQuery("DROP TRIGGER cut").Execute(); err != nil {
		t.Fatal(err)
	}
	if r := p.seed(t); r.Added == 0 {
		t.Error("second half: added nothing")
	}
	if got := dump(t, p.app); !slices.Equal(got, whole) {
		t.Errorf("a resumed run differs from a whole one: %s", firstDifference(got, whole))
	}
}

func TestSeedScale(t *testing.T) {
	t.Parallel()
	p := newProgram(t)
	if r := p.seed(t, "--scale", "30"); r.total(collections.Buildings) != 30 || r.total(collections.TestSessions) != 30 || r.total(collections.Users) != 2 {
		t.Errorf("scale 30: got %+v", r.Counts)
	}
	if r := p.seed(t, "--scale", "30"); r.Added != 0 {
		t.Errorf("again: added %d", r.Added)
	}
	if out, errs, err := p.run("seed", "--scale", "30"); err != nil || errs != "" || !strings.Contains(out, "load.inspector") {
		t.Errorf("without a terminal: got %v, on standard error %q, on standard output\n%s", err, errs, out)
	}
	if r := p.seed(t, "--scale", "40"); r.total(collections.Buildings) != 40 {
		t.Errorf("scale 40: got %d buildings", r.total(collections.Buildings))
	}
}

func TestSeedIsRefusedInProduction(t *testing.T) {
	t.Parallel()
	p := newProgram(t)
	p.deps.Development = false
	for _, args := range [][]string{{"seed"}, {"seed", "--demo"}, {"seed", "--scale", "5"}} {
		if _, _, err := p.run(args...); err == nil || !strings.Contains(err.Error(), "published password") {
			t.Errorf("%v: got %v, want it refused", args, err)
		}
	}
	if n, _ := p.app.CountRecords(collections.Users); n != 0 {
		t.Errorf("users: got %d, want none", n)
	}
}

// The progress of a run reaches its end, and a later day changes nothing.
func TestSeedOnALaterDay(t *testing.T) {
	t.Parallel()
	p := newProgram(t)
	p.seed(t, "--scale", "5")
	p.deps.Now = func() time.Time { return noon.AddDate(0, 2, 0) }
	if r := p.seed(t, "--scale", "5"); r.Added != 0 {
		t.Errorf("two months later: added %d", r.Added)
	}
}
