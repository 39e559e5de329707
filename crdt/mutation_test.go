package crdt

import (
	"testing"

	"firemode/internal/mutants"
)

// mistakes are what this package promises not to make.
var mistakes = []mutants.Mutant{
	{Name: "nothing is replaced", File: "apply.go", Old: "c.live = d.without(c.live, o.Seen)\n\t\t}\n\t}\n\tif o.Kind == Put", New: "_ = before\n\t\t}\n\t}\n\tif o.Kind == Put"},
	{Name: "a gap is let through", File: "apply.go", Old: "if o.Seq != held+1 {", New: "if o.Seq > held+2 {"},
	{Name: "a duplicate is not compared", File: "apply.go", Old: "if a.prints[o.Seq-1] != p {", New: "if false {"},
	{Name: "a duplicate counts as new", File: "apply.go", Old: "return false, nil\n\t}\n\tif o.Seq != held+1", New: "return true, nil\n\t}\n\tif o.Seq != held+1"},
	{Name: "missing dots are not asked for", File: "apply.go", Old: "if !d.Has(x) && len(dots) < MissingMax {", New: "if false {"},
	{Name: "a missing reference is let through", File: "apply.go", Old: "if o.Ref.Seq != 0 && !d.Has(o.Ref) {", New: "if false {"},
	{Name: "quarantine takes effect", File: "apply.go", Old: "if quarantine {", New: "if false {"},
	{Name: "counters count steps", File: "apply.go", Old: "c.sum += n", New: "c.sum += int64(steps)"},
	{Name: "earlier values first", File: "document.go", Old: "cmp.Compare(f.Time, e.Time)", New: "cmp.Compare(e.Time, f.Time)"},
	{Name: "erased values are a conflict", File: "redact.go", Old: "(IsRedacted(a) || IsRedacted(b)) && Redacted(a) == Redacted(b)", New: "false"},
	{Name: "equal values are a conflict", File: "document.go", Old: "if !sameValue(e.Val, entries[0].Val) {", New: "if e.Val != \"\" {"},
	{Name: "a rival claim is not withdrawn", File: "claim.go", Old: "\t\td.withdraw(rival)\n", New: ""},
	{Name: "a claim counts beside its origin", File: "claim.go", Old: "if _, held := c.byPrint[origin]; held {", New: "if false {"},
	{Name: "the greater claim counts", File: "claim.go", Old: "if rival.Dot.Compare(o.Dot) < 0 {", New: "if rival.Dot.Compare(o.Dot) > 0 {"},
	{Name: "any claim silences another", File: "claim.go", Old: "return a.Kind == b.Kind && a.Path == b.Path && sameValue(a.Val, b.Val) && a.N == b.N", New: "return true"},
	{Name: "what a claim replaced stays dead", File: "claim.go", Old: "\t\t\t\td.restore(s)\n", New: ""},
	{Name: "hidden elements show", File: "list.go", Old: "if !el.hidden && len(el.hiders) == 0 {", New: "if true {"},
	{Name: "children go with their parent", File: "list.go", Old: "\tfor _, child := range el.children {\n\t\tl.root.attach(child)\n\t}\n", New: ""},
	{Name: "an admitted element adopts nobody", File: "list.go", Old: "if waiting.ref == el.Dot {", New: "if false {"},
	{Name: "the best is shown, not the worst", File: "view.go", Old: "return rule.badness(a) < rule.badness(b)", New: "return rule.badness(a) > rule.badness(b)"},
	{Name: "unknown results are harmless", File: "view.go", Old: "\treturn 1\n}", New: "\treturn 1 << 20\n}"},
	{Name: "mv shows one of many", File: "view.go", Old: "if !v.Conflict {", New: "if true {"},
	{Name: "union keeps repeats", File: "view.go", Old: "array(slices.Compact(vals))", New: "array(vals)"},
	{Name: "the chain forgets its past", File: "chain.go", Old: "copy(b[:32], prev[:])", New: "_ = prev"},
	{Name: "chains of two documents are one", File: "chain.go", Old: "b = append(b, doc...)", New: "_ = doc"},
	{Name: "a clock from 2099 is believed", File: "clock.go", Old: "if remote.UnixMilli() > limit {", New: "if remote.UnixMilli() > limit && false {"},
	{Name: "a clock goes back", File: "clock.go", Old: "c.last = max(c.last+1, NewTime(now, 0))", New: "c.last = NewTime(now, 0)"},
	{Name: "one level deeper", File: "value.go", Old: "if depth > DepthMax {", New: "if depth > DepthMax+1 {"},
	{Name: "a seen list one longer", File: "parse.go", Old: "if n > SeenMax {", New: "if n > SeenMax+1 {"},
	{Name: "any increment", File: "parse.go", Old: "if o.N == 0 || o.N > IncMax || o.N < -IncMax {", New: "if o.N == 0 {"},
	{Name: "an erased claim is another act", File: "claim.go", Old: "sameValue(a.Val, b.Val)", New: "a.Val == b.Val"},
	{Name: "only the print is shown", File: "view.go", Old: "return double", New: "return double && false"},
	{Name: "told again without its value it stays", File: "apply.go", Old: "if IsRedacted(o.Val) {", New: "if false {"},
	{Name: "redaction spares quarantine", File: "redact.go", Old: "eraseOp(&q.op)", New: "_ = q"},
	{Name: "redaction spares lists", File: "redact.go", Old: "erase(dot, &el.Val)", New: "_ = el"},
	{Name: "redaction spares what may come back", File: "redact.go", Old: "erase(dot, &s.entry.Val)", New: "_ = s"},
	{Name: "an erased line has another sum", File: "redact.go", Old: "stub.parsed, stub.sum = true, o.Sum()", New: "stub.parsed, stub.sum = true, sha256.Sum256(nil)"},
	{Name: "anybody writes an erased value", File: "value.go", Old: "case key == redactedKey:", New: "case false:"},
	{Name: "snapshots are not checked", File: "snapshot_read.go", Old: "!bytes.Equal(sum[:], raw[body:])", New: "false && !bytes.Equal(sum[:], raw[body:])"},
}

// Every mistake is noticed by the package's own tests.
func TestMutantsAreNoticed(t *testing.T) {
	t.Parallel()
	mutants.Check(t, "Spec|Vectors$|Redacted|Erased|Any|Seeded|Equal|Errors|Restored|Claim|Withdrawn|Quarantine|Reissue|Admitted|Hidden|Resolve|View|Policies|Chain|Clock|Limits|Parse|Snapshot|Conflicts|Inbox|Materialise", mistakes)
}
