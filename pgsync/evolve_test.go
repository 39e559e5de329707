package pgsync

import (
	"testing"

	"firemode/internal/pgtest"

	"github.com/pocketbase/dbx"
	"github.com/pocketbase/pocketbase/core"
)

func change1(t *testing.T, app core.App, name string, change func(c *core.Collection)) {
	t.Helper()
	c, err := app.FindCollectionByNameOrId(name)
	if err != nil {
		t.Fatal(err)
	}
	change(c)
	if err := app.Save(c); err != nil {
		t.Fatalf("save %s: %v", name, err)
	}
}

// Every schema change of PocketBase, with rows written before and after it, once mirrored step by step and once as one
// backlog that holds data of every shape.
func TestSchemaChangesAreFollowed(t *testing.T) {
	t.Parallel()
	for name, stepwise := range map[string]bool{"stepwise": true, "backlog": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			app := smallApp(t)
			dsn := pgtest.Database(t)
			conn := pg(t, dsn)
			w := manual(t, app, Config{DSN: dsn})
			count := 0
			write := func(columns string) {
				t.Helper()
				count++
				run(t, app, "UPDATE "+columns)
				if stepwise {
					drain(t, w)
				}
			}
			parent := addParent(t, app, "first")
			addKid(t, app, parent, "one@example.com")
			write("parents SET v=v+1")

			// add a field; rows that are not touched again have its default on both sides
			change1(t, app, "parents", func(c *core.Collection) {
				c.Fields.Add(&core.TextField{Name: "extra"}, &core.DateField{Name: "due"}, &core.NumberField{Name: "count"},
					&core.JSONField{Name: "doc"}, &core.RelationField{Name: "best", CollectionId: c.Id, MaxSelect: 1})
			})
			write("parents SET extra='e', best=id")
			// swap the names of two fields
			change1(t, app, "parents", func(c *core.Collection) {
				name, extra := c.Fields.GetByName("name"), c.Fields.GetByName("extra")
				name.SetName("swap")
				extra.SetName("name")
				name.SetName("extra")
			})
			write("parents SET v=v+1 WHERE extra='first'")
			// rename; single select to multiple; another set of values; remove; new unique index
			change1(t, app, "parents", func(c *core.Collection) { c.Fields.GetByName("v").SetName("level") })
			write("parents SET level=level+1")
			change1(t, app, "parents", func(c *core.Collection) { c.Fields.GetByName("kind").(*core.SelectField).MaxSelect = 2 })
			write("parents SET level=level+1")
			change1(t, app, "parents", func(c *core.Collection) {
				c.Fields.GetByName("tags").(*core.SelectField).Values = []string{"x", "y", "z", "w"}
			})
			write(`parents SET tags='["w"]'`)
			change1(t, app, "parents", func(c *core.Collection) { c.Fields.RemoveByName("meta") })
			write("parents SET level=level+1")
			change1(t, app, "kids", func(c *core.Collection) { c.AddIndex("unq_kids_note", true, "`note`, `parent`", "") })
			write("kids SET note='n'")
			change1(t, app, "kids", func(c *core.Collection) { c.Name = "children" })
			write("children SET note='renamed'")
			drain(t, w)
			mustEqual(t, app, dsn)

			if got := one[string](t, conn, "SELECT extra||' '||name||' '||level||' '||kind::text||' '||(best=id)::text FROM fm_mirror.parents"); got != `first e 6.5 ["a"] true` {
				t.Errorf("row = %s", got)
			}
			if got := one[int](t, conn, `SELECT count(*)::int FROM information_schema.columns WHERE table_schema='fm_mirror' AND table_name='parents'
			AND (column_name LIKE '\_dropped\_%\_meta' OR column_name LIKE '\_dropped\_%\_kind')`); got != 2 {
				t.Errorf("%d columns set aside, want 2", got)
			}
			if got := one[string](t, conn, `SELECT to_jsonb(p)->>(SELECT column_name FROM information_schema.columns WHERE table_schema='fm_mirror'
			AND column_name LIKE '\_dropped\_%\_meta') FROM fm_mirror.parents p`); got != `{"k": [1, 2.50, "ü"]}` {
				t.Errorf("the dropped column holds %s", got)
			}

			// A save that fails leaves neither a barrier nor broken triggers.
			end := logEnd(t, app)
			c, err := app.FindCollectionByNameOrId("children")
			if err != nil {
				t.Fatal(err)
			}
			c.AddIndex("bad", true, "`nosuch`", "")
			if app.Save(c) == nil {
				t.Fatal("a bad index was saved")
			}
			if got := logEnd(t, app); got != end {
				t.Errorf("a failed save left %d log entries", got-end)
			}
			write("children SET note='again'")

			// Deleting a collection sets the table aside; one of the same name starts afresh.
			c, err = app.FindCollectionByNameOrId("children")
			if err != nil {
				t.Fatal(err)
			}
			if err := app.Delete(c); err != nil {
				t.Fatal(err)
			}
			again := uuidCollection("kids", &core.TextField{Name: "email"},
				&core.RelationField{Name: "parent", CollectionId: mustCollection(t, app, "parents").Id, MaxSelect: 1})
			if err := app.Save(again); err != nil {
				t.Fatal(err)
			}
			run(t, app, "INSERT INTO kids (id,email,parent) VALUES ({:id},'new',{:p})", dbx.Params{"id": newID(t), "p": parent})
			drain(t, w)
			mustEqual(t, app, dsn)
			if got := one[int](t, conn, `SELECT count(*)::int FROM information_schema.tables WHERE table_schema='fm_mirror' AND table_name LIKE '\_dropped\_%\_children'`); got != 1 {
				t.Errorf("%d tables set aside, want 1", got)
			}
			journalEqualsLog(t, app, conn)
		})
	}
}

