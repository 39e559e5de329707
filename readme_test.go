package main

import (
	"fmt"
	"go/doc"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// What the Markdown files at the top say is held true here: folders, links and
// commands. The tour is run by readme_tour_test.go.

var markdownFiles = []string{"README.md", "data_model.md", "CONTRIBUTING.md", "AGENTS.md", "CHANGELOG.md", "docs/reports.md", "docs/postgresql-stores.md", ".github/PULL_REQUEST_TEMPLATE.md"}

func readText(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// The folder map has one row per package folder, in the order of imports, with
// the first sentence of the package comment.
func TestReadmeFolders(t *testing.T) {
	t.Parallel()
	want := folderRows(t)
	got := mappedFolders(readText(t, "README.md"))
	if !slices.Equal(got, want) {
		t.Errorf("README.md, folder map: got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	// The comparison can fail: it sees a folder that is gone and a changed sentence.
	if len(want) < 8 {
		t.Errorf("only %d folders have a package comment: the reading is broken", len(want))
	}
	for _, row := range want {
		text := strings.Replace(readText(t, "README.md"), row, row[:len(row)-3]+"!|", 1)
		if slices.Equal(mappedFolders(text), want) {
			t.Errorf("a changed row is not noticed: %s", row)
		}
	}
}

var folderRow = regexp.MustCompile("(?m)^\\| `[a-z_]+/` \\| .* \\|$")

func mappedFolders(text string) []string {
	_, section, _ := strings.Cut(text, "| Folder | The package |")
	section, _, _ = strings.Cut(section, "\n\n")
	return folderRow.FindAllString(section, -1)
}

func folderRows(t *testing.T) (rows []string) {
	t.Helper()
	for _, room := range rooms {
		if room == "" {
			continue
		}
		if sentence := packageSentence(t, room); sentence != "" {
			rows = append(rows, fmt.Sprintf("| `%s/` | %s |", room, sentence))
		}
	}
	return rows
}

// packageSentence is the first sentence of a package comment without its
// "Package x"; empty when the folder holds no package.
func packageSentence(t *testing.T, dir string) string {
	t.Helper()
	files, err := filepath.Glob(dir + "/*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments|parser.PackageClauseOnly)
		if err != nil {
			t.Fatal(err)
		}
		if f.Doc != nil {
			synopsis := new(doc.Package).Synopsis(f.Doc.Text())
			return strings.ReplaceAll(strings.TrimPrefix(synopsis, "Package "+f.Name.Name+" "), "|", `\|`)
		}
	}
	return ""
}

var (
	linkPattern    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	headingPattern = regexp.MustCompile(`(?m)^#+ (.+)$`)
	fencePattern   = regexp.MustCompile("(?s)```.*?```")
)

// Every link inside the repository leads somewhere.
func TestMarkdownLinks(t *testing.T) {
	t.Parallel()
	for _, path := range markdownFiles {
		for _, finding := range brokenLinks(path, readText(t, path)) {
			t.Error(finding)
		}
	}
	if got := brokenLinks("README.md", "[a](no-such-file.md) [b](#no-such-heading)"); len(got) != 2 {
		t.Errorf("two broken links: got findings %q", got)
	}
}

func brokenLinks(path, text string) (found []string) {
	text = fencePattern.ReplaceAllString(text, "")
	for _, m := range linkPattern.FindAllStringSubmatch(text, -1) {
		if strings.Contains(m[1], "://") {
			continue
		}
		file, anchor, _ := strings.Cut(m[1], "#")
		target := text
		if file != "" {
			raw, err := os.ReadFile(filepath.Join(filepath.Dir(path), file))
			if err != nil {
				found = append(found, fmt.Sprintf("%s: link to %s: no such file", path, m[1]))
				continue
			}
			target = string(raw)
		}
		if anchor != "" && !slices.Contains(anchors(target), anchor) {
			found = append(found, fmt.Sprintf("%s: link to %s: no such heading", path, m[1]))
		}
	}
	return found
}

// anchors are the names that headings get when the file is shown.
func anchors(text string) (names []string) {
	for _, m := range headingPattern.FindAllStringSubmatch(fencePattern.ReplaceAllString(text, ""), -1) {
		name := strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-' || r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z':
				return r
			}
			return -1
		}, strings.ToLower(m[1]))
		names = append(names, name)
	}
	return names
}

// The pages say what the program is and not how anybody came to write it.
func TestMarkdownHasNoForeignPaths(t *testing.T) {
	t.Parallel()
	foreign := regexp.MustCompile(`/work/|/root/|/home/|/tmp/`)
	for _, path := range markdownFiles {
		if m := foreign.FindString(readText(t, path)); m != "" {
			t.Errorf("%s names a path outside the repository: %s", path, m)
		}
	}
}
