package collections_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"firemode/collections"

	"github.com/pocketbase/pocketbase/core"
)

// The access table of the file is collections.AccessTable; that the rules do
// what it says is tested through the doors, in api/access_matrix_test.go.

func TestEveryCollectionHasAnAccessRow(t *testing.T) {
	t.Parallel()
	app := migratedApp(t)
	found, err := app.FindAllCollections()
	if err != nil {
		t.Fatal(err)
	}
	table := collections.AccessTable()
	for _, finding := range rowFindings(found, table) {
		t.Error(finding)
	}
	// The controls: one collection more, one row more, one row twice.
	more := append(slices.Clone(found), core.NewBaseCollection("statements"))
	for name, got := range map[string][]string{
		"a collection without a row": rowFindings(more, table),
		"a row without a collection": rowFindings(found, append(slices.Clone(table), collections.AccessRow{Collection: "statements"})),
		"a row twice":                rowFindings(found, append(slices.Clone(table), table[0])),
		"an unknown role":            rowFindings(found, append(slices.Clone(table[1:]), collections.AccessRow{Collection: table[0].Collection, ByRole: map[string]collections.Access{"visitor": {}}})),
	} {
		if len(got) != 1 {
			t.Errorf("%s: got findings %q, want one", name, got)
		}
	}
}

// rowFindings says where the table and the collections do not match.
func rowFindings(found []*core.Collection, table []collections.AccessRow) (findings []string) {
	rows := map[string]int{}
	for _, row := range table {
		rows[row.Collection]++
		for role := range row.ByRole {
			if !slices.Contains(collections.Roles(), role) {
				findings = append(findings, fmt.Sprintf("%s: unknown role %s", row.Collection, role))
			}
		}
	}
	for _, c := range found {
		if rows[c.Name] != 1 {
			findings = append(findings, fmt.Sprintf("collection %s: %d rows in the access table, want one", c.Name, rows[c.Name]))
		}
		delete(rows, c.Name)
	}
	for name := range rows {
		findings = append(findings, fmt.Sprintf("row %s: no such collection", name))
	}
	return findings
}

// accessTable renders the rows of our own collections.
func accessTable(t *testing.T) table {
	t.Helper()
	tb := table{header: append([]string{"collection"}, collections.Roles()...)}
	for _, row := range collections.AccessTable() {
		if strings.HasPrefix(row.Collection, "_") {
			continue // PocketBase's own: told in the prose
		}
		cells := []string{"`" + row.Collection + "`"}
		for _, role := range collections.Roles() {
			cells = append(cells, accessWords(t, row.ByRole[role]))
		}
		tb.rows = append(tb.rows, cells)
	}
	return tb
}

// accessWords names the actions that are open, and the scope of each.
func accessWords(t *testing.T, a collections.Access) string {
	t.Helper()
	if a.List != a.View {
		t.Errorf("list and view differ in %+v; the table needs a word for each", a)
	}
	var words []string
	last := collections.ScopeNone
	for _, action := range []struct {
		name  string
		scope collections.Scope
	}{{"read", a.View}, {"create", a.Create}, {"update", a.Update}, {"delete", a.Delete}} {
		switch {
		case action.scope == collections.ScopeNone:
			continue
		case action.scope == last:
			words[len(words)-1] += ", " + action.name
		default:
			words = append(words, action.scope.String()+": "+action.name)
		}
		last = action.scope
	}
	if len(words) == 0 {
		return "–"
	}
	return strings.Join(words, "; ")
}
