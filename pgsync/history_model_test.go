//go:build !race

package pgsync

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"firemode/internal/pgtest"

	"github.com/jackc/pgx/v5"
	"github.com/pocketbase/dbx"
	"github.com/pocketbase/pocketbase/core"
)

// past is a mirror whose history is held against its journal. Log entries get times of their own, a second apart, so that
// every instant is known.
type past struct {
	t    *testing.T
	app  core.App
	conn *pgx.Conn
	w    *Worker
	dsn  string
	coll string
	cuts []int64 // the last entry of each batch
}

func newPast(t *testing.T) *past {
	app, dsn := smallApp(t), pgtest.Database(t)
	p := &past{t: t, app: app, dsn: dsn, conn: pg(t, dsn), w: manual(t, app, Config{DSN: dsn}), coll: mustCollection(t, app, "parents").Id}
	p.carry()
	return p
}

// carry brings the log to PostgreSQL as one batch.
func (p *past) carry() {
	p.t.Helper()
	var done int64
	if len(p.cuts) > 0 {
		done = p.cuts[len(p.cuts)-1]
	}
	run(p.t, p.app, "UPDATE _pgsync_log SET at = seq * 1000 WHERE seq > {:s}", dbx.Params{"s": done})
	drain(p.t, p.w)
	p.cuts = append(p.cuts, logEnd(p.t, p.app))
}

// table is the newest shape.
func (p *past) table() *Table { return p.w.ses.reg.table(p.coll) }

// pastRow is one row by field, in canonical form.
type pastRow map[string]string

// event is a change of a row as the mirror should show it: from a position and an instant on. A nil row is gone.
type event struct {
	pk      string
	seq     int64
	at      int64
	pastRow pastRow
}

// journal replays what the mirror was told: entries folded to the newest per row between two batches or shapes, without
// those that changed no value.
func (p *past) journal() []event {
	p.t.Helper()
	rows, err := p.conn.Query(deadline(p.t), `SELECT seq, op::int, pk, (extract(epoch FROM at) * 1000)::bigint, coalesce(img::text, '')
		FROM fm_sync.journal WHERE coll = $1 ORDER BY epoch, seq`, p.coll)
	if err != nil {
		p.t.Fatal(err)
	}
	type line struct {
		Seq int64
		Op  int
		PK  string
		At  int64
		Img string
	}
	lines, err := pgx.CollectRows(rows, pgx.RowToStructByPos[line])
	if err != nil || len(lines) == 0 {
		p.t.Fatalf("journal: %d lines, %v", len(lines), err)
	}
	var shape *Table
	var out []event
	now := map[string]pastRow{}
	var run []event
	fold := func() {
		newest := map[string]int{}
		for i, e := range run {
			newest[e.pk] = i
		}
		for i, e := range run {
			if newest[e.pk] != i || (e.pastRow == nil) == (now[e.pk] == nil) && maps.Equal(e.pastRow, now[e.pk]) {
				continue
			}
			now[e.pk] = e.pastRow
			out = append(out, e)
		}
		run = run[:0]
	}
	for _, cut := range p.cuts {
		for len(lines) > 0 && lines[0].Seq <= cut {
			l := lines[0]
			lines = lines[1:]
			switch l.Op {
			case opInsert, opUpdate:
				run = append(run, event{l.PK, l.Seq, l.At, p.decode(shape, l.Img)})
			case opDelete:
				run = append(run, event{l.PK, cut, cut * 1000, nil})
			case opBarrier:
				fold()
				if shape, err = decodeTable(l.Img); err != nil {
					p.t.Fatal(err)
				}
			}
		}
		fold()
	}
	return out
}

// decode reads an image by the shape of its time, as a row of the newest shape.
func (p *past) decode(shape *Table, img string) pastRow {
	cells, err := decodeImage(shape, []byte(img))
	if err != nil {
		p.t.Fatal(err)
	}
	out := pastRow{}
	for _, c := range p.table().Columns {
		value := ptr(map[Kind]string{KindNumber: "0", KindBool: "false"}[c.Kind])
		if c.Kind == KindDate {
			value = nil
		}
		if i := slices.IndexFunc(shape.Columns, func(s Column) bool { return s.Field == c.Field }); i >= 0 {
			value = cells[i]
		}
		out[c.Field] = cellText(c.Kind, value)
	}
	return out
}

