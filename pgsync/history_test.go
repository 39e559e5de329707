//go:build !race

package pgsync

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"firemode/collections"
	"firemode/internal/pgtest"
	"firemode/internal/testapp"

	"github.com/pocketbase/dbx"
	"github.com/pocketbase/pocketbase/core"
)

// reconnect is a restart of the worker as far as PostgreSQL can tell.
func (p *past) reconnect() {
	p.t.Helper()
	p.w.disconnect(context.Background())
	drain(p.t, p.w)
}

func (p *past) mustHold(when string) {
	p.t.Helper()
	for i, problem := range p.problems() {
		p.t.Errorf("%s: %s", when, problem)
		if i == 5 {
			break // the first ones say it
		}
	}
}

// Repairs and rebuilds write rows again that are what they were: they leave no version, and the row keeps the one it had,
// also when its whole table was lost. What somebody changed by hand meanwhile never was.
func TestRepairsLeaveNoVersion(t *testing.T) {
	t.Parallel()
	p := newPast(t)
	seed := rand.Uint64()
	t.Log("seed", seed)
	p.busy(rand.New(rand.NewPCG(seed, 1)), 40, 1, map[int]func(){
		20: func() {
			change1(t, p.app, "parents", func(c *core.Collection) { c.Fields.Add(&core.TextField{Name: "extra"}) })
		},
	})
	addParent(t, p.app, "never changed")
	p.carry()
	run(t, p.app, "UPDATE parents SET hidden='y'") // nothing that is mirrored
	p.carry()
	p.mustHold("before")
	type stand struct {
		Versions string
		Kept     int
	}
	read := func() stand {
		t.Helper()
		return stand{one[string](t, p.conn, "SELECT string_agg(id||' '||_ver||' '||_at, ',' ORDER BY id) FROM fm_mirror.parents"),
			one[int](t, p.conn, "SELECT count(*)::int FROM fm_hist.parents")}
	}
	want := read()
	for _, damage := range []string{
		"UPDATE fm_mirror.parents SET v = v + 100",
		"UPDATE fm_mirror.parents SET _stale = true",
		"ALTER TABLE fm_mirror.parents DROP COLUMN _hash",
		"TRUNCATE fm_mirror.parents CASCADE",
		"DROP TABLE fm_mirror.parents CASCADE",
	} {
		pgExec(t, p.conn, damage)
		if _, _, err := Reconcile(p.app, small); err != nil {
			t.Fatal(err)
		}
		p.reconnect()
		p.cuts = append(p.cuts, logEnd(t, p.app))
		mustEqual(t, p.app, p.dsn)
		if got := read(); got != want {
			t.Errorf("%s: got %+v, want %+v", damage, got, want)
		}
	}
	p.mustHold("after")
	// The control: a row that forgets since when it is what it is leaves a hole.
	pgExec(t, p.conn, "UPDATE fm_mirror.parents SET _ver = _ver - 1, _at = _at + interval '1 hour'")
	if len(p.problems()) == 0 {
		t.Error("moved versions are not seen")
	}
}

// A mirror from before there was a history gets one at the next start, without comparing its rows anew. So does one whose
// history somebody damaged: what is lost there is lost, and from then on it is kept again.
func TestHistoryComesToAMirrorThatHasNone(t *testing.T) {
	t.Parallel()
	p := newPast(t)
	parent := addParent(t, p.app, "p")
	change1(t, p.app, "parents", func(c *core.Collection) { c.Fields.RemoveByName("meta") })
	addKid(t, p.app, parent, "k")
	p.carry()
	batches := func() int { return one[int](t, p.conn, "SELECT batches::int FROM fm_sync.origin") }
	for i, damage := range []string{
		"DROP SCHEMA fm_hist CASCADE",
		"DROP TABLE fm_hist.parents CASCADE",
		"ALTER TABLE fm_hist.parents DROP COLUMN v CASCADE",
		"ALTER TABLE fm_hist.parents DROP COLUMN _valid CASCADE",
		"ALTER TABLE fm_mirror.parents DISABLE TRIGGER fm_keep_updated",
		"DROP TRIGGER fm_keep_deleted ON fm_mirror.parents",
		"DO $$ BEGIN EXECUTE 'DROP FUNCTION '||(SELECT tgfoid::regproc FROM pg_trigger WHERE tgname='fm_keep_updated' AND tgrelid='fm_mirror.parents'::regclass)||' CASCADE'; END $$",
	} {
		pgExec(t, p.conn, damage)
		before, seen := batches(), p.w.ses.pos
		p.w.disconnect(context.Background())
		if _, err := p.w.step(deadline(t)); err != nil {
			t.Fatal(err)
		}
		if p.w.ses.reg.nextResync() != "" || p.w.ses.pos != seen {
			t.Errorf("%s: rows are compared anew", damage)
		}
		drain(t, p.w)
		if got := batches() - before; got > 2 { // tables, then keys
			t.Errorf("%s: %d batches, want no more than two", damage, got)
		}
		run(t, p.app, "UPDATE parents SET v={:n}", dbx.Params{"n": 100 + i})
		p.carry()
		if got := one[string](t, p.conn, `SELECT _op||' '||(_ver_to=(SELECT max(_ver) FROM fm_mirror.parents))||' '||(to_jsonb(h) ->> (SELECT attname FROM pg_attribute
			WHERE attrelid='fm_mirror.parents'::regclass AND attname LIKE '\_dropped\_%\_meta') IS NOT NULL) FROM fm_hist.parents h ORDER BY _ver_to DESC LIMIT 1`); got != "2 true true" {
			t.Errorf("after %s: got %s, want an update to the version of the row, with the column that was set aside", damage, got)
		}
	}
	run(t, p.app, "DELETE FROM kids")
	p.carry()
	if got := one[string](t, p.conn, `SELECT h._op||' '||(h._ver_to=o.epoch<<44|o.seq)||' '||(upper(h._valid)=o.cut_at)||' '||h.email FROM fm_hist.kids h, fm_sync.origin o`); got != "3 true true k" {
		t.Errorf("deleted row = %s, want the position and the cut of its transaction", got)
	}
	mustEqual(t, p.app, p.dsn)
}

