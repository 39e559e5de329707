package crdt

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// mutants are wrong versions of this package that its own fast tests have to notice. Each
// replaces a text that stands once in the file.
var mutants = []struct{ name, file, old, new string }{
	{"nothing is replaced", "apply.go", "c.live = d.without(c.live, o.Seen)\n\t\t}\n\t}\n\tif o.Kind == Put", "_ = before\n\t\t}\n\t}\n\tif o.Kind == Put"},
	{"a gap is let through", "apply.go", "if o.Seq != held+1 {", "if o.Seq > held+2 {"},
	{"a duplicate is not compared", "apply.go", "if a.prints[o.Seq-1] != p {", "if false {"},
	{"a duplicate counts as new", "apply.go", "return false, nil\n\t}\n\tif o.Seq != held+1", "return true, nil\n\t}\n\tif o.Seq != held+1"},
	{"missing dots are not asked for", "apply.go", "if !d.Has(x) && len(dots) < MissingMax {", "if false {"},
	{"a missing reference is let through", "apply.go", "if o.Ref.Seq != 0 && !d.Has(o.Ref) {", "if false {"},
	{"quarantine takes effect", "apply.go", "if quarantine {", "if false {"},
	{"counters count steps", "apply.go", "c.sum += n", "c.sum += int64(steps)"},
	{"earlier values first", "document.go", "cmp.Compare(f.Time, e.Time)", "cmp.Compare(e.Time, f.Time)"},
	{"equal values are a conflict", "document.go", "if e.Val != entries[0].Val {", "if e.Val != \"\" {"},
	{"a rival claim is not withdrawn", "claim.go", "\t\td.withdraw(rival)\n", ""},
	{"a claim counts beside its origin", "claim.go", "if _, held := c.byPrint[origin]; held {", "if false {"},
	{"the greater claim counts", "claim.go", "if rival.Dot.Compare(o.Dot) < 0 {", "if rival.Dot.Compare(o.Dot) > 0 {"},
	{"any claim silences another", "claim.go", "return a.Kind == b.Kind && a.Path == b.Path && sameVal && a.N == b.N", "return sameVal || true"},
	{"what a claim replaced stays dead", "claim.go", "\t\t\t\td.restore(s)\n", ""},
	{"hidden elements show", "list.go", "if !el.hidden && len(el.hiders) == 0 {", "if true {"},
	{"children go with their parent", "list.go", "\tfor _, child := range el.children {\n\t\tl.root.attach(child)\n\t}\n", ""},
	{"an admitted element adopts nobody", "list.go", "if waiting.ref == el.Dot {", "if false {"},
	{"the best is shown, not the worst", "view.go", "return rule.badness(a) < rule.badness(b)", "return rule.badness(a) > rule.badness(b)"},
	{"unknown results are harmless", "view.go", "\treturn 1\n}", "\treturn 1 << 20\n}"},
	{"mv shows one of many", "view.go", "if !v.Conflict {", "if true {"},
	{"union keeps repeats", "view.go", "array(slices.Compact(vals))", "array(vals)"},
	{"the chain forgets its past", "chain.go", "copy(b[:32], prev[:])", "_ = prev"},
	{"chains of two documents are one", "chain.go", "b = append(b, doc...)", "_ = doc"},
	{"a clock from 2099 is believed", "clock.go", "if remote.UnixMilli() > limit {", "if remote.UnixMilli() > limit && false {"},
	{"a clock goes back", "clock.go", "c.last = max(c.last+1, NewTime(now, 0))", "c.last = NewTime(now, 0)"},
	{"one level deeper", "value.go", "if depth > DepthMax {", "if depth > DepthMax+1 {"},
	{"a seen list one longer", "parse.go", "if n > SeenMax {", "if n > SeenMax+1 {"},
	{"any increment", "parse.go", "if o.N == 0 || o.N > IncMax || o.N < -IncMax {", "if o.N == 0 {"},
	{"an erased claim is another act", "claim.go", "Redacted(a.Val) == Redacted(b.Val)", "a.Val == b.Val"},
	{"redaction spares quarantine", "redact.go", "\t\terase(&q.op.Val)\n", ""},
	{"redaction spares lists", "redact.go", "\t\t\terase(&el.Val)\n", "\t\t\t_ = el\n"},
	{"redaction spares what may come back", "redact.go", "\t\terase(&s.entry.Val)\n", "\t\t_ = s\n"},
	{"an erased line has another sum", "redact.go", "stub.parsed, stub.sum = true, o.Sum()", "stub.parsed, stub.sum = true, sha256.Sum256(nil)"},
	{"anybody writes an erased value", "value.go", "case key == redactedKey:", "case false:"},
	{"snapshots are not checked", "snapshot_read.go", "!bytes.Equal(sum[:], raw[body:])", "false && !bytes.Equal(sum[:], raw[body:])"},
}

// fastTests are those that a mutant has to get past.
const fastTests = "Spec|Vectors$|Redacted|Any|Seeded|Equal|Errors|Restored|Claim|Withdrawn|Quarantine|Reissue|Admitted|Hidden|Resolve|View|Policies|Chain|Clock|Limits|Parse|Snapshot|Conflicts|Inbox|Materialise"

// Every mutant is noticed by the package's own tests. A sample here, chosen by the day and
// named; all of them in the long run.
func TestMutantsAreNoticed(t *testing.T) {
	t.Parallel()
	sample := 1
	if os.Getenv("FIREMODE_SOAK") != "" {
		sample = len(mutants)
	}
	first := time.Now().YearDay() * sample
	for i := range sample {
		m := mutants[(first+i)%len(mutants)]
		t.Run(m.name, func(t *testing.T) { // one after the other: each compiles
			if out, noticed := runMutant(t, m.file, m.old, m.new); !noticed {
				t.Errorf("%s: the tests pass with it\n%s", m.name, out)
			}
		})
	}
	// The control: an unchanged package passes, so that a failure means the mutant.
	if out, noticed := runMutant(t, "chain.go", "package crdt\n", "package crdt\n"); noticed {
		t.Errorf("the unchanged package fails: %s", out)
	}
}

// runMutant runs fastTests with one text of a file replaced and reports whether they failed.
func runMutant(t *testing.T, file, old, new string) (out string, noticed bool) {
	t.Helper()
	source, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Count(string(source), old) != 1 {
		t.Fatalf("%s holds %q %d times, want once", file, old, strings.Count(string(source), old))
	}
	dir := t.TempDir()
	mutated := filepath.Join(dir, file)
	if err := os.WriteFile(mutated, []byte(strings.Replace(string(source), old, new, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	path, err := filepath.Abs(file)
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
	cmd := exec.Command("go", "test", "-vet=off", "-count=1", "-overlay", list, "-run", fmt.Sprintf("^Test(%s)", fastTests), ".", "-rapid.nofailfile")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "FIREMODE_SOAK=")
	raw, err := cmd.CombinedOutput()
	if err != nil && strings.Contains(string(raw), "[build failed]") {
		t.Fatalf("the mutant does not compile:\n%s", raw)
	}
	return string(raw), err != nil
}