func cellText(k Kind, value cell) string {
	if value == nil {
		return "NULL"
	}
	return "=" + string(new(canonicalizer).appendCanonical(nil, k, *value))
}

// asOf reads the rows that stood under a condition on rows and another one on superseded versions.
func (p *past) asOf(current, superseded string, arg any) map[string]pastRow {
	p.t.Helper()
	t := p.table()
	rows, err := p.conn.Query(deadline(p.t), fmt.Sprintf("SELECT id::text, %[1]s FROM %[2]s WHERE %[3]s UNION ALL SELECT id::text, %[1]s FROM %[4]s WHERE %[5]s",
		t.readColumns(), t.pgName(), current, t.history().pgName(), superseded), arg)
	if err != nil {
		p.t.Fatal(err)
	}
	out := map[string]pastRow{}
	var pk string
	cells := make([]cell, len(t.Columns))
	dest := []any{&pk}
	for i := range cells {
		dest = append(dest, &cells[i])
	}
	_, err = pgx.ForEachRow(rows, dest, func() error {
		r := pastRow{}
		for i, c := range t.Columns {
			r[c.Field] = cellText(c.Kind, cells[i])
		}
		if out[pk] != nil {
			r["twice"] = "yes"
		}
		out[pk] = r
		return nil
	})
	if err != nil {
		p.t.Fatal(err)
	}
	return out
}

// problems lists where rows and history are not what the journal says, at every cut and around every instant.
func (p *past) problems() (out []string) {
	p.t.Helper()
	events := p.journal()
	state := func(counts func(e event) bool) map[string]pastRow {
		rows := map[string]pastRow{}
		for _, e := range events {
			if counts(e) && e.pastRow != nil {
				rows[e.pk] = e.pastRow
			} else if counts(e) {
				delete(rows, e.pk)
			}
		}
		return rows
	}
	differ := func(what string, at int64, want, got map[string]pastRow) {
		for pk := range want {
			if !maps.Equal(want[pk], got[pk]) {
				out = append(out, fmt.Sprintf("%s %d: %s = %v, want %v", what, at, pk, got[pk], want[pk]))
			}
			delete(got, pk)
		}
		for pk := range got {
			out = append(out, fmt.Sprintf("%s %d: %s = %v, want none", what, at, pk, got[pk]))
		}
	}
	for _, cut := range p.cuts {
		ver := p.w.ses.pos.Epoch<<epochShift | cut
		differ("position", cut, state(func(e event) bool { return e.seq <= cut }),
			p.asOf("_ver <= $1", "_ver <= $1 AND _ver_to > $1", ver))
	}
	for ms := int64(500); ms < (p.cuts[len(p.cuts)-1]+1)*1000; ms += 500 {
		differ("instant", ms, state(func(e event) bool { return e.at <= ms }), p.asOf("_at <= $1", "_valid @> $1::timestamptz", time.UnixMilli(ms)))
	}
	versions := 0
	alive := map[string]bool{}
	for _, e := range events {
		if alive[e.pk] {
			versions++
		}
		alive[e.pk] = e.pastRow != nil
	}
	if got := one[int](p.t, p.conn, "SELECT count(*)::int FROM "+p.table().history().pgName()); got != versions {
		out = append(out, fmt.Sprintf("%d superseded versions, want %d", got, versions))
	}
	overlaps, holes := p.gaps()
	if overlaps+holes > 0 {
		out = append(out, fmt.Sprintf("%d overlaps, %d holes", overlaps, holes))
	}
	return out
}

