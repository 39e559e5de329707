package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The rules of this house that no general linter knows. Each rule is a function
// from one parsed file to its findings, and each has a source below that it
// must find fault with.

// fileMaxLines keeps a file readable in one sitting.
const fileMaxLines = 400

// rooms lists the packages in the order in which imports may point: a package
// may import those below it, never one above.
var rooms = []string{
	"", "cli", "api", "hooks", "adminui", "merge", "rules", "audit", "pgsync", "evidence", "sealed", "collections", "crdt", "migrations", "pb_public",
}

// onlyStandard are the packages that import nothing but the standard library.
var onlyStandard = []string{"crdt"}

// forbidden are imports that a package must not have even though they lie below it.
var forbidden = map[string][]string{
	"pgsync": {"sealed"}, // the mirror never sees a key
}

type source struct {
	path string // slash-separated, from the root
	file *ast.File
	set  *token.FileSet
}

func (s source) room() string {
	dir := filepath.ToSlash(filepath.Dir(s.path))
	if dir == "." {
		return ""
	}
	return dir
}

func (s source) isTest() bool { return strings.HasSuffix(s.path, "_test.go") }

func (s source) at(n ast.Node, format string, args ...any) string {
	return fmt.Sprintf("%s:%d: %s", s.path, s.set.Position(n.Pos()).Line, fmt.Sprintf(format, args...))
}

var rules = map[string]func(source) []string{
	"imports point down":               importsPointDown,
	"files are short":                  filesAreShort,
	"hooks are named":                  hooksAreNamed,
	"hooks use the event's app":        hooksUseTheEventsApp,
	"handlers are not shared":          handlersAreNotShared,
	"tests do not sleep or skip":       testsDoNotSleepOrSkip,
	"crdt has no clock":                crdtHasNoClock,
	"one reader of the environment":    oneReaderOfTheEnvironment,
	"passwords are checked by Argon2":  passwordsAreCheckedByArgon2,
	"panics are for impossible states": panicsAreForImpossibleStates,
}

