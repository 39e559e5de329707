package collections_test

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"sort"
	"strings"
	"testing"

	_ "firemode/migrations"

	"github.com/pocketbase/pocketbase/core"
)

// data_model.md is the single source of truth. Its tables repeat what the code
// declares; they stand between markers and are written by
//
//	go test ./collections -run DataModel -update
//
// which keeps the last column, the meaning, as a person wrote it. Without
// -update the tables are compared, and every name in the prose must exist.
const dataModelPath = "../data_model.md"

// migratedApp is a fresh data directory with every migration applied.
func migratedApp(t *testing.T) core.App {
	t.Helper()
	app := core.NewBaseApp(core.BaseAppConfig{DataDir: t.TempDir()})
	if err := app.Bootstrap(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = app.ResetBootstrapState() })
	if err := app.RunAllMigrations(); err != nil {
		t.Fatal(err)
	}
	return app
}

func TestDataModelIsTrue(t *testing.T) {
	t.Parallel()
	facts := readFacts(t, migratedApp(t))
	text := readDataModel(t)
	if *update {
		text = facts.rewrite(text)
		if err := os.WriteFile(dataModelPath, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, finding := range facts.check(text) {
		t.Error(finding)
	}
	if t.Failed() {
		t.Log("after a change of the schema: go test ./collections -run DataModel -update, then write the missing meanings")
	}
}

// Every kind of drift between the file and the code is found.
func TestDataModelCheckFindsDrift(t *testing.T) {
	t.Parallel()
	facts := readFacts(t, migratedApp(t))
	text := readDataModel(t)
	for name, c := range map[string]struct{ old, new, want string }{
		"a field that the file lacks":         {"| `building_type` |", "| `building_kind` |", "differs"},
		"a type that is not the declared one": {"sealed text, max 32", "text, max 32", "differs"},
		"a meaning left empty":                {"| `ends_at` | UTC time |", "| `ends_at` | UTC time | x", "differs"},
		"a collection without a section":      {"\n### `defects`\n", "\n### Findings\n", "no section"},
		"a table without a section":           {"\n### `crdt_heads`\n", "\n### Heads\n", "no section"},
		"a removed table":                     {"<!-- table: fields evidence -->", "<!-- table: -->", "fields evidence"},
		"a marker of something unknown":       {"<!-- table: fields evidence -->", "<!-- table: fields proofs -->", "proofs"},
		"a name in the prose that is gone":    {"## Conventions\n", "## Conventions\nSee `proof_files`.\n", "proof_files"},
		"a state in the diagram that is gone": {"open --> acknowledged", "open --> noticed", "noticed"},
	} {
		broken := strings.Replace(text, c.old, c.new, 1)
		if broken == text {
			t.Errorf("%s: %q is not in the file; the control tests nothing", name, c.old)
			continue
		}
		if got := strings.Join(facts.check(broken), "\n"); !strings.Contains(got, c.want) {
			t.Errorf("%s: got findings %q, want one with %q", name, got, c.want)
		}
	}
	row := regexp.MustCompile("(?m)^(\\| `legal_hold` .*\\| )[^|]+( \\|)$")
	if got := strings.Join(facts.check(row.ReplaceAllString(text, "$1 $2")), "\n"); !strings.Contains(got, "no meaning") {
		t.Errorf("an empty meaning: got findings %q", got)
	}
}

func readDataModel(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(dataModelPath)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// A table of the file: rows of facts, and one column at the end for people.
type table struct {
	header  []string
	rows    [][]string // without the last column
	written bool       // the last column is written by a person
}

func (tb table) render(meanings map[string]string) string {
	var b strings.Builder
	line := func(cells []string) { b.WriteString("| " + strings.Join(cells, " | ") + " |\n") }
	line(tb.header)
	b.WriteString(strings.Repeat("|---", len(tb.header)) + "|\n")
	for _, row := range tb.rows {
		if tb.written {
			row = append(slices.Clone(row), meanings[row[0]])
		}
		line(row)
	}
	return b.String()
}

var (
	blockPattern  = regexp.MustCompile(`(?s)<!-- table: ([^>]*) -->\n(.*?)<!-- end -->`)
	codePattern   = regexp.MustCompile("`([^`\n]+)`")
	namePattern   = regexp.MustCompile(`^[a-z_][A-Za-z0-9_]*(\.[a-z_][A-Za-z0-9_]*)?$`)
	statesPattern = regexp.MustCompile(`(?s)<!-- states: ([a-z_]+)\.([a-z_]+) -->\n` + "```mermaid\n(.*?)```")
	arrowPattern  = regexp.MustCompile(`(?m)^\s*(\S+) --> (\S+)`)
)

// meanings returns the last column of a rendered table by its first one.
func meanings(body string) map[string]string {
	found := map[string]string{}
	for line := range strings.Lines(body) {
		row, ok := strings.CutPrefix(strings.TrimSuffix(line, " |\n"), "| ")
		if !ok {
			continue
		}
		cells := strings.Split(row, " | ") // a pipe inside a cell is escaped and has no spaces around it
		found[cells[0]] = strings.TrimSpace(cells[len(cells)-1])
	}
	return found
}

// rewrite puts the facts into every block of text.
func (f *facts) rewrite(text string) string {
	return blockPattern.ReplaceAllStringFunc(text, func(block string) string {
		m := blockPattern.FindStringSubmatch(block)
		tb, ok := f.blocks[m[1]]
		if !ok {
			return block
		}
		return fmt.Sprintf("<!-- table: %s -->\n%s<!-- end -->", m[1], tb.render(meanings(m[2])))
	})
}

// check returns what is wrong with text.
func (f *facts) check(text string) (found []string) {
	report := func(format string, args ...any) { found = append(found, fmt.Sprintf(format, args...)) }

	seen := map[string]bool{}
	for _, m := range blockPattern.FindAllStringSubmatch(text, -1) {
		key, body := m[1], m[2]
		tb, ok := f.blocks[key]
		if !ok {
			report("table %q names nothing that the code has", key)
			continue
		}
		seen[key] = true
		written := meanings(body)
		if body != tb.render(written) {
			report("table %q differs from the code", key)
		}
		if tb.written {
			for _, row := range tb.rows {
				if written[row[0]] == "" {
					report("table %q, row %s: no meaning", key, row[0])
				}
			}
		}
	}
	for key := range f.blocks {
		if !seen[key] {
			report("no table %q", key)
		}
	}
	for _, name := range f.sections {
		if !strings.Contains(text, "\n### `"+name+"`\n") {
			report("no section for %s", name)
		}
	}

	diagrams := map[string]bool{}
	for _, m := range statesPattern.FindAllStringSubmatch(text, -1) {
		field := m[1] + "." + m[2]
		diagrams[field] = true
		drawn := map[string]bool{}
		for _, a := range arrowPattern.FindAllStringSubmatch(m[3], -1) {
			drawn[a[1]], drawn[a[2]] = true, true
		}
		delete(drawn, "[*]")
		for state := range drawn {
			if !slices.Contains(f.enums[field], state) {
				report("the diagram of %s draws %s, which is no value of the field", field, state)
			}
		}
		for _, state := range f.enums[field] {
			if !drawn[state] {
				report("the diagram of %s lacks %s", field, state)
			}
		}
	}
	for _, field := range []string{"test_sessions.status", "defects.state"} {
		if !diagrams[field] {
			report("no state diagram of %s", field)
		}
	}

	prose := blockPattern.ReplaceAllString(text, "")
	for _, m := range codePattern.FindAllStringSubmatch(prose, -1) {
		if namePattern.MatchString(m[1]) && !f.known(m[1]) {
			report("`%s` is named and does not exist", m[1])
		}
	}
	sort.Strings(found)
	return slices.Compact(found)
}

// ordinaryWords may stand in code type without being names of the schema.
var ordinaryWords = []string{
	"uuid", "text", "numeric", "bigint", "boolean", "bytea", "jsonb", "jsonb_path_ops", "timestamptz", "tstzrange", // types and classes of PostgreSQL
}

// mirrorNames exist in PostgreSQL only.
var mirrorNames = []string{"fm_mirror", "fm_hist", "fm_report", "fm_sync", "fm_sync.journal", "fm_sync.discontinuity", "journal_past",
	"origin", "data_as_of", "is_stale", "_origin", "_ver", "_at", "_hash", "_stale", "_ver_to", "_op", "_valid"}

// known says whether name, or both halves of collection.field, exist.
func (f *facts) known(name string) bool {
	if f.names[name] || slices.Contains(ordinaryWords, name) || slices.Contains(mirrorNames, name) {
		return true
	}
	head, tail, ok := strings.Cut(name, ".")
	return ok && f.names[head] && f.columns[head][tail]
}
