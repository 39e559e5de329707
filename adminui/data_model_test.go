package adminui

import (
	"os"
	"strings"
	"testing"

	"firemode/collections"
)

// data_model.md repeats the access table between these marks.
const (
	tableBegin = "<!-- restricted superusers -->\n"
	tableEnd   = "<!-- end -->"
)

// The table of restricted superusers in data_model.md is the access table.
func TestDataModelNamesTheAccessTable(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../data_model.md")
	if err != nil {
		t.Fatal(err)
	}
	_, got, _ := strings.Cut(string(text), tableBegin)
	got, _, _ = strings.Cut(got, tableEnd)
	want := documented(accessTable)
	if got != want {
		t.Errorf("data_model.md between %q and %q: got\n%s\nwant\n%s", strings.TrimSpace(tableBegin), tableEnd, got, want)
	}
	// One more right in one row is a difference.
	for i := range accessTable {
		opened := append([]collectionAccess(nil), accessTable...)
		opened[i].auditor ^= files
		if strings.HasPrefix(opened[i].collection, "_") {
			continue
		}
		if documented(opened) == want {
			t.Errorf("another right to %s shows no difference", opened[i].collection)
		}
	}
}

// documented renders the table of our own collections.
func documented(rows []collectionAccess) string {
	var b strings.Builder
	b.WriteString("| collection | officer | auditor |\n|---|---|---|\n")
	for _, row := range rows {
		if strings.HasPrefix(row.collection, "_") {
			continue // PocketBase's own: closed, but for the caller's own account
		}
		b.WriteString("| `" + row.collection + "` | " + inWords(row.of(collections.RoleOfficer), nil) +
			" | " + inWords(row.of(collections.RoleAuditor), row.withheldFromAuditor) + " |\n")
	}
	return b.String()
}

func inWords(a action, withheld []string) string {
	words := "–"
	switch {
	case a&files == files:
		words = "read, download"
	case a&records == records:
		words = "read"
	case a != none:
		words = "in part"
	}
	if len(withheld) > 0 {
		words += " without `" + strings.Join(withheld, "`, `") + "`"
	}
	return words
}