func TestTidy(t *testing.T) {
	t.Parallel()
	checked := 0
	documented := map[string]bool{}
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name := d.Name(); path != "." && (strings.HasPrefix(name, ".") || name == "testdata" || name == "artifacts" || name == "pb_data" || name == "node_modules") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") {
			return nil
		}
		s := parse(t, filepath.ToSlash(path), nil)
		checked++
		if !s.isTest() {
			documented[s.room()] = documented[s.room()] || s.file.Doc != nil
		}
		for name, rule := range rules {
			for _, finding := range rule(s) {
				t.Errorf("%s (%s)", finding, name)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for room, has := range documented {
		if !has {
			t.Errorf("package %q has no package comment", room)
		}
	}
	if checked < 20 {
		t.Errorf("checked %d files only: the walk is broken", checked)
	}
}

// Each rule finds its own kind of mistake.
func TestTidyFindsMistakes(t *testing.T) {
	t.Parallel()
	for name, bad := range map[string]struct{ path, text string }{
		"imports point down":               {"crdt/x.go", "package crdt\nimport _ \"firemode/merge\"\n"},
		"files are short":                  {"audit/x.go", "package audit\n" + strings.Repeat("\n", fileMaxLines)},
		"hooks are named":                  {"hooks/x.go", "package hooks\nfunc f(app core.App) { app.OnServe().BindFunc(nil) }\n"},
		"hooks use the event's app":        {"hooks/x.go", "package hooks\nfunc f(app core.App) { g(func(e *core.RecordEvent) error { return app.Save(nil) }) }\n"},
		"handlers are not shared":          {"hooks/x.go", "package hooks\nfunc f(app core.App, h *hook.Handler[*core.RecordEvent]) { app.OnRecordCreate().Bind(h) }\n"},
		"tests do not sleep or skip":       {"audit/x_test.go", "package audit\nfunc f() { time.Sleep(1) }\n"},
		"crdt has no clock":                {"crdt/x.go", "package crdt\nfunc f() { time.Now() }\n"},
		"one reader of the environment":    {"merge/x.go", "package merge\nfunc f() { os.Getenv(\"X\") }\n"},
		"passwords are checked by Argon2":  {"api/x.go", "package api\nfunc f(r *core.Record) { r.ValidatePassword(\"x\") }\n"},
		"panics are for impossible states": {"api/x.go", "package api\nfunc f() { panic(\"bad input\") }\n"},
	} {
		if got := rules[name](parse(t, bad.path, bad.text)); len(got) == 0 {
			t.Errorf("rule %q finds nothing wrong with:\n%.200s", name, bad.text)
		}
	}
	for _, body := range []string{
		"func (g *guard) f(e *core.RecordRequestEvent) error { return g.app.Save(nil) }",
		"func f(app core.App) { g(func(e *core.CollectionRequestEvent) error { return app.Delete(nil) }) }",
	} {
		if got := hooksUseTheEventsApp(parse(t, "hooks/x.go", "package hooks\n"+body+"\n")); len(got) == 0 {
			t.Errorf("a captured app is not seen in: %s", body)
		}
	}
	for _, body := range []string{
		"func f(e *core.RecordEvent) error { app := e.App; return app.Save(nil) }",
		"func f(app core.App, e *core.RecordEvent) error { return app.Save(nil) }",
	} {
		if got := hooksUseTheEventsApp(parse(t, "hooks/x.go", "package hooks\n"+body+"\n")); len(got) != 0 {
			t.Errorf("fault found with an app of the function's own: %v", got)
		}
	}
	if got := importsPointDown(parse(t, "pgsync/x.go", "package pgsync\nimport _ \"firemode/sealed\"\n")); len(got) == 0 {
		t.Error("the mirror may import the keys")
	}
}

// parse reads text, or the file at path when text is nil.
func parse(t *testing.T, path string, text any) source {
	t.Helper()
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, path, text, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	return source{path, file, set}
}

func roomIndex(name string) int {
	top, _, _ := strings.Cut(name, "/")
	for i, room := range rooms {
		if room == top {
			return i
		}
	}
	return -1
}

func importsPointDown(s source) (found []string) {
	room := s.room()
	inner := strings.HasPrefix(room, "internal")
	if !inner && roomIndex(room) < 0 {
		return []string{fmt.Sprintf("%s: package %q has no place in the order of rooms", s.path, room)}
	}
	for _, spec := range s.file.Imports {
		path := strings.Trim(spec.Path.Value, `"`)
		ours, isOurs := strings.CutPrefix(path, "firemode/")
		for _, strict := range onlyStandard {
			if room == strict && !s.isTest() && strings.Contains(path, ".") {
				found = append(found, s.at(spec, "%s imports the standard library only, not %s", room, path))
			}
		}
		if !isOurs || inner || s.isTest() || strings.HasPrefix(ours, "internal/") || strings.HasPrefix(ours, room+"/") {
			continue
		}
		if roomIndex(ours) <= roomIndex(room) {
			found = append(found, s.at(spec, "%s imports %s, which is not below it", room, ours))
		}
		for _, no := range forbidden[room] {
			if ours == no {
				found = append(found, s.at(spec, "%s must not import %s", room, no))
			}
		}
	}
	return found
}

func filesAreShort(s source) []string {
	if n := s.set.File(s.file.Pos()).LineCount(); n > fileMaxLines {
		return []string{fmt.Sprintf("%s: %d lines, at most %d", s.path, n, fileMaxLines)}
	}
	return nil
}

// calls finds every call of pkg.name; with an empty pkg, of any method of that name.
func calls(s source, pkg, name, why string) (found []string) {
	ast.Inspect(s.file, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		sel, ok := call.Fun.(*ast.SelectorExpr)
		if !ok || sel.Sel.Name != name {
			return true
		}
		if x, ok := sel.X.(*ast.Ident); pkg == "" || ok && x.Name == pkg {
			found = append(found, s.at(n, "%s", why))
		}
		return true
	})
	return found
}

func testsDoNotSleepOrSkip(s source) []string {
	if !s.isTest() {
		return nil
	}
	found := calls(s, "time", "Sleep", "a test waits for a condition, not for a time")
	for _, skip := range []string{"Skip", "Skipf", "SkipNow"} {
		found = append(found, calls(s, "t", skip, "nothing is skipped; install what the test needs")...)
		found = append(found, calls(s, "b", skip, "nothing is skipped; install what the benchmark needs")...)
	}
	return found
}

func crdtHasNoClock(s source) []string {
	if s.room() != "crdt" || s.isTest() {
		return nil
	}
	return calls(s, "time", "Now", "merge rules read no clock")
}

func oneReaderOfTheEnvironment(s source) (found []string) {
	if s.isTest() || s.room() == "" || strings.HasPrefix(s.room(), "internal") {
		return nil
	}
	for _, name := range []string{"Getenv", "LookupEnv", "Environ"} {
		found = append(found, calls(s, "os", name, "config.go is the only reader of the environment")...)
	}
	return found
}

func passwordsAreCheckedByArgon2(s source) []string {
	return calls(s, "", "ValidatePassword", "PocketBase's bcrypt check is always false here; use the Hasher")
}

func panicsAreForImpossibleStates(s source) (found []string) {
	if s.isTest() || strings.HasPrefix(s.room(), "internal") {
		return nil
	}
	text, err := os.ReadFile(s.path)
	if err != nil {
		text = nil // a source given as text
	}
	ast.Inspect(s.file, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		if x, ok := call.Fun.(*ast.Ident); !ok || x.Name != "panic" {
			return true
		}
		line := ""
		if lines := strings.Split(string(text), "\n"); len(lines) >= s.set.Position(n.Pos()).Line {
			line = lines[s.set.Position(n.Pos()).Line-1]
		}
		if !strings.Contains(line, "internal error: ") {
			found = append(found, s.at(n, "panic only with \"<package>: internal error: …\""))
		}
		return true
	})
	return found
}