// A history follows a change of type, of ids and a deleted collection like the rows: under the old name, set aside.
func TestHistoryIsSetAsideLikeItsRows(t *testing.T) {
	t.Parallel()
	p := newPast(t)
	addParent(t, p.app, "p")
	kid := addKid(t, p.app, "", "old")
	p.carry()
	run(t, p.app, "UPDATE kids SET email='new'")
	change1(t, p.app, "parents", func(c *core.Collection) {
		id := c.Fields.GetByName("v").GetId()
		c.Fields.RemoveByName("v")
		c.Fields.Add(&core.TextField{Id: id + "x", Name: "v"})
	})
	p.carry()
	run(t, p.app, "UPDATE parents SET v='six'")
	p.carry()
	if got := one[string](t, p.conn, `SELECT string_agg(v||'/'||(to_jsonb(h)->>(SELECT attname FROM pg_attribute WHERE attrelid='fm_hist.parents'::regclass
		AND attname LIKE '\_dropped\_%\_v')), ',') FROM fm_hist.parents h`); got != "/1.5" {
		t.Errorf("versions = %s, want the number that was set aside", got)
	}
	if err := p.app.Delete(mustCollection(t, p.app, "kids")); err != nil {
		t.Fatal(err)
	}
	if err := p.app.Save(uuidCollection("kids", &core.TextField{Name: "email"})); err != nil {
		t.Fatal(err)
	}
	run(t, p.app, "INSERT INTO kids (id,email) VALUES ({:id},'again')", dbx.Params{"id": kid})
	p.carry()
	run(t, p.app, "UPDATE kids SET email='and again'")
	p.carry()
	aside := one[string](t, p.conn, `SELECT c.oid::regclass::text FROM pg_class c WHERE relnamespace='fm_hist'::regnamespace AND relname LIKE '\_dropped\_%\_kids'`)
	for table, want := range map[string]string{"fm_hist.kids": "again", aside: "old"} {
		if got := one[string](t, p.conn, "SELECT string_agg(email, ',') FROM "+table); got != want {
			t.Errorf("%s = %s, want %s", table, got, want)
		}
	}
	// Nothing that happens to rows that were set aside gets into the history of those that took their name.
	pgExec(t, p.conn, "DELETE FROM fm_mirror."+one[string](t, p.conn, `SELECT quote_ident(relname) FROM pg_class WHERE relnamespace='fm_mirror'::regnamespace AND relname LIKE '\_dropped\_%\_kids'`))
	if got := one[int](t, p.conn, "SELECT count(*)::int FROM fm_hist.kids"); got != 1 {
		t.Errorf("%d versions, want 1", got)
	}
	mustEqual(t, p.app, p.dsn)
}

