package pgsync

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"firemode/collections"

	"github.com/jackc/pgx/v5"
	"github.com/pocketbase/pocketbase/core"
)

// asOfSuffix ends the name of the function that shows a table as of a time.
const asOfSuffix = "_as_of"

// reserved are the columns that the views add; a field of such a name is left out of them.
var reserved = []string{"origin", "data_as_of", "is_stale"}

// relation is a table as PostgreSQL has it.
type relation struct {
	oid     int64
	columns map[string]string // name -> number and type
}

// catalog holds the tables of the mirror's schemas by qualified name.
type catalog map[string]*relation

func (r *relation) print() string {
	if r == nil {
		return "absent"
	}
	var b strings.Builder
	fmt.Fprint(&b, r.oid)
	for _, name := range slices.Sorted(maps.Keys(r.columns)) {
		b.WriteString("\x00" + name + " " + r.columns[name])
	}
	return b.String()
}

// has is true for an existing column of the type.
func (r *relation) has(column, typ string) bool {
	if r == nil {
		return false
	}
	_, is, _ := strings.Cut(r.columns[column], " ")
	return is == typ
}

func readCatalog(ctx context.Context, conn *pgx.Conn) (catalog, error) {
	rows, err := conn.Query(ctx, sqlReportCatalog)
	if err != nil {
		return nil, err
	}
	cat := catalog{}
	var name, column, typ string
	var oid, number int64
	_, err = pgx.ForEachRow(rows, []any{&name, &oid, &column, &number, &typ}, func() error {
		if cat[name] == nil {
			cat[name] = &relation{oid, map[string]string{}}
		}
		cat[name].columns[column] = fmt.Sprintf("%d %s", number, typ)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read catalog: %w", err)
	}
	return cat, nil
}

// reportTables returns the shapes of all mirrored tables. Of a table that several databases mirror, it has the columns of
// any of them.
func reportTables(ctx context.Context, conn *pgx.Conn) ([]*Table, error) {
	rows, err := conn.Query(ctx, `SELECT shape::text FROM fm_sync.collection ORDER BY origin, coll`)
	if err != nil {
		return nil, err
	}
	shapes, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("read shapes: %w", err)
	}
	byName := map[string]*Table{}
	for _, shape := range shapes {
		t, err := decodeTable(shape)
		if err != nil {
			return nil, err
		}
		first := byName[t.Name]
		if first == nil {
			byName[t.Name] = t
			continue
		}
		for _, c := range t.Columns {
			if first.column(c.Name) == nil {
				first.Columns = append(first.Columns, c)
			}
		}
	}
	var tables []*Table
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		tables = append(tables, byName[name])
	}
	return tables, nil
}

// wantedReports are all views and functions for these tables, and what they do not show.
func wantedReports(tables []*Table, cat catalog) ([]report, []gap) {
	gaps := declaredGaps(tables)
	var wanted []report
	taken := map[string]bool{}
	for _, r := range fixedReports() {
		taken[r.name] = true
		text := strings.ReplaceAll(r.create, "{{findings}}", findings(tables, cat))
		if cat["fm_sync.verify_run"] == nil {
			text = strings.ReplaceAll(text, "fm_sync.verify_run", noVerifyRun)
		}
		r.create = "CREATE VIEW " + r.qualified() + " WITH (security_barrier = true) AS\n" + text
		wanted = append(wanted, r)
	}
	for _, t := range tables {
		if taken[t.Name] || strings.HasSuffix(t.Name, asOfSuffix) {
			gaps = append(gaps, gap{t.Name, "", true, gapName, "a report has that name"})
			continue
		}
		columns := t.shown(cat["fm_mirror."+t.Name], &gaps)
		wanted = append(wanted, t.currentView(columns))
		if hist := cat["fm_hist."+t.Name]; hist.has("_valid", "tstzrange") && len(t.Name+asOfSuffix) <= identMax {
			wanted = append(wanted, t.asOfFunction(columns, hist))
		}
	}
	slices.SortFunc(gaps, func(a, b gap) int { return strings.Compare(a.collection+"\x00"+a.field, b.collection+"\x00"+b.field) })
	return wanted, gaps
}

// noVerifyRun stands for the table of sealed comparisons in a mirror that has none.
const noVerifyRun = `(SELECT NULL::smallint AS origin, NULL::timestamptz AS at, NULL::boolean AS equal, NULL::bigint AS seq, NULL::bigint AS rows WHERE false)`

// shown are the columns of the table that a view has: no ciphertext, which its readers could not use.
func (t *Table) shown(is *relation, gaps *[]gap) (columns []Column) {
	for _, c := range t.Columns {
		switch {
		case c.Kind == KindEncrypted:
			*gaps = append(*gaps, gap{t.Name, c.Name, true, gapSealed, "personal data; the mirror holds ciphertext and no key"})
		case slices.Contains(reserved, c.Name):
			*gaps = append(*gaps, gap{t.Name, c.Name, true, gapName, "every view has a column of that name"})
		case is.has(c.Name, c.pgType()):
			columns = append(columns, c)
		}
	}
	return columns
}

func (t *Table) currentView(columns []Column) report {
	r := report{name: t.Name, comment: "The rows of " + t.Name + " as they are."}
	r.create = fmt.Sprintf("CREATE VIEW %s WITH (security_barrier = true) AS\nSELECT t._origin AS origin, o.cut_at AS data_as_of, t.id, %st._stale AS is_stale\n  FROM %s t JOIN fm_sync.origin o ON o.origin = t._origin",
		r.qualified(), selected("t", columns, nil), t.pgName())
	return r
}

