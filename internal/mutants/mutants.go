// Package mutants tells whether a package's tests notice mistakes: it puts one mistake after
// another into a source file, by an overlay that leaves the file alone, and runs the tests. A
// mistake that they pass with is one that nobody would see.
package mutants

import (
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A Mutant is a mistake: Old stands once in File of the package under test and becomes New. File is a source file or one
// that is embedded, with its folder. Match, unless it is empty, names the tests that must notice this one, as match of
// Check does for all.
type Mutant struct{ Name, File, Old, New, Match string }

// Check fails the test for every mutant with which the tests that match pass; match is a
// regular expression of what follows "Test" in their names. In make test a sample of one is
// tried, chosen by the day and named; all are when FIREMODE_SOAK is set. It runs in the folder
// of the package under test and first makes sure that the tests pass without a mutant.
func Check(t *testing.T, match string, mutants []Mutant) {
	t.Helper()
	sample := 1
	if os.Getenv("FIREMODE_SOAK") != "" {
		sample = len(mutants)
	}
	sound := map[string]bool{}
	first := time.Now().YearDay() * sample
	for i := range sample {
		m := mutants[(first+i)%len(mutants)]
		t.Run(m.Name, func(t *testing.T) { // one after the other: each compiles
			tests := cmp.Or(m.Match, match)
			if !sound[tests] {
				if out, failed := run(t, tests, nil); failed {
					t.Fatalf("the tests fail without a mutant: %s", out)
				}
				sound[tests] = true
			}
			if out, failed := run(t, tests, &m); !failed {
				t.Errorf("%s: the tests pass with it\n%s", m.Name, out)
			}
		})
	}
	for _, m := range mutants {
		source(t, m) // a text that is gone is found by every run
	}
}

// usesRapid reports whether the tests know rapid's flags.
func usesRapid() bool { return flag.Lookup("rapid.nofailfile") != nil }

func source(t *testing.T, m Mutant) string {
	t.Helper()
	raw, err := os.ReadFile(m.File)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(raw), m.Old); n != 1 {
		t.Fatalf("%s: %s holds %q %d times, want once", m.Name, m.File, m.Old, n)
	}
	return string(raw)
}

// run runs the tests, with a mutant unless m is nil, and reports whether they failed.
func run(t *testing.T, match string, m *Mutant) (out string, failed bool) {
	t.Helper()
	args := []string{"test", "-vet=off", "-count=1", "-timeout=3m", "-run", fmt.Sprintf("^Test(%s)", match)}
	if m != nil {
		dir := t.TempDir()
		mutated := filepath.Join(dir, filepath.Base(m.File))
		if err := os.WriteFile(mutated, []byte(strings.Replace(source(t, *m), m.Old, m.New, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		path, err := filepath.Abs(m.File)
		if err != nil {
			t.Fatal(err)
		}
		overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{path: mutated}})
		if err != nil {
			t.Fatal(err)
		}
		list := filepath.Join(dir, "overlay.json")
		if err := os.WriteFile(list, overlay, 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, "-overlay", list)
	}
	args = append(args, ".")
	if usesRapid() {
		args = append(args, "-rapid.nofailfile") // or every mutant leaves a file behind
	}
	cmd := exec.Command("go", args...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "FIREMODE_SOAK=")
	raw, err := cmd.CombinedOutput()
	if err != nil && strings.Contains(string(raw), "[build failed]") {
		t.Fatalf("the mutant does not compile:\n%s", raw)
	}
	return string(raw), err != nil
}
