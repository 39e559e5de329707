package pgsync

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"

	"firemode/internal/pgtest"

	"github.com/pocketbase/dbx"
	"github.com/pocketbase/pocketbase/core"
)

func sealed(t testing.TB, app core.App, dsn string) Report {
	t.Helper()
	r, err := VerifySealed(deadline(t), app, dsn)
	if err != nil {
		t.Fatalf("sealed verify: %v", err)
	}
	return r
}

// A sealed run is stored as it was found, equal or not, with roots that can be made again from what is stored.
func TestSealedRunIsStored(t *testing.T) {
	t.Parallel()
	app := smallApp(t)
	dsn := pgtest.Database(t)
	parent := addParent(t, app, "p")
	addKid(t, app, parent, "k")
	drain(t, manual(t, app, Config{DSN: dsn}))
	conn := pg(t, dsn)
	good := sealed(t, app, dsn)
	if !good.Equal || !good.Sealed || good.Rows != 2 || good.SourceRoot != good.MirrorRoot || good.Position != logEnd(t, app) {
		t.Fatalf("a fresh mirror: %+v", good)
	}
	if again := sealed(t, app, dsn); again.SourceRoot == good.SourceRoot || again.Tables[0].SourceRoot != good.Tables[0].SourceRoot {
		t.Errorf("a second run: the root names its run, those of the tables only what they hold: %+v", again)
	}
	pgExec(t, conn, "UPDATE fm_mirror.parents SET ok = false")
	bad := sealed(t, app, dsn)
	if bad.Equal || !bad.Sealed || bad.SourceRoot == bad.MirrorRoot || bad.Differing != 1 {
		t.Fatalf("a changed row: %+v", bad)
	}
	for _, want := range []Report{good, bad} {
		var equal bool
		var epoch, seq, rows int64
		var source, mirror []byte
		err := conn.QueryRow(deadline(t), `SELECT equal, epoch, seq, rows, source_root, mirror_root FROM fm_sync.verify_run WHERE run = $1::text::uuid`, want.Run).
			Scan(&equal, &epoch, &seq, &rows, &source, &mirror)
		if err != nil || equal != want.Equal || epoch != want.Epoch || seq != want.Position || rows != want.Rows ||
			hex.EncodeToString(source) != want.SourceRoot || hex.EncodeToString(mirror) != want.MirrorRoot {
			t.Errorf("run %s is stored as %v %d %d %d %x %x (%v), want %+v", want.Run, equal, epoch, seq, rows, source, mirror, err, want)
		}
		got, _, err := readRun(deadline(t), conn, want.SourceID, want.Run)
		if err != nil || got.SourceRoot != want.SourceRoot || got.MirrorRoot != want.MirrorRoot {
			t.Errorf("run %s read back: %+v (%v)", want.Run, got, err)
		}
	}
	if got, _, err := readRun(deadline(t), conn, good.SourceID, ""); err != nil || !got.Equal {
		t.Errorf("the newest run that was equal: %+v (%v)", got, err)
	}
	pgExec(t, conn, "UPDATE fm_sync.verify_run SET tables = replace(tables::text, '\"source_rows\":1', '\"source_rows\":2')::json WHERE run = $1::text::uuid", good.Run)
	if _, _, err := readRun(deadline(t), conn, good.SourceID, good.Run); err == nil {
		t.Error("a run whose tables were changed was believed")
	}
}

// Rows that PostgreSQL refuses are in both roots: by what the quarantine keeps of them. When that is not the row, the
// roots differ, and the row is named.
func TestSealedRunCountsQuarantine(t *testing.T) {
	t.Parallel()
	app := smallApp(t)
	dsn := pgtest.Database(t)
	w := manual(t, app, Config{DSN: dsn})
	parent, other := addParent(t, app, "p"), addParent(t, app, "other")
	drain(t, w)
	run(t, app, "UPDATE parents SET kind='no such kind' WHERE id={:id}", dbx.Params{"id": parent}) // an older version stays
	run(t, app, "INSERT INTO parents (id,name,kind,v,tags,seen,ok,secret) VALUES ('no uuid','n','a',1,'[]','',TRUE,'0412 345 678')")
	run(t, app, "UPDATE parents SET name=CAST(x'ff' AS TEXT) WHERE id={:id}", dbx.Params{"id": other}) // no canonical form
	run(t, app, "INSERT INTO parents (id,name,kind,v,tags,seen,ok,secret) VALUES ({:id},'n','a',1,'[]','',TRUE,'0412 345 678')", dbx.Params{"id": newID(t)})
	dangling := addKid(t, app, newID(t), "dangling")
	drain(t, w)
	r := sealed(t, app, dsn)
	if !r.Equal || r.Quarantined != 5 || r.Rows != 5 || r.SourceRoot != r.MirrorRoot {
		t.Fatalf("with rows in quarantine: %+v", r)
	}
	conn := pg(t, dsn)
	if n := one[int](t, conn, "SELECT count(*) FROM fm_sync.quarantine WHERE position('0412' IN encode(img, 'escape')) > 0"); n != 0 {
		t.Error("the quarantine holds a plain telephone number")
	}
	pgExec(t, conn, "UPDATE fm_sync.quarantine SET img = replace(convert_from(img, 'UTF8'), 'dangling', 'tampered')::bytea WHERE pk = $1", dangling)
	bad := sealed(t, app, dsn)
	if bad.Equal || bad.Differing != 1 || bad.SourceRoot == bad.MirrorRoot || !strings.Contains(fmt.Sprint(bad.Tables), dangling+" differs") {
		t.Errorf("a row changed in quarantine: %+v", bad)
	}
	pgExec(t, conn, "DELETE FROM fm_sync.quarantine WHERE pk = $1", dangling)
	if bad := sealed(t, app, dsn); bad.Equal || !strings.Contains(fmt.Sprint(bad.Tables), dangling+" is missing in the mirror") {
		t.Errorf("a row lost from quarantine: %+v", bad)
	}
	if _, err := Prove(deadline(t), app, dsn, "parents", parent, r.Run); err == nil {
		t.Error("a row in quarantine was proved")
	}
}

