package pgsync

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"firemode/internal/pgtest"
	"firemode/internal/sqlite"

	"github.com/pocketbase/pocketbase/core"
)

// kindOfField makes a field of one type and says what SQL writes into it.
type kindOfField struct {
	make  func(c *core.Collection) core.Field
	value string
	// widen changes the field from one value to many, or back.
	widen func(f core.Field, many bool)
}

var fieldKinds = map[string]kindOfField{
	"text":     {make: func(*core.Collection) core.Field { return &core.TextField{} }, value: "'t'||v"},
	"editor":   {make: func(*core.Collection) core.Field { return &core.EditorField{} }, value: "'<p>'||v"},
	"email":    {make: func(*core.Collection) core.Field { return &core.EmailField{} }, value: "'a@example.com'"},
	"url":      {make: func(*core.Collection) core.Field { return &core.URLField{} }, value: "'https://example.com/'||v"},
	"number":   {make: func(*core.Collection) core.Field { return &core.NumberField{} }, value: "v*1.5"},
	"bool":     {make: func(*core.Collection) core.Field { return &core.BoolField{} }, value: "TRUE"},
	"date":     {make: func(*core.Collection) core.Field { return &core.DateField{} }, value: "'2025-03-30 01:02:03.456Z'"},
	"autodate": {make: func(*core.Collection) core.Field { return &core.AutodateField{OnCreate: true} }, value: "'2025-03-30 01:02:03.456Z'"},
	"json":     {make: func(*core.Collection) core.Field { return &core.JSONField{} }, value: "json_object('v',v)"},
	"place":    {make: func(*core.Collection) core.Field { return &core.GeoPointField{} }, value: `'{"lon":1.5,"lat":2}'`},
	"select": {make: func(*core.Collection) core.Field { return &core.SelectField{Values: []string{"a", "b"}, MaxSelect: 1} }, value: "'a'",
		widen: func(f core.Field, many bool) { f.(*core.SelectField).MaxSelect = choosing(many) }},
	"file": {make: func(*core.Collection) core.Field { return &core.FileField{MaxSelect: 1} }, value: "'a.txt'",
		widen: func(f core.Field, many bool) { f.(*core.FileField).MaxSelect = choosing(many) }},
	"relation": {make: func(c *core.Collection) core.Field { return &core.RelationField{CollectionId: c.Id, MaxSelect: 1} }, value: "id",
		widen: func(f core.Field, many bool) { f.(*core.RelationField).MaxSelect = choosing(many) }},
}

func choosing(many bool) int {
	if many {
		return 2
	}
	return 1
}

