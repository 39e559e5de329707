package pgsync

import (
	"testing"

	"firemode/internal/mutants"
)

// The tests that notice.
const (
	fence   = "Fenced|Position|LeaseKnows"
	cuts    = "ConnectionCut"
	poison  = "PoisonRows|Plaintext|QuarantinedChild|UniqueValues"
	shape   = "SchemaChangesAre|ManualChanges|TextIDs"
	compare = "ComparisonRuns|Snapshot|ReconcileRepairs|VerifyFinds"
	forked  = "Forks"
)

// mistakes are what this package promises not to make.
var mistakes = []mutants.Mutant{
	{Name: "a batch ends inside a transaction", File: "reader.go", Old: "return *seq, nil", New: "return *seq - 1, nil", Match: "Backlog"},
	{Name: "any nonce", File: "sql/migrations/0001_control.sql", Old: " AND nonce = from_nonce", New: "", Match: fence},
	{Name: "any term", File: "sql/migrations/0001_control.sql", Old: " AND term = who_term", New: "", Match: fence},
	{Name: "any node", File: "sql/migrations/0001_control.sql", Old: " AND node = who", New: "", Match: fence},
	{Name: "any place", File: "sql/migrations/0001_control.sql", Old: " AND seq = from_seq", New: "", Match: fence},
	{Name: "any epoch", File: "sql/migrations/0001_control.sql", Old: " AND epoch = e AND", New: " AND", Match: fence},
	{Name: "the lease runs by the client's clock", File: "sql/migrations/0001_control.sql", Old: "lease_until = clock_timestamp() + lease", New: "lease_until = coalesce(cut, clock_timestamp()) + lease", Match: fence},
	{Name: "a lease is renewed by whoever had it", File: "sql/renew.sql", Old: "term = $3", New: "term >= $3", Match: fence},
	{Name: "a live lease is taken", File: "sql/claim.sql", Old: "lease_until < clock_timestamp()", New: "lease_until IS NOT NULL", Match: fence},
	{Name: "the position moves in a transaction of its own", File: "txn.go", Old: "\treturn x\n}\n\nfunc (x *txn) ver", New: "\tx.batch.Queue(\"COMMIT\")\n\tx.batch.Queue(\"BEGIN\")\n\treturn x\n}\n\nfunc (x *txn) ver", Match: cuts},
	{Name: "a position is believed before it is confirmed", File: "txn.go", Old: "\tx.batch.Queue(\"COMMIT\")\n", New: "\tx.batch.Queue(\"COMMIT\")\n\tx.s.pos = x.to\n", Match: poison},
	{Name: "schema changes are committed alone", File: "apply.go", Old: "\tvar resync bool\n", New: "\tvar resync bool\n\tfor _, q := range []string{\"COMMIT\", \"BEGIN\"} {\n\t\tif _, err := x.s.conn.Exec(ctx, q); err != nil {\n\t\t\treturn err\n\t\t}\n\t}\n", Match: cuts},
	{Name: "the oldest change of a row counts", File: "apply.go", Old: "\t\tnewest[row{e.coll, e.pk}] = i\n", New: "\t\tif _, ok := newest[row{e.coll, e.pk}]; !ok {\n\t\t\tnewest[row{e.coll, e.pk}] = i\n\t\t}\n", Match: poison},
	{Name: "holes in the log are passed over", File: "apply.go", Old: "\t\t\tif e.seq != next+1+int64(i) {\n", New: "\t\t\tif _ = e; i < 0 {\n", Match: forked},
	{Name: "unique values are checked row by row", File: "schema.go", Old: "const deferred = \" DEFERRABLE INITIALLY DEFERRED\"", New: "const deferred = \"\"", Match: poison},
	{Name: "salvage learns of no broken relation", File: "salvage.go", Old: "\tx.batch.Queue(\"SET CONSTRAINTS ALL IMMEDIATE\")\n", New: "", Match: poison},
	{Name: "refused rows are dropped", File: "txn.go", Old: "\tx.quarantined++\n", New: "\tif x.quarantined++; true {\n\t\treturn\n\t}\n", Match: poison},
	{Name: "an old version passes for the newest", File: "txn.go", Old: "x.batch.Queue(c.table.markStale(), x.s.origin, []string{c.pk})", New: "_ = c.table.markStale", Match: poison},
	{Name: "the journal takes any bytes for text", File: "txn.go", Old: "if utf8.Valid(e.img) && json", New: "if _ = utf8.Valid; json", Match: poison},
	{Name: "any bytes are a row", File: "codec.go", Old: "if !utf8.Valid(img) {", New: "if false {", Match: poison},
	{Name: "plain text goes into the journal", File: "apply.go", Old: "\t\t\te.img = redact(t, e.img)\n", New: "\t\t\t_ = redact\n", Match: poison},
	{Name: "plain text goes into quarantine", File: "txn.go", Old: "\t\tc.img = redact(c.table, c.img)\n", New: "\t\t_ = redact\n", Match: poison},
	{Name: "sealed columns take anything", File: "codec.go", Old: "if text != \"\" && !isSealed(text) {", New: "if false {", Match: poison},
	{Name: "only a sound row is searched for plain text", File: "codec.go", Old: "\tvalues, ok := t.flatValues(string(img))\n\tif !ok {\n\t\tvar err error\n\t\tif values, err = t.anyValues(img); err != nil {\n\t\t\treturn true", New: "\tif _, err := decodeImage(t, img); err != nil && err.(*valueError).sqlState != statePlaintext {\n\t\treturn false\n\t}\n\tvalues, ok := t.flatValues(string(img))\n\tif !ok {\n\t\tvar err error\n\t\tif values, err = t.anyValues(img); err != nil {\n\t\t\treturn true", Match: "Wire|PlaintextIs"},
	{Name: "times lose their zone", File: "codec.go", Old: "t.UTC().Truncate(", New: "t.Truncate(", Match: "WireForms"},
	{Name: "times are read in the server's zone", File: "schema.go", Old: " AT TIME ZONE 'UTC', 'YYYY", New: ", 'YYYY", Match: compare},
	{Name: "ids sort by the locale", File: "schema.go", Old: "id := t.idType() + choose(t.UUID, \"\", ` COLLATE \"C\"`)", New: "id := t.idType()", Match: "TextKeys"},
	{Name: "the anchor is pruned", File: "upkeep.go", Old: "seq < {:acked}\n\t\t   AND seq < coalesce", New: "seq <= {:acked}\n\t\t   AND seq <= coalesce", Match: "Pruning"},
	{Name: "young entries are pruned", File: "upkeep.go", Old: "time.Now().Add(-w.cfg.KeepLog)", New: "time.Now().Add(w.cfg.KeepLog)", Match: "Pruning"},
	{Name: "rows are compared at another moment", File: "reconcile.go", Old: "\tbefore := s.shapesText()\n", New: "\tif before := s.shapesText(); true {\n\t\treturn before != \"\", nil\n\t}\n\tbefore := s.shapesText()\n", Match: compare},
	{Name: "a stored hash vouches for a row", File: "reconcile.go", Old: "bytes.Equal(row.hash, c.hash) && ", New: "", Match: compare},
	{Name: "what SQLite deleted stays", File: "reconcile.go", Old: "\t\tif !seen[pk] {", New: "\t\tif false && !seen[pk] {", Match: compare},
	{Name: "fields are known by their names", File: "evolve.go", Old: "return c.Field == old.Field }", New: "return c.Name == old.Name }", Match: shape},
	{Name: "a column that was lost stays empty", File: "evolve.go", Old: "\t\t\tresync = true\n\t\t}\n\t}\n\treturn resync, nil", New: "\t\t\t_ = i\n\t\t}\n\t}\n\treturn resync, nil", Match: shape},
	{Name: "any entry is the anchor", File: "fork.go", Old: "case h.anchor != nil && *h.anchor == pos.Nonce:", New: "case h.anchor != nil:", Match: forked},
	{Name: "nobody hears of entries without image", File: "apply.go", Old: "\t\tx.passBare(entries[start:i])\n", New: "", Match: "TheLogStays"},
	{Name: "shapes are dropped with the images", File: "budget.go", Old: " AND op IN ({:insert},{:update})", New: " AND op NOT IN (-{:insert},-{:update})", Match: "TheLogStays"},
	{Name: "any tail may be lost", File: "fork.go", Old: "last-first > lostTailMax.Milliseconds()", New: "last < first", Match: "LostTail"},
	{Name: "the tail of another place may be lost", File: "sql/last_journaled.sql", Old: "o.place = $2", New: "$2::uuid IS NOT NULL", Match: "LostTail"},
	{Name: "a run may lack rows", File: "appended.go", Old: "if int64(len(out)) != r.rows() {", New: "if false {", Match: "AppendedRunsAreWhole"},
}

// Every mistake is noticed by the package's own tests.
func TestMutantsAreNoticed(t *testing.T) {
	t.Parallel()
	mutants.Check(t, fence, mistakes)
}