// A row is proved for every place in trees of many sizes, and no proof survives the change of a single byte.
func TestProofs(t *testing.T) {
	t.Parallel()
	app := smallApp(t)
	dsn := pgtest.Database(t)
	w := manual(t, app, Config{DSN: dsn})
	parents := map[string]bool{}
	for n := range 9 {
		parents[addParent(t, app, "p")] = true
		drain(t, w)
		r := sealed(t, app, dsn)
		for id := range parents {
			p, err := Prove(deadline(t), app, dsn, "parents", id, "")
			if err != nil || p.Root != r.SourceRoot || p.Rows != int64(n+1) || p.ID != id {
				t.Fatalf("row %s of %d: %+v (%v)", id, n+1, p, err)
			}
			data, err := p.Encode()
			if err != nil {
				t.Fatal(err)
			}
			if got, err := CheckProof(data); err != nil || got.Root != r.SourceRoot {
				t.Fatalf("check: %v", err)
			}
		}
	}
	kid := addKid(t, app, newID(t), "k\u00fc<&>")
	run(t, app, "UPDATE kids SET parent='' WHERE id={:id}", dbx.Params{"id": kid})
	drain(t, w)
	sealed(t, app, dsn)
	for table, id := range map[string]string{"kids": kid, "parents": one[string](t, pg(t, dsn), "SELECT id::text FROM fm_mirror.parents ORDER BY id LIMIT 1 OFFSET 4")} {
		p, err := Prove(deadline(t), app, dsn, table, id, "")
		if err != nil {
			t.Fatal(err)
		}
		data, err := p.Encode()
		if err != nil {
			t.Fatal(err)
		}
		flipEveryByte(t, data)
		refuseForgeries(t, p)
	}
}

func flipEveryByte(t *testing.T, data []byte) {
	t.Helper()
	if _, err := CheckProof(data); err != nil {
		t.Fatalf("the proof itself: %v", err)
	}
	for at := range data {
		for _, mask := range []byte{1, 2, 4, 8, 16, 32, 64, 128, 255} {
			changed := bytes.Clone(data)
			changed[at] ^= mask
			if _, err := CheckProof(changed); !errors.Is(err, ErrProof) {
				t.Fatalf("byte %d of %q changed to %q: %v, want a refusal", at, data, changed[at], err)
			}
		}
	}
	for _, changed := range [][]byte{data[:len(data)-1], append(bytes.Clone(data), '\n'), append([]byte(" "), data...), nil, []byte("{}\n"), []byte("null\n")} {
		if _, err := CheckProof(changed); !errors.Is(err, ErrProof) {
			t.Errorf("%q: %v, want a refusal", changed, err)
		}
	}
}