// Every change of a schema that PocketBase knows, with every type of field, and changes by hand on both sides, while
// somebody writes without a pause and the mirror is live: in the end both sides are equal.
func TestSchemaChangesUnderLoad(t *testing.T) {
	t.Parallel()
	app := smallApp(t)
	dsn := pgtest.Database(t)
	for i := range 5 {
		addKid(t, app, addParent(t, app, fmt.Sprint(i)), newID(t))
	}
	w := started(t, app, Config{DSN: dsn, Poll: time.Millisecond, BackoffMax: 20 * time.Millisecond, HoldRetry: 20 * time.Millisecond})
	finish := keepWriting(t, app)

	names := slices.Sorted(maps.Keys(fieldKinds))
	for i, name := range names {
		kind, next := fieldKinds[name], fieldKinds[names[(i+1)%len(names)]]
		add := func(kind kindOfField) {
			change1(t, app, "parents", func(c *core.Collection) {
				f := kind.make(c)
				f.SetName("field")
				c.Fields.Add(f)
			})
			run(t, app, "UPDATE parents SET field="+kind.value)
		}
		add(kind)
		change1(t, app, "parents", func(c *core.Collection) { c.Fields.GetByName("field").SetName("renamed") })
		run(t, app, "UPDATE parents SET renamed="+kind.value+" WHERE rowid % 2 = 0")
		if kind.widen != nil {
			for _, many := range []bool{true, false} {
				change1(t, app, "parents", func(c *core.Collection) { kind.widen(c.Fields.GetByName("renamed"), many) })
			}
		}
		// Another type under the same name, then none.
		change1(t, app, "parents", func(c *core.Collection) {
			c.Fields.RemoveByName("renamed")
			f := next.make(c)
			f.SetName("renamed")
			c.Fields.Add(f)
		})
		run(t, app, "UPDATE parents SET renamed="+next.value)
		change1(t, app, "parents", func(c *core.Collection) { c.Fields.RemoveByName("renamed") })
	}
	for _, change := range []func(c *core.Collection){
		func(c *core.Collection) { c.AddIndex("unq_load", true, "`email`, `parent`", "`email` != ''") },
		func(c *core.Collection) { c.AddIndex("idx_load", false, "`note`", "") },
		func(c *core.Collection) { c.RemoveIndex("unq_load") },
		func(c *core.Collection) { c.Name = "children" },
		func(c *core.Collection) { c.Name = "kids" },
	} {
		change1(t, app, mustName(app), change)
		broken := mustCollection(t, app, mustName(app))
		broken.AddIndex("bad", true, "`nosuch`", "")
		if app.Save(broken) == nil {
			t.Fatal("a bad index was saved")
		}
	}
	// By hand in SQLite: the triggers name the columns they knew.
	for _, change := range []string{"ADD COLUMN by_hand TEXT", "DROP COLUMN by_hand", "RENAME COLUMN note TO other", "RENAME COLUMN other TO note"} {
		run(t, app, "ALTER TABLE kids "+change)
	}
	// By hand in PostgreSQL, while the mirror works on it.
	conn := pg(t, dsn)
	for _, change := range []string{
		"ALTER TABLE fm_mirror.parents DROP COLUMN name CASCADE",
		"DROP SCHEMA fm_report CASCADE; ALTER TABLE fm_mirror.parents ALTER COLUMN v TYPE text", // which the views stand against
		"ALTER TABLE fm_mirror.parents RENAME COLUMN meta TO atem", "ALTER TABLE fm_mirror.parents ADD COLUMN more int",
		"DROP TABLE fm_mirror.kids CASCADE",
	} {
		pgExec(t, conn, change)
		run(t, app, "UPDATE parents SET v=v+1")
		run(t, app, "UPDATE kids SET note=note||'+'")
		if err := w.WaitMirrored(deadline(t), logEnd(t, app)); err != nil {
			t.Fatalf("after %s: %v; %+v", change, err, w.Status())
		}
		eventually(t, "the mirror is live", func() bool { return w.Status().State == StateLive })
	}
	// A table that is there under another name has taken the names of its indexes along: held until somebody drops it.
	pgExec(t, conn, "ALTER TABLE fm_mirror.kids RENAME TO taken_away")
	run(t, app, "UPDATE kids SET note=note||'+'")
	eventually(t, "the mirror is held", func() bool { return w.Status().State == StateHeld })
	pgExec(t, conn, "DROP TABLE fm_mirror.taken_away CASCADE")
	if writes := finish(); writes < 10 {
		t.Errorf("the writer wrote %d times, want at least 10", writes)
	}
	mustEqual(t, app, dsn)

	// A collection goes, and one of its name comes.
	finish = keepWriting(t, app)
	if err := app.Delete(mustCollection(t, app, "kids")); err != nil {
		t.Fatal(err)
	}
	again := uuidCollection("kids", &core.TextField{Name: "note"}, &core.RelationField{Name: "parent", CollectionId: mustCollection(t, app, "parents").Id, MaxSelect: 1})
	if err := app.Save(again); err != nil {
		t.Fatal(err)
	}
	run(t, app, "INSERT INTO kids (id,parent) SELECT id, id FROM parents")
	finish()
	mustEqual(t, app, dsn)
	journalEqualsLog(t, app, conn)
}

// mustName is what the collection of kids is called now.
func mustName(app core.App) string {
	if _, err := app.FindCollectionByNameOrId("kids"); err == nil {
		return "kids"
	}
	return "children"
}

// keepWriting writes from a connection of its own, in columns that stay, until the returned function is called. Tables
// may be away for a moment.
func keepWriting(t *testing.T, app core.App) (finish func() int) {
	t.Helper()
	db := rawDB(t, filepath.Join(app.DataDir(), "data.db"))
	statements := []string{"UPDATE parents SET name=name||'.'", "UPDATE kids SET email=email||'.' WHERE email<>''", "UPDATE children SET email=email||'.' WHERE email<>''"}
	writes := 0
	wait := meanwhile(t, 10*time.Millisecond, func(i int) {
		_, err := db.Exec(statements[i%len(statements)])
		switch {
		case err == nil:
			writes++
		case !sqlite.Busy(err) && !strings.Contains(err.Error(), "no such") && !strings.Contains(err.Error(), "locked"):
			t.Errorf("%s: %v", statements[i%len(statements)], err)
		}
	})
	return func() int {
		wait()
		return writes
	}
}