func mustCollection(t testing.TB, app core.App, name string) *core.Collection {
	t.Helper()
	c, err := app.FindCollectionByNameOrId(name)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// What somebody changes in PostgreSQL by hand is put right at the next connection.
func TestManualChangesInPostgresAreRepaired(t *testing.T) {
	t.Parallel()
	app := smallApp(t)
	dsn := pgtest.Database(t)
	parent := addParent(t, app, "p")
	addKid(t, app, parent, "k")
	drain(t, manual(t, app, Config{DSN: dsn}))
	conn := pg(t, dsn)
	for _, damage := range []string{ // the views of fm_report stand against most of it
		"ALTER TABLE fm_mirror.parents DROP COLUMN name CASCADE",
		"DROP SCHEMA fm_report CASCADE; ALTER TABLE fm_mirror.parents ALTER COLUMN v TYPE text",
		"DROP TABLE fm_mirror.kids CASCADE",
		"ALTER TABLE fm_mirror.parents DROP COLUMN _hash",
	} {
		pgExec(t, conn, damage)
		drain(t, manual(t, app, Config{DSN: dsn}))
		if r := mustEqual(t, app, dsn); rowsOf(t, r, "parents") != 1 || rowsOf(t, r, "kids") != 1 {
			t.Errorf("after %s: %+v", damage, r)
		}
		if got := one[string](t, conn, "SELECT p.name || p.v || k.email FROM fm_report.parents p, fm_report.kids k"); got != "p1.5k" {
			t.Errorf("after %s the views show %q", damage, got)
		}
	}
}

// Rows of collections whose ids are not UUIDs keep text ids, and relations to them are text.
func TestTextIDs(t *testing.T) {
	t.Parallel()
	src := Source{Collections: []string{"zones", "spots"}}
	app := smallApp(t)
	Register(app, src)
	zones := core.NewBaseCollection("zones")
	zones.Fields.Add(&core.TextField{Name: "label"})
	if err := app.Save(zones); err != nil {
		t.Fatal(err)
	}
	spots := core.NewBaseCollection("spots")
	spots.Fields.Add(&core.RelationField{Name: "zone", CollectionId: zones.Id, MaxSelect: 1})
	if err := app.Save(spots); err != nil {
		t.Fatal(err)
	}
	if err := Arm(app, src); err != nil {
		t.Fatal(err)
	}
	run(t, app, "INSERT INTO zones (id,label) VALUES ('zone00000000001','z')")
	run(t, app, "INSERT INTO spots (id,zone) VALUES ('spot00000000001','zone00000000001')")
	dsn := pgtest.Database(t)
	drain(t, manual(t, app, Config{DSN: dsn}))
	mustEqual(t, app, dsn)
	conn := pg(t, dsn)
	if got := one[string](t, conn, "SELECT pg_typeof(id)||' '||pg_typeof(zone) FROM fm_mirror.spots"); got != "text text" {
		t.Errorf("types = %s, want text text", got)
	}
	if _, err := conn.Exec(deadline(t), "DELETE FROM fm_mirror.zones"); classify(err) != classData {
		t.Errorf("delete of a referenced zone: %v, want a foreign key violation", err)
	}
}