// refuseForgeries changes what a forger would: well-formed, and in every field.
func refuseForgeries(t *testing.T, p Proof) {
	t.Helper()
	cells := func(change func(c []ProofCell) []ProofCell) func(*Proof) {
		return func(p *Proof) { p.Cells = change(append([]ProofCell{}, p.Cells...)) }
	}
	for name, forge := range map[string]func(*Proof){
		"format": func(p *Proof) { p.Format = "firemode-mirror-proof-2" }, "source": func(p *Proof) { p.SourceID = newID(t) },
		"epoch": func(p *Proof) { p.Epoch++ }, "position": func(p *Proof) { p.Seq-- }, "run": func(p *Proof) { p.Run = newID(t) },
		"table": func(p *Proof) { p.Table += "s" }, "collection": func(p *Proof) { p.Collection += "s" }, "id": func(p *Proof) { p.ID = newID(t) },
		"rows": func(p *Proof) { p.Rows++ }, "fewer rows": func(p *Proof) { p.Rows-- }, "row index": func(p *Proof) { p.RowIndex++ },
		"tables": func(p *Proof) { p.Tables++ }, "table index": func(p *Proof) { p.TableIndex = 1 - p.TableIndex }, "no row": func(p *Proof) { p.RowIndex = -1 },
		"another root": func(p *Proof) { p.Root = strings.Repeat("00", 32) }, "path": func(p *Proof) { p.TablePath = nil },
		"longer path": func(p *Proof) { p.TablePath = append([]string{p.Root}, p.TablePath...) },
		"value":       cells(func(c []ProofCell) []ProofCell { c[0].Value = ptr("forged"); return c }),
		"NULL":        cells(func(c []ProofCell) []ProofCell { c[1].Value = nil; return c }),
		"name":        cells(func(c []ProofCell) []ProofCell { c[0].Column = "forged"; return c }),
		"kind":        cells(func(c []ProofCell) []ProofCell { c[0].Kind += "s"; return c }),
		"field":       cells(func(c []ProofCell) []ProofCell { c[0].Field += "s"; return c }),
		"order":       cells(func(c []ProofCell) []ProofCell { c[0], c[1] = c[1], c[0]; return c }),
		"column less": cells(func(c []ProofCell) []ProofCell { return c[1:] }),
		"column more": cells(func(c []ProofCell) []ProofCell { return append(c, c[0]) }),
		"another cut": cells(func(c []ProofCell) []ProofCell { c[0].Field, c[0].Kind = "a", "b:"+c[0].Kind; return c }),
	} {
		forged := p
		forge(&forged)
		data, err := forged.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := CheckProof(data); !errors.Is(err, ErrProof) {
			t.Errorf("%s: %v, want a refusal", name, err)
		}
	}
}

// What was added since a run does no harm; what was changed does, and is said.
func TestProofsOfThePast(t *testing.T) {
	t.Parallel()
	app := smallApp(t)
	dsn := pgtest.Database(t)
	w := manual(t, app, Config{DSN: dsn})
	parent := addParent(t, app, "p")
	doomed := addParent(t, app, "doomed")
	drain(t, w)
	prove := func(table, id, run string) error {
		_, err := Prove(deadline(t), app, dsn, table, id, run)
		return err
	}
	if err := prove("parents", parent, ""); !errors.Is(err, ErrNoRun) {
		t.Errorf("without a run: %v", err)
	}
	first := sealed(t, app, dsn).Run
	added := addParent(t, app, "later")
	addKid(t, app, added, "k")
	drain(t, w)
	if err := prove("parents", parent, first); err != nil {
		t.Errorf("after rows were added: %v", err)
	}
	if err := prove("parents", added, first); !errors.Is(err, ErrNoRow) {
		t.Errorf("a row that came later: %v", err)
	}
	run(t, app, "UPDATE kids SET note='changed'")
	drain(t, w)
	if err := prove("parents", parent, first); err != nil {
		t.Errorf("after another table changed: %v", err)
	}
	for _, change := range []string{"UPDATE parents SET name='changed' WHERE name='later'", "UPDATE parents SET v=2 WHERE name='doomed'", "DELETE FROM parents WHERE name='doomed'"} {
		run(t, app, change)
		drain(t, w)
		err := prove("parents", parent, first)
		if later := strings.Contains(change, "later"); later && err != nil || !later && !errors.Is(err, ErrRunChanged) {
			t.Errorf("%s: %v", change, err)
		}
	}
	second := sealed(t, app, dsn).Run
	if err := errors.Join(prove("parents", parent, second), prove("parents", parent, "")); err != nil {
		t.Errorf("with a fresh run: %v", err)
	}
	if err := prove("parents", doomed, second); !errors.Is(err, ErrNoRow) {
		t.Errorf("a row that is gone: %v", err)
	}
	if err := prove("nothing", parent, second); err == nil || !strings.Contains(err.Error(), "no such table") {
		t.Errorf("a table that is not mirrored: %v", err)
	}
	pgExec(t, pg(t, dsn), "UPDATE fm_mirror.parents SET ok=false WHERE id=$1", parent)
	if err := prove("parents", parent, second); !errors.Is(err, ErrRunChanged) {
		t.Errorf("a row changed by hand: %v", err)
	}
	if err := prove("parents", parent, sealed(t, app, dsn).Run); !errors.Is(err, ErrRunUnequal) {
		t.Errorf("a run that was not equal: %v", err)
	}
}

// A comparison that is cut short leaves nobody behind: see the leak check of TestMain.
func TestVerifyCanBeStopped(t *testing.T) {
	t.Parallel()
	app := smallApp(t)
	dsn := pgtest.Database(t)
	w := manual(t, app, Config{DSN: dsn})
	addParents(t, app, 5000)
	drain(t, w)
	ctx, cancel := context.WithCancel(deadline(t))
	s := w.ses
	for _, coll := range s.reg.sorted() {
		if s.reg.table(coll).Name != "parents" {
			continue
		}
		next, stop := ahead(s.columnRows(ctx, s.reg.table(coll), 1<<62))
		if _, ok, err := next(); !ok || err != nil {
			t.Errorf("first row: %v (%v)", ok, err)
		}
		cancel()
		stop()
	}
	cancel()
}