// asOfFunction is a function and no view because it has a parameter. It runs with the rights of its owner, as a view
// does, and finds columns by name each time, so it never stands against a change of the tables.
func (t *Table) asOfFunction(columns []Column, hist *relation) report {
	r := report{name: t.Name + asOfSuffix, function: true, comment: "The rows of " + t.Name + " as they were at a time."}
	var returns strings.Builder
	for i := range columns {
		fmt.Fprintf(&returns, ", %s %s", pgIdent(columns[i].Name), columns[i].pgType())
	}
	r.create = fmt.Sprintf(`CREATE FUNCTION %s(ts timestamptz)
RETURNS TABLE (origin smallint, data_as_of timestamptz, id %s%s)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $as_of$
SELECT t._origin, o.cut_at, t.id%s
  FROM %s t JOIN fm_sync.origin o ON o.origin = t._origin WHERE t._at <= $1
UNION ALL
SELECT t._origin, o.cut_at, t.id%s
  FROM %s t JOIN fm_sync.origin o ON o.origin = t._origin WHERE t._valid @> $1
$as_of$`, r.qualified(), t.idType(), returns.String(),
		strings.TrimSuffix(", "+selected("t", columns, nil), ", "), t.pgName(),
		strings.TrimSuffix(", "+selected("t", columns, hist), ", "), pgx.Identifier{schemaHistory, t.Name}.Sanitize())
	return r
}

// selected lists columns, each followed by a comma; one that the table lacks is NULL.
func selected(alias string, columns []Column, is *relation) string {
	var b strings.Builder
	for i := range columns {
		c := &columns[i]
		if is != nil && !is.has(c.Name, c.pgType()) {
			b.WriteString("NULL::" + c.pgType() + ", ")
			continue
		}
		b.WriteString(alias + "." + pgIdent(c.Name) + ", ")
	}
	return b.String()
}

// findings are the parts of integrity_findings that depend on the tables: rows that are old, references to nothing,
// versions of one row that overlap.
func findings(tables []*Table, cat catalog) string {
	var b strings.Builder
	add := func(kind string, t *Table, from, record, field, refers, detail, since string) {
		fmt.Fprintf(&b, "\n        UNION ALL SELECT t._origin, %s, %s, %s, %s, %s, %s, %s FROM %s",
			quoteText(kind), quoteText(t.Name), record, quoteText(field), refers, detail, since, from)
	}
	byColl, byName := registry{}, map[string]*Table{}
	for _, t := range tables {
		byColl[t.Coll], byName[t.Name] = tableState{table: t}, t
	}
	const record, none = "t.id::text", "''"
	for _, t := range tables {
		table := cat["fm_mirror."+t.Name]
		if !table.has("_stale", "boolean") {
			continue
		}
		add("stale", t, t.pgName()+" t WHERE t._stale", record, "", none, "'a newer version is in quarantine'", "t._at")
		for i := range t.Columns {
			c := &t.Columns[i]
			if target := byColl.table(c.Target); target != nil && table.has(c.Name, c.pgType()) {
				name := "t." + pgIdent(c.Name)
				same := choose(c.pgType() == target.idType(), "p.id = "+name, "p.id::text = "+name+"::text")
				add("dangling", t, fmt.Sprintf("%s t WHERE %s IS NOT NULL AND NOT EXISTS (SELECT FROM %s p WHERE p._origin = t._origin AND %s)",
					t.pgName(), name, target.pgName(), same), record, c.Name, name+"::text", quoteText("no such row in "+target.Name), "t._at")
			}
		}
		if cat["fm_hist."+t.Name].has("_valid", "tstzrange") {
			add("overlap", t, fmt.Sprintf(`(SELECT h._origin, h.id, h._valid, lead(h._valid) OVER (PARTITION BY h._origin, h.id ORDER BY lower(h._valid), h._ver) AS next FROM %s h) t WHERE t._valid && t.next`,
				pgx.Identifier{schemaHistory, t.Name}.Sanitize()), record, "", none, "'two versions at one time'", "lower(t.next)")
		}
	}
	for _, list := range listRelations() {
		t, target := byName[list.collection], byName[list.target]
		if t == nil || target == nil || !cat["fm_mirror."+t.Name].has(list.field, "jsonb") {
			continue
		}
		name := "t." + pgIdent(list.field)
		add("dangling", t, fmt.Sprintf("%s t CROSS JOIN LATERAL jsonb_array_elements_text(CASE jsonb_typeof(%s) WHEN 'array' THEN %s ELSE '[]' END) AS e (id) WHERE NOT EXISTS (SELECT FROM %s p WHERE p._origin = t._origin AND p.id::text = e.id)",
			t.pgName(), name, name, target.pgName()), record, list.field, "e.id", quoteText("no such row in "+target.Name), "t._at")
	}
	return strings.TrimSpace(b.String())
}

type listRelation struct{ collection, field, target string }

// listRelations are the fields that refer to several records. PostgreSQL has no foreign key for these.
func listRelations() (lists []listRelation) {
	names := map[string]string{}
	for _, c := range collections.All() {
		names[c.Id] = c.Name
	}
	for _, c := range collections.All() {
		for _, f := range c.Fields {
			if r, ok := f.(*core.RelationField); ok && r.IsMultiple() {
				lists = append(lists, listRelation{c.Name, r.Name, names[r.CollectionId]})
			}
		}
	}
	return lists
}
