package merge

import (
	"testing"

	"firemode/internal/mutants"
)

// mistakes are what this package promises not to make.
var mistakes = []mutants.Mutant{
	{Name: "acknowledged before the commit", File: "writer.go", Old: "\t\t\tif err := r.run(j); err != nil {\n\t\t\t\treturn err\n\t\t\t}\n", New: "\t\t\tif err := r.run(j); err != nil {\n\t\t\t\treturn err\n\t\t\t}\n\t\t\tselect {\n\t\t\tcase j.done <- j.err:\n\t\t\tdefault:\n\t\t\t}\n"},
	{Name: "a failed commit is a success", File: "writer.go", Old: "\t\t\tj.err = outcome\n", New: ""},
	{Name: "a failed commit is remembered", File: "round.go", Old: "\t\tif !committed {\n", New: "\t\tif false {\n"},
	{Name: "a failed job takes nothing back", File: "round.go", Old: "\"ROLLBACK TO merge_job\"", New: "\"RELEASE merge_job; SAVEPOINT merge_job\""},
	{Name: "a failed job stays in memory", File: "round.go", Old: "\t\tr.forget(b)\n", New: ""},
	{Name: "the queue has no end", File: "writer.go", Old: "\t\treturn ErrQueueFull\n", New: "\t\tw.queue <- j\n\t\treturn nil\n"},
	{Name: "an abandoned job runs", File: "writer.go", Old: "\tif !first.state.CompareAndSwap(jobQueued, jobRunning) {\n", New: "\tif false {\n"},
	{Name: "a gap is let through", File: "append.go", Old: "\tif before > h.seq {\n", New: "\tif false {\n"},
	{Name: "the chain before is not compared", File: "append.go", Old: "\tif chain != req.Prev {\n", New: "\tif false {\n"},
	{Name: "the chain after is not compared", File: "append.go", Old: "\tif chain != req.Head {\n", New: "\tif false {\n"},
	{Name: "operations of another actor", File: "append.go", Old: "\t\tif op.Actor != actor {\n", New: "\t\tif false {\n"},
	{Name: "numbers within a request may jump", File: "append.go", Old: "op.Seq != ops[i-1].Seq+1 {", New: "false {"},
	{Name: "missing dots are let through", File: "append.go", Old: "\t\t\treturn 0, &crdt.MissingError{Dots: missing}\n", New: "\t\t\tbreak\n"},
	{Name: "anybody's actor", File: "actors.go", Old: "a.user != userID", New: "a.user == \"\" && userID == \"\""},
	{Name: "revoked devices are believed", File: "quarantine.go", Old: "\tif actor.revoked {\n", New: "\tif false {\n"},
	{Name: "lapsed rights are believed", File: "quarantine.go", Old: "\tif req.Lapsed {\n", New: "\tif false {\n"},
	{Name: "anybody admits", File: "quarantine.go", Old: "!(admits(&ops[i]) && req.Supervisor) {", New: "!admits(&ops[i]) {"},
	{Name: "devices erase", File: "quarantine.go", Old: "reserved(&ops[i]) && ", New: "ops[i].Path == AdmittedPath && "},
	{Name: "people admit their own", File: "quarantine.go", Old: "\t\tif o.user == req.UserID {\n", New: "\t\tif false {\n"},
	{Name: "quarantine has an effect", File: "oplog.go", Old: "\t\tjoin = state.ApplyQuarantined\n", New: "\t\t_ = state\n"},
	{Name: "late is not noted", File: "batch.go", Old: "\t\tflags |= flagLate\n", New: ""},
	{Name: "no audit entry", File: "append.go", Old: "\t\t\tif err := b.audit(d, req.UserID, e); err != nil {\n\t\t\t\treturn Ack{}, err\n\t\t\t}\n", New: ""},
	{Name: "the head stays behind", File: "oplog.go", Old: "DO UPDATE SET seq = excluded.seq, chain = excluded.chain`", New: "DO UPDATE SET seq = excluded.seq`"},
	{Name: "the record stays behind", File: "materialise.go", Old: "\t\t\tr.toShow[id] = struct{}{}\n\t\t}\n\t}\n\tfor _, id := range slices.Sorted(maps.Keys(r.toShow)) {", New: "\t\t\t_ = id\n\t\t}\n\t}\n\tfor _, id := range slices.Sorted(maps.Keys(r.toShow)) {"},
	{Name: "a set replaces what nobody saw", File: "change.go", Old: "\t\tdots := t.state.Covered(path, t.clock)\n", New: "\t\tdots := t.state.Covered(path, t.state.Version())\n"},
	{Name: "the clock covers what others wrote", File: "change.go", Old: "\tclock := maps.Clone(req.Clock)\n", New: "\tclock := maps.Clone(d.state.Version())\n"},
	{Name: "decisions need no reason", File: "resolve.go", Old: "\tcase strings.TrimSpace(req.Reason) == \"\":\n", New: "\tcase false:\n"},
	{Name: "settled conflicts are decided again", File: "resolve.go", Old: "\t\treturn Result{}, ErrSettled\n", New: "\t\t_ = ErrSettled\n"},
	{Name: "any state is signed", File: "sign.go", Old: "if now := b.r.s.stateOf(d); req.Upto != now.ServerSeq || !strings.EqualFold(req.Digest, now.Digest) {", New: "if now := b.r.s.stateOf(d); req.Upto > now.ServerSeq {"},
	{Name: "a sign-off is for ever", File: "sign.go", Old: "\t\to.Current = last <= o.Upto\n", New: "\t\to.Current = last <= o.Upto || true\n"},
	{Name: "a copied database keeps its epoch", File: "epoch.go", Old: "if epoch != \"\" && string(marker) == epoch+\" \"+place {", New: "if epoch != \"\" && len(marker) > 0 {"},
	{Name: "verify takes any hash", File: "verify.go", Old: "flags&flagRedacted == 0 && !bytes.Equal(sum[:], hash) {", New: "false && !bytes.Equal(sum[:], hash) {"},
	{Name: "verify overlooks heads", File: "verify.go", Old: "\tcase len(heads) != len(w.chains):\n", New: "\tcase false:\n"},
	{Name: "verify overlooks snapshots", File: "verify.go", Old: "\t\tif n == w.snapN && ", New: "\t\tif false && "},
	{Name: "verify overlooks lost values", File: "verify.go", Old: "\t\tif !w.erased[dot] {\n", New: "\t\tif false {\n"},
	{Name: "erased values stay in snapshots", File: "redact.go", Old: "`DELETE FROM crdt_snaps WHERE doc = {:doc}`", New: "`DELETE FROM crdt_snaps WHERE doc = -{:doc}`"},
	{Name: "erased values come back", File: "quarantine.go", Old: "if comesBack(&op, own) {", New: "if false {"},
	{Name: "erased values come back by import", File: "import.go", Old: "if b.r.comesBack(erased, actors", New: "if false && b.r.comesBack(erased, actors"},
	{Name: "other names keep the value", File: "redact_repeats.go", Old: "if d.state.Claimed() || len(held) > 0 {", New: "if false {"},
	{Name: "copies take evidence with them", File: "redact_repeats.go", Old: "a := act{user: user, kind", New: "a := act{kind"},
	{Name: "import erases in memory alone", File: "import.go", Old: "if err := d.state.Compare(&r.op); err != nil {", New: "if _, err := d.state.Apply(&r.op); err != nil {"},
	{Name: "a redaction names the one before", File: "change.go", Old: "if c.Op == OpSet || c.Op == OpRemove { // a decision", New: "if true { // a decision"},
	{Name: "other names in the log of an import", File: "import.go", Old: "return b.eraseRepeats(h.SessionID)", New: "return nil"},
	{Name: "copies take decisions with them", File: "redact_repeats.go", Old: "if acts.has(user, op) && r.s.stays(op, quarantined) == \"\" {", New: "if _ = quarantined; acts.has(user, op) {"},
	{Name: "the record keeps the value for a while", File: "redact.go", Old: "SET session_data = '{}' WHERE", New: "SET session_data = session_data WHERE"},
	{Name: "verify takes any act for a repeat", File: "verify.go", Old: "acts.has(o.user, &o.op) {", New: "true {"},
	{Name: "import overlooks the hold", File: "import.go", Old: "return !stored[x].erased", New: "return false"},
	{Name: "legal hold is overlooked", File: "redact.go", Old: "\tif held {\n", New: "\tif false {\n"},
	{Name: "a failed listing stays in memory", File: "conflict_list.go", Old: "\t\tb.change(d) // what", New: "\t\t// what"},
	{Name: "resolved conflicts stay open", File: "conflict_list.go", Old: "\t\tcase !conflict && listed:\n", New: "\t\tcase false && listed:\n"},
	{Name: "import forgets revocations", File: "import.go", Old: "\t\tif a.Revoked && !row.revoked {\n", New: "\t\tif false {\n"},
	{Name: "import overlooks forks", File: "import.go", Old: "\t\t\tif held && here.sum != op.Sum() {\n", New: "\t\t\tif held && here.sum != op.Sum() && false {\n"},
}

// Every mistake is noticed by the package's own tests.
func TestMutantsAreNoticed(t *testing.T) {
	t.Parallel()
	mutants.Check(t, "Device|Histor|Lapsed|Actors|Revoked|Set|Answered|Change|Invalid|Locked|Conflicts|Lock|Reasons|Resolve|Decide|Erased|Copies|Many|Epoch|Devices|Import|Verify|Log|Admission|Redact|Snapshots|Failing|Full|Abandoned|Start|Stop|Failed|Large|Put|Slow|Feed", mistakes)
}