// gaps counts neighbouring versions of a row that overlap, and those between which there is nothing although the row was
// not deleted.
func (p *past) gaps() (overlaps, holes int) {
	p.t.Helper()
	err := p.conn.QueryRow(deadline(p.t), fmt.Sprintf(`WITH v AS (
		SELECT _origin, id, _ver, _ver_to, _op, _valid FROM %s
		UNION ALL SELECT _origin, id, _ver, NULL, NULL, tstzrange(_at, NULL) FROM %s
	), w AS (
		SELECT *, lead(_ver) OVER o AS next_ver, lead(_valid) OVER o AS next_valid FROM v WINDOW o AS (PARTITION BY _origin, id ORDER BY _ver)
	)
	SELECT count(*) FILTER (WHERE _ver_to > next_ver OR _valid && next_valid),
	       count(*) FILTER (WHERE _op = 2 AND (next_ver IS NULL OR _ver_to < next_ver OR upper(_valid) < lower(next_valid)))
	  FROM w`, p.table().history().pgName(), p.table().pgName())).Scan(&overlaps, &holes)
	if err != nil {
		p.t.Fatal(err)
	}
	return overlaps, holes
}

// busy writes batches of up to so many random changes, and changes the schema between them.
func (p *past) busy(rng *rand.Rand, batches, writes int, changes map[int]func()) {
	p.t.Helper()
	var alive, gone []string
	pick := func(list []string) (string, dbx.Params) {
		id := list[rng.IntN(len(list))]
		return id, dbx.Params{"id": id, "n": rng.IntN(4), "s": strings.Repeat("s", rng.IntN(4))}
	}
	for i := range batches {
		for range 1 + rng.IntN(writes) {
			text := "name"
			for _, c := range p.table().Columns {
				if c.Kind == KindText {
					text = c.Name // some text column of the newest shape, whatever it is called
				}
			}
			table := quoteIdent(p.table().Name)
			switch n := rng.IntN(10); {
			case len(alive) == 0 || n == 0:
				id := newID(p.t)
				run(p.t, p.app, "INSERT INTO "+table+" (id,v,tags) VALUES ({:id},1,'[]')", dbx.Params{"id": id})
				alive = append(alive, id)
			case n == 1 && len(gone) > 0:
				id, params := pick(gone)
				run(p.t, p.app, "INSERT INTO "+table+" (id,v,tags) VALUES ({:id},{:n},'[]')", params)
				alive, gone = append(alive, id), slices.DeleteFunc(gone, func(g string) bool { return g == id })
			case n == 2:
				id, params := pick(alive)
				run(p.t, p.app, "DELETE FROM "+table+" WHERE id={:id}", params)
				gone, alive = append(gone, id), slices.DeleteFunc(alive, func(a string) bool { return a == id })
			case n == 3:
				_, params := pick(alive)
				run(p.t, p.app, "UPDATE "+table+" SET v=v, hidden=hidden||'x' WHERE id={:id}", params) // changes nothing mirrored
			case n == 4:
				_, params := pick(alive)
				run(p.t, p.app, "UPDATE "+table+" SET "+quoteIdent(text)+"={:s} WHERE id={:id}", params)
			default:
				_, params := pick(alive)
				run(p.t, p.app, "UPDATE "+table+" SET v={:n} WHERE id={:id}", params)
			}
		}
		p.carry()
		if changes[i] != nil {
			changes[i]()
			p.carry()
		}
	}
}