// When the control schema is lost, positions go on after those of the history, in an epoch of their own.
func TestHistoryOutlivesTheControlSchema(t *testing.T) {
	t.Parallel()
	p := newPast(t)
	addParent(t, p.app, "p")
	run(t, p.app, "UPDATE parents SET v=2")
	p.carry()
	run(t, p.app, "UPDATE parents SET v=3")
	p.carry()
	pgExec(t, p.conn, "DROP SCHEMA fm_sync CASCADE")
	p.reconnect()
	run(t, p.app, "UPDATE parents SET v=4")
	p.carry()
	mustEqual(t, p.app, p.dsn)
	if p.w.ses.pos.Epoch != 2 {
		t.Errorf("epoch %d, want 2", p.w.ses.pos.Epoch)
	}
	if got := one[string](t, p.conn, "SELECT string_agg(v||' '||(_ver>>44)||'-'||(_ver_to>>44), ', ' ORDER BY _ver) FROM fm_hist.parents"); got != "2 1-1, 3 1-2" {
		t.Errorf("history = %s", got)
	}
	if overlaps, holes := p.gaps(); overlaps+holes > 0 {
		t.Errorf("%d overlaps, %d holes", overlaps, holes)
	}
}

// Every mirrored table has a history with its columns and no others, so with no password and no hidden field; only the
// operation log, whose rows change when a value is erased, has none.
func TestEveryTableHasAHistory(t *testing.T) {
	t.Parallel()
	app := testapp.New(t, func(app core.App) { Register(app, Mirrored()) })
	if err := Arm(app, Mirrored()); err != nil {
		t.Fatal(err)
	}
	dsn := pgtest.Database(t)
	drain(t, manual(t, app, Config{DSN: dsn}))
	conn := pg(t, dsn)
	columns := func(schema, table string) string {
		return one[string](t, conn, `SELECT coalesce(string_agg(attname||' '||format_type(atttypid, atttypmod), ', ' ORDER BY attname), '') FROM pg_attribute
			WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped AND attname <> ALL ($2)`, schema+"."+table,
			slices.Concat(mirrorColumns, historyColumns))
	}
	for _, name := range Mirrored().names() {
		rows, past := columns(schemaMirror, name), columns(schemaHistory, name)
		if name == collections.TableCRDTOps {
			rows = ""
		}
		if rows != past {
			t.Errorf("%s: history has %s, want %s", name, past, rows)
		}
	}
	if got := one[int](t, conn, `SELECT count(*)::int FROM pg_indexes WHERE schemaname='fm_mirror' AND tablename='audit_log' AND indexdef LIKE '%brin (created_at)%'`); got != 1 {
		t.Errorf("%d block range indexes on the audit log's time, want 1", got)
	}
}

// The history takes a clock that was set back, and a row that comes back within one position: both are seen, and neither
// keeps the mirror from going on.
func TestHistoryTakesAClockThatWasSetBack(t *testing.T) {
	t.Parallel()
	p := newPast(t)
	addParent(t, p.app, "p")
	p.carry()
	for i, at := range []int64{500_000, 400_000, 450_000} {
		run(t, p.app, "UPDATE parents SET v={:n}", dbx.Params{"n": i + 10})
		run(t, p.app, "UPDATE _pgsync_log SET at={:at} WHERE seq={:s}", dbx.Params{"at": at, "s": logEnd(t, p.app)})
		drain(t, p.w)
	}
	mustEqual(t, p.app, p.dsn)
	if got := one[string](t, p.conn, "SELECT string_agg(v||' '||isempty(_valid), ', ' ORDER BY _ver) FROM fm_hist.parents"); got != "1.5 false, 10 true, 11 false" {
		t.Errorf("history = %s", got)
	}
	overlaps := one[int](t, p.conn, fmt.Sprintf("SELECT count(*)::int FROM %[1]s a JOIN %[1]s b ON a.id = b.id AND a._ver < b._ver AND a._valid && b._valid", "fm_hist.parents"))
	if overlaps != 1 {
		t.Errorf("%d overlaps, want the one of 400 to 450 seconds", overlaps)
	}
}

// Entries whose images were dropped say that a row was written, not that it stayed the same: it stands since the last of them.
func TestARowWithoutImagesStandsSinceItsLastEntry(t *testing.T) {
	t.Parallel()
	app := smallApp(t)
	w := manual(t, app, Config{DSN: pgtest.Database(t)})
	drain(t, w)
	conn := pg(t, w.cfg.DSN)
	parent := addParent(t, app, "A")
	run(t, app, "UPDATE parents SET name='B' WHERE id={:p}", dbx.Params{"p": parent})
	last := logEnd(t, app)
	run(t, app, "UPDATE _pgsync_log SET img=NULL WHERE seq>={:s}", dbx.Params{"s": last - 1})
	drain(t, w)
	mustEqual(t, app, w.cfg.DSN)
	if got := one[int64](t, conn, "SELECT _ver & ((1::bigint<<44)-1) FROM fm_mirror.parents WHERE id=$1", parent); got != last {
		t.Errorf("B stands since entry %d, want %d", got, last)
	}
}
