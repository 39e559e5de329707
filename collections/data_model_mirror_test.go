package collections_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"firemode/collections"
	"firemode/internal/pgtest"
	"firemode/pgsync"

	"github.com/jackc/pgx/v5"
	"github.com/pocketbase/pocketbase/core"
)

// mirrorTimeout bounds the set-up of an empty mirror on a busy machine.
const mirrorTimeout = time.Minute

// mirrorPoll is how often the catalog is read until it is complete.
const mirrorPoll = 50 * time.Millisecond

// mirrorCatalog asks PostgreSQL what each column of the mirror is, in the words of the file.
const mirrorCatalog = `
SELECT c.relname, a.attname, replace(format_type(a.atttypid, NULL), 'timestamp with time zone', 'timestamptz'),
       EXISTS (SELECT FROM pg_constraint k WHERE k.conrelid = c.oid AND k.contype = 'f' AND a.attnum = ANY (k.conkey)),
       EXISTS (SELECT FROM pg_index i JOIN pg_class ic ON ic.oid = i.indexrelid JOIN pg_am m ON m.oid = ic.relam
                WHERE i.indrelid = c.oid AND m.amname = 'gin' AND a.attnum = ANY (i.indkey)),
       coalesce((SELECT CASE WHEN pg_get_constraintdef(k.oid) LIKE '%gAAAA%' THEN 'ciphertext CHECK' ELSE 'CHECK' END
                   FROM pg_constraint k WHERE k.conrelid = c.oid AND k.contype = 'c' AND k.conkey = ARRAY[a.attnum]), '')
  FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
 WHERE c.relnamespace = 'fm_mirror'::regnamespace AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped`

// The mirror column of the tables is what a real PostgreSQL says after the
// worker has set an empty database up.
func TestDataModelMirrorIsTrue(t *testing.T) {
	t.Parallel()
	app := migratedApp(t)
	want := map[string]string{} // table.column -> words of the file
	for _, c := range collections.All() {
		for _, f := range c.Fields {
			if words := mirrorOf(c, f, collectionNames()); words != "–" {
				want[c.Name+"."+f.GetName()] = strings.ReplaceAll(words, "`", "")
			}
		}
	}
	for _, p := range pgsync.Mirrored().Tables {
		want[p.Name+".id"] = "text"
		for _, c := range p.Columns {
			want[p.Name+"."+c.Name] = strings.ReplaceAll(plainMirror(p.Name, c.Name), "`", "")
		}
	}

	ctx, cancel := context.WithTimeout(context.Background(), mirrorTimeout)
	defer cancel()
	conn := mirror(ctx, t, app)
	// Foreign keys come last, after the rows.
	for {
		diff := mirrorDiff(want, mirrorColumns(ctx, t, conn), readDataModel(t))
		if len(diff) == 0 {
			return
		}
		select {
		case <-time.After(mirrorPoll):
		case <-ctx.Done():
			t.Fatal(strings.Join(diff, "\n"))
		}
	}
}

// mirrorDiff lists where PostgreSQL has something else than data_model.md says.
func mirrorDiff(want, got map[string]string, file string) (diff []string) {
	for column, words := range want {
		if got[column] != words {
			diff = append(diff, fmt.Sprintf("%s: data_model.md says %q, PostgreSQL has %q", column, words, got[column]))
		}
	}
	for column, words := range got {
		_, name, _ := strings.Cut(column, ".")
		if _, ok := want[column]; !ok && !(strings.HasPrefix(name, "_") && strings.Contains(file, "| `"+name+"` | ")) {
			diff = append(diff, fmt.Sprintf("%s (%s) is in PostgreSQL and not in data_model.md", column, words))
		}
	}
	return diff
}

func TestMirrorDiffFindsDrift(t *testing.T) {
	t.Parallel()
	got := map[string]string{"users.role": "text, CHECK", "users._ver": "bigint"}
	file := "| `_ver` | bigint |"
	if diff := mirrorDiff(map[string]string{"users.role": "text, CHECK"}, got, file); len(diff) != 0 {
		t.Errorf("equal: got %q", diff)
	}
	for name, want := range map[string]map[string]string{
		"another type":     {"users.role": "text"},
		"a missing column": {"users.role": "text, CHECK", "users.email": "text"},
		"an extra column":  {},
	} {
		if diff := mirrorDiff(want, got, file); len(diff) != 1 {
			t.Errorf("%s: got %q, want one finding", name, diff)
		}
	}
	if diff := mirrorDiff(map[string]string{"users.role": "text, CHECK"}, got, ""); len(diff) != 1 {
		t.Errorf("an undescribed system column: got %q, want one finding", diff)
	}
}

// mirror sets an empty PostgreSQL up as the mirror of app.
func mirror(ctx context.Context, t *testing.T, app core.App) *pgx.Conn {
	t.Helper()
	if err := pgsync.Arm(app, pgsync.Mirrored()); err != nil {
		t.Fatal(err)
	}
	var last int64
	if err := app.DB().NewQuery("SELECT max(seq) FROM _pgsync_log").Row(&last); err != nil {
		t.Fatal(err)
	}
	dsn := pgtest.Database(t)
	worker, err := pgsync.New(app, pgsync.Config{DSN: dsn})
	if err != nil {
		t.Fatal(err)
	}
	if err := worker.Start(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(worker.Stop)
	if err := worker.WaitMirrored(ctx, last); err != nil {
		t.Fatalf("wait for the mirror: %v (%+v)", err, worker.Status())
	}
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(ctx)) })
	return conn
}

func mirrorColumns(ctx context.Context, t *testing.T, conn *pgx.Conn) map[string]string {
	t.Helper()
	rows, err := conn.Query(ctx, mirrorCatalog)
	if err != nil {
		t.Fatal(err)
	}
	columns := map[string]string{}
	var relation, column, kind, check string
	var foreignKey, gin bool
	_, err = pgx.ForEachRow(rows, []any{&relation, &column, &kind, &foreignKey, &gin, &check}, func() error {
		words := kind
		for _, more := range []struct {
			is   bool
			text string
		}{{foreignKey && column != "_origin", "foreign key"}, {gin, "GIN"}, {check != "", check}} {
			if more.is {
				words += ", " + more.text
			}
		}
		columns[relation+"."+column] = words
		return nil
	})
	if err != nil {
		t.Fatal(fmt.Errorf("read the catalog: %w", err))
	}
	return columns
}

// plainMirror names the column of a plain table in PostgreSQL.
func plainMirror(tableName, column string) string {
	for _, p := range pgsync.Mirrored().Tables {
		if p.Name != tableName {
			continue
		}
		for _, c := range p.Columns {
			if c.Name != column {
				continue
			}
			switch c.Kind {
			case pgsync.KindInteger:
				return "`bigint`"
			case pgsync.KindBytes:
				return "`bytea`"
			case pgsync.KindRelation:
				return "`text`, foreign key"
			}
			return "`text`"
		}
		for _, k := range p.Key {
			if k == column {
				return "`text`"
			}
		}
	}
	return "–"
}