// Whatever is written, and however the schema changes meanwhile: at every position and at every instant, rows and history
// together are what the journal says, without overlaps and holes, and no version is kept that changed nothing.
func TestHistoryIsTheJournal(t *testing.T) {
	t.Parallel()
	seeds, batches := 2, 24
	if os.Getenv("FIREMODE_SOAK") != "" {
		seeds, batches = 20, 200
	}
	for range seeds {
		seed := rand.Uint64()
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			p := newPast(t)
			change := func(fn func(c *core.Collection)) func() {
				return func() { change1(t, p.app, p.table().Name, fn) }
			}
			p.busy(rand.New(rand.NewPCG(seed, 1)), batches, 10, map[int]func(){
				3: change(func(c *core.Collection) { c.Fields.GetByName("name").SetName("title") }),
				6: change(func(c *core.Collection) { c.Fields.Add(&core.TextField{Name: "extra"}, &core.DateField{Name: "due"}) }),
				9: change(func(c *core.Collection) {
					title, extra := c.Fields.GetByName("title"), c.Fields.GetByName("extra")
					title.SetName("swap")
					extra.SetName("title")
					title.SetName("extra")
				}),
				12: change(func(c *core.Collection) { c.Fields.RemoveByName("meta") }),
				15: change(func(c *core.Collection) { c.Name = "elders" }),
				18: func() { run(t, p.app, "UPDATE elders SET v=v+1, extra='all'") },
			})
			mustEqual(t, p.app, p.dsn)
			p.mustHold("in the end")
			if n := one[int](t, p.conn, "SELECT count(*)::int FROM fm_hist.elders"); n < batches {
				t.Errorf("%d superseded versions in %d batches", n, batches)
			}
		})
	}
}

// The controls: the model sees a trigger without its condition, one that closes versions by its own clock, an upsert that
// moves the version of a row it does not change, and a history that does not follow a rename.
func TestHistoryModelSeesFaults(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]func(t *testing.T, p *past){
		"no condition": func(t *testing.T, p *past) {
			function := one[string](t, p.conn, "SELECT tgfoid::regproc::text FROM pg_trigger WHERE tgrelid = 'fm_mirror.parents'::regclass AND tgname = 'fm_keep_updated'")
			pgExec(t, p.conn, "DROP TRIGGER fm_keep_updated ON fm_mirror.parents")
			pgExec(t, p.conn, "CREATE TRIGGER fm_keep_updated AFTER UPDATE ON fm_mirror.parents FOR EACH ROW EXECUTE FUNCTION "+function+"()")
		},
		"own clock": func(t *testing.T, p *past) {
			text := one[string](t, p.conn, `SELECT pg_get_functiondef(tgfoid) FROM pg_trigger WHERE tgrelid = 'fm_mirror.parents'::regclass AND tgname = 'fm_keep_updated'`)
			changed := strings.Replace(text, "until := NEW._at", "until := now()", 1)
			if changed == text {
				t.Fatal("the function is another one")
			}
			pgExec(t, p.conn, changed)
		},
		"moved version": func(t *testing.T, p *past) {
			pgExec(t, p.conn, `CREATE FUNCTION moved() RETURNS trigger LANGUAGE plpgsql AS
				$$ BEGIN NEW._ver := NEW._ver + 1; NEW._at := NEW._at + interval '1 second'; RETURN NEW; END $$`)
			pgExec(t, p.conn, "CREATE TRIGGER moved BEFORE UPDATE ON fm_mirror.parents FOR EACH ROW EXECUTE FUNCTION moved()")
		},
		"no rename": func(t *testing.T, p *past) {
			addParent(t, p.app, "first")
			p.carry()
			run(t, p.app, "UPDATE parents SET name='second' WHERE name='first'")
			p.carry()
			change1(t, p.app, "parents", func(c *core.Collection) { c.Fields.GetByName("name").SetName("title") })
			p.carry()
			for _, change := range []string{"title TO name", "kind TO title", "name TO kind"} {
				pgExec(t, p.conn, "ALTER TABLE fm_hist.parents RENAME COLUMN "+change)
			}
		},
		"none": func(*testing.T, *past) {},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPast(t)
			seed, last := rand.Uint64(), newID(t)
			p.busy(rand.New(rand.NewPCG(seed, 1)), 6, 10, map[int]func(){2: func() { fault(t, p) }})
			for _, write := range []string{"INSERT INTO parents (id,v,tags) VALUES ({:id},1,'[]')", "UPDATE parents SET v=v+1 WHERE id={:id}", "UPDATE parents SET v=v WHERE id={:id}"} {
				run(t, p.app, write, dbx.Params{"id": last})
				p.carry()
			}
			if found := len(p.problems()) > 0; found != (name != "none") {
				t.Errorf("seed %d: problems seen: %t", seed, found)
			}
		})
	}
}
