package pgsync

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"firemode/collections"
	"firemode/internal/sqlite"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/pocketbase/dbx"
	"github.com/pocketbase/pocketbase/core"
	"github.com/pocketbase/pocketbase/tests"
)

// patience is how long a test waits for something that should happen within milliseconds, but for the backlog of a soak.
var patience = 60 * time.Second

const token = "gAAAAABmZm9vYmFyYmF6LXF1eF9xdXV4LWNvcmdlLWdyYXVsdA=="

// small is a source of two collections: parents, and kids that refer to them.
var small = Source{Collections: []string{"parents", "kids"}}

// runs is a plain table whose rows come in runs.
var runs = PlainTable{Name: "lines", Key: []string{"doc", "n"}, Columns: []Column{
	{Name: "doc", Kind: KindInteger}, {Name: "n", Kind: KindInteger}, {Name: "line", Kind: KindText},
}, Appended: &Appended{Heads: "heads", Group: []string{"doc"}, Number: "n"}}

func deadline(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

func newID(t testing.TB) string {
	t.Helper()
	id, err := uuid.NewV7()
	if err != nil {
		t.Fatal(err)
	}
	return id.String()
}

// smallTemplate is the migrated data directory with the two collections that smallApp copies: schema changes are slow
// under the race detector, so they are made once.
var smallTemplate = sync.OnceValues(func() (dir string, err error) {
	if dir, err = os.MkdirTemp("", "firemode-pgsync-"); err != nil {
		return "", err
	}
	app := core.NewBaseApp(core.BaseAppConfig{DataDir: dir, DBConnect: sqlite.Connect})
	if err := app.Bootstrap(); err != nil {
		return dir, err
	}
	if err := app.RunAllMigrations(); err != nil {
		return dir, err
	}
	Register(app, small)
	if err := addCollections(app); err != nil {
		return dir, err
	}
	if err := Arm(app, small); err != nil {
		return dir, err
	}
	return dir, app.ResetBootstrapState()
})

// smallApp has the two collections of small, captured from their creation on.
func smallApp(t testing.TB) core.App {
	t.Helper()
	dir, err := smallTemplate()
	if err != nil {
		t.Fatalf("build template: %v", err)
	}
	app, err := tests.NewTestAppWithConfig(core.BaseAppConfig{DataDir: dir, DBConnect: sqlite.Connect})
	if err != nil {
		t.Fatalf("open app: %v", err)
	}
	t.Cleanup(app.Cleanup)
	Register(app, small)
	return app
}

func addCollections(app core.App) error {
	parents := uuidCollection("parents",
		&core.TextField{Name: "name"}, &core.NumberField{Name: "v"},
		&core.SelectField{Name: "kind", Values: []string{"a", "b"}, MaxSelect: 1},
		&core.SelectField{Name: "tags", Values: []string{"x", "y", "z"}, MaxSelect: 3},
		&core.JSONField{Name: "meta"}, &core.DateField{Name: "seen"}, &core.BoolField{Name: "ok"},
		&collections.EncryptedField{Name: "secret", Hidden: true, Scope: "parents.secret"},
		&core.TextField{Name: "hidden", Hidden: true})
	if err := app.Save(parents); err != nil {
		return fmt.Errorf("save parents: %w", err)
	}
	kids := uuidCollection("kids",
		&core.RelationField{Name: "parent", CollectionId: parents.Id, MaxSelect: 1},
		&core.TextField{Name: "email"}, &core.TextField{Name: "note"})
	kids.AddIndex("unq_kids_email", true, "`email`", "`email` != ''")
	if err := app.Save(kids); err != nil {
		return fmt.Errorf("save kids: %w", err)
	}
	return nil
}

func uuidCollection(name string, fields ...core.Field) *core.Collection {
	c := core.NewBaseCollection(name)
	id := c.Fields.GetByName("id").(*core.TextField)
	id.Pattern, id.Min, id.Max, id.AutogeneratePattern = collections.IDPattern, 36, 36, ""
	c.Fields.Add(fields...)
	return c
}

func run(t testing.TB, app core.App, query string, params ...dbx.Params) {
	t.Helper()
	q := app.NonconcurrentDB().NewQuery(query)
	for _, p := range params {
		q.Bind(p)
	}
	if _, err := q.Execute(); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}

func addParent(t testing.TB, app core.App, name string) string {
	t.Helper()
	id := newID(t)
	run(t, app, `INSERT INTO parents (id,name,v,kind,tags,meta,seen,ok,secret,hidden)
		VALUES ({:id},{:name},1.5,'a','["x","z"]','{"k":[1,2.50,"ü"]}','2025-03-30 01:02:03.456Z',TRUE,{:secret},'canary-hidden')`,
		dbx.Params{"id": id, "name": name, "secret": token})
	return id
}

// addParents adds many rows of some 700 bytes in one statement.
func addParents(t testing.TB, app core.App, rows int) {
	t.Helper()
	run(t, app, fmt.Sprintf(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<%d)
		INSERT INTO parents (id,name,v,kind,tags,meta,seen,ok,secret)
		SELECT lower(printf('%%s-%%s-7%%s-8%%s-%%s', hex(randomblob(4)), hex(randomblob(2)), substr(hex(randomblob(2)),2), substr(hex(randomblob(2)),2), hex(randomblob(6)))),
		'name '||i, i*1.25, 'a', '["x"]', json_object('k',i,'text',hex(randomblob(200))), '2025-03-30 01:02:03.456Z', TRUE, '%s' FROM n`, rows, token))
}

func addKid(t testing.TB, app core.App, parent, email string) string {
	t.Helper()
	id := newID(t)
	run(t, app, "INSERT INTO kids (id,parent,email,note) VALUES ({:id},{:parent},{:email},'')",
		dbx.Params{"id": id, "parent": parent, "email": email})
	return id
}

// rawDB is a second process on the same file, as far as SQLite can tell.
func rawDB(t testing.TB, path string) *sql.DB {
	t.Helper()
	db, err := sqlite.Connect(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db.DB()
}

func logEnd(t testing.TB, app core.App) int64 {
	t.Helper()
	var seq int64
	if err := app.DB().NewQuery("SELECT coalesce(max(seq),0) FROM _pgsync_log").Row(&seq); err != nil {
		t.Fatal(err)
	}
	return seq
}

// manual is a worker without its goroutine: the test calls step.
func manual(t testing.TB, app core.App, cfg Config) *Worker {
	t.Helper()
	w, err := New(app, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.prepare(deadline(t)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if w.ses != nil {
			w.ses.resign(context.Background())
		}
		w.disconnect(context.Background())
		w.src.close()
	})
	return w
}

// drain steps until there is nothing left to do.
func drain(t testing.TB, w *Worker) {
	t.Helper()
	ctx := deadline(t)
	for {
		more, err := w.step(ctx)
		if err != nil {
			t.Fatalf("step: %v", err)
		}
		if !more {
			return
		}
	}
}

func started(t testing.TB, app core.App, cfg Config) *Worker {
	t.Helper()
	w, err := New(app, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Stop)
	return w
}

// eventually waits for a condition that only another goroutine can bring about.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	ctx := deadline(t)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

// meanwhile does something again and again until the returned function is called, at the latest when the test ends.
func meanwhile(t testing.TB, every time.Duration, do func(i int)) (finish func()) {
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 0; ; i++ {
			begin := time.Now()
			do(i)
			select {
			case <-stop:
				return
			case <-time.After(max(every, min(2*time.Since(begin), 10*every))): // SQLite does not queue: the others must get in
			}
		}
	})
	finish = sync.OnceFunc(func() { close(stop); wg.Wait() })
	t.Cleanup(finish)
	return finish
}

func mustEqual(t testing.TB, app core.App, dsn string) Report {
	t.Helper()
	r, err := Verify(deadline(t), app, dsn)
	if err != nil {
		t.Fatalf("verify: %v", err)
	}
	for _, table := range r.Tables {
		if table.Differing > 0 {
			t.Errorf("%s: %d rows differ: %v", table.Table, table.Differing, table.Differences)
		}
		if table.Quarantined == 0 && (table.SourceRows != table.MirrorRows || table.SourceRoot != table.MirrorRoot) {
			t.Errorf("%s: %d rows, root %s; mirror has %d, root %s", table.Table, table.SourceRows, table.SourceRoot, table.MirrorRows, table.MirrorRoot)
		}
	}
	return r
}

func rowsOf(t testing.TB, r Report, table string) int64 {
	t.Helper()
	for _, tr := range r.Tables {
		if tr.Table == table {
			return tr.MirrorRows
		}
	}
	t.Fatalf("no table %s in the report", table)
	return 0
}

func pg(t testing.TB, dsn string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(deadline(t), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

func one[T any](t testing.TB, conn *pgx.Conn, query string, args ...any) T {
	t.Helper()
	var v T
	if err := conn.QueryRow(deadline(t), query, args...).Scan(&v); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return v
}

func pgExec(t testing.TB, conn *pgx.Conn, query string, args ...any) {
	t.Helper()
	if _, err := conn.Exec(deadline(t), query, args...); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}

// journalEqualsLog compares the journal with the source's log entry by entry.
func journalEqualsLog(t testing.TB, app core.App, conn *pgx.Conn) {
	t.Helper()
	type line struct {
		Seq  int64  `db:"seq"`
		Coll string `db:"coll"`
		Pk   string `db:"pk"`
		Op   int    `db:"op"`
		Img  string `db:"img"`
	}
	var want []line
	if err := app.DB().NewQuery("SELECT seq,coll,pk,op,coalesce(img,'') AS img FROM _pgsync_log ORDER BY seq").All(&want); err != nil {
		t.Fatal(err)
	}
	rows, err := conn.Query(deadline(t), "SELECT seq,coll,pk,op::int,coalesce(img::text,'') FROM fm_sync.journal ORDER BY seq, at")
	if err != nil {
		t.Fatal(err)
	}
	got, err := pgx.CollectRows(rows, pgx.RowToStructByPos[line])
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != len(want) {
		t.Errorf("journal has %d entries, the log %d", len(got), len(want))
	}
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			t.Fatalf("journal entry %d = %+v, want %+v", i, got[i], want[i])
		}
	}
}

func heldReason(err error) string {
	var hold *holdError
	if errors.As(err, &hold) {
		return hold.reason
	}
	return fmt.Sprint(err)
}
