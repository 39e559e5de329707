package collections_test

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"firemode/collections"
	"firemode/pgsync"

	"github.com/pocketbase/pocketbase/core"
	"github.com/pocketbase/pocketbase/tools/dbutils"
)

// facts is what the code and the migrated database say, in the form of the file.
type facts struct {
	blocks   map[string]table
	sections []string                   // names that have a section of their own
	enums    map[string][]string        // collection.field -> values
	names    map[string]bool            // everything that may be named in prose
	columns  map[string]map[string]bool // collection or table -> its columns
}

// plainTables have a section each; PocketBase's own tables do not.
var plainTables = []string{
	collections.TableCRDTDocs, collections.TableCRDTActors, collections.TableCRDTOps, collections.TableCRDTHeads, collections.TableCRDTRedactions, collections.TableCRDTConflicts,
	collections.TableCRDTSnaps, "_pgsync_log", "_pgsync_cut", "_pgsync_meta", collections.TableParams,
}

// describedEnums get a table with the meaning of each value.
var describedEnums = []string{"users.role", "test_sessions.status", "classifications.outcome", "defects.state", "as1851_rules.provenance"}

func readFacts(t *testing.T, app core.App) *facts {
	t.Helper()
	f := &facts{blocks: map[string]table{}, enums: map[string][]string{}, names: map[string]bool{}, columns: map[string]map[string]bool{}}
	byID := collectionNames()
	var edges [][]string
	for _, c := range collections.All() {
		f.sections = append(f.sections, c.Name)
		f.name(c.Name)
		f.name(c.Id)
		f.columns[c.Name] = map[string]bool{}
		var rows [][]string
		for _, field := range c.Fields {
			f.name(field.GetName())
			f.name(field.GetId())
			f.columns[c.Name][field.GetName()] = true
			rows = append(rows, fieldRow(c, field, byID))
			if s, ok := field.(*core.SelectField); ok {
				f.enums[c.Name+"."+s.Name] = s.Values
				for _, v := range s.Values {
					f.name(v)
				}
			}
			if r, ok := field.(*core.RelationField); ok {
				edges = append(edges, []string{c.Name, r.Name, byID[r.CollectionId], cardinality(r)})
			}
		}
		f.blocks["fields "+c.Name] = table{[]string{"field", "type and constraint", "read", "record API writes", "mirror", "meaning"}, rows, true}
		var indexes [][]string
		for _, text := range c.Indexes {
			index := dbutils.ParseIndex(text)
			f.name(index.IndexName)
			if strings.HasSuffix(index.IndexName, "_id_nocase") {
				continue // every collection has it; told once, in the conventions
			}
			indexes = append(indexes, indexRow(index))
		}
		f.blocks["indexes "+c.Name] = table{[]string{"index", "on", "kind"}, indexes, false}
	}
	f.blocks["references"] = table{[]string{"from", "field", "to", "how many"}, edges, false}
	f.readDatabase(t, app)
	f.blocks["access"] = accessTable(t)
	f.readReports()
	for _, field := range describedEnums {
		var rows [][]string
		for _, v := range f.enums[field] {
			rows = append(rows, []string{"`" + v + "`"})
		}
		f.blocks["values "+field] = table{[]string{"value", "meaning"}, rows, true}
	}
	return f
}

// readReports adds the views of PostgreSQL that answer questions.
func (f *facts) readReports() {
	var rows [][]string
	questions := pgsync.Reports()
	for _, name := range slices.Sorted(maps.Keys(questions)) {
		f.name(name)
		rows = append(rows, []string{"`" + name + "`", questions[name]})
	}
	f.blocks["reports"] = table{[]string{"view", "question"}, rows, false}
}

// collectionNames maps the fixed ids of collections to their names.
func collectionNames() map[string]string {
	byID := map[string]string{}
	for _, c := range collections.All() {
		byID[c.Id] = c.Name
	}
	return byID
}

func (f *facts) name(s string) { f.names[s] = true }

func cardinality(r *core.RelationField) string {
	switch {
	case r.MaxSelect > 1:
		return fmt.Sprintf("up to %d", r.MaxSelect)
	case r.Required:
		return "exactly one"
	}
	return "none or one"
}

func indexRow(index dbutils.Index) []string {
	columns := make([]string, len(index.Columns))
	for i, c := range index.Columns {
		columns[i] = "`" + c.Name + "`"
		if c.Collate != "" {
			columns[i] += " " + c.Collate
		}
	}
	kind := "plain"
	if index.Unique {
		kind = "unique"
	}
	if index.Where != "" {
		kind += ", only where " + strings.ReplaceAll(index.Where, "`", "")
	}
	return []string{"`" + index.IndexName + "`", strings.Join(columns, ", "), kind}
}

var raisePattern = regexp.MustCompile(`(?s)^CREATE TRIGGER \S+ BEFORE (INSERT|DELETE|UPDATE)(?: OF (.*?))? ON .*RAISE\(ABORT, '([^']*)'\)`)

// readDatabase adds the plain tables and the triggers of the migrated database.
func (f *facts) readDatabase(t *testing.T, app core.App) {
	t.Helper()
	var schema []struct {
		Type  string `db:"type"`
		Name  string `db:"name"`
		Table string `db:"tbl_name"`
		SQL   string `db:"sql"`
	}
	err := app.DB().NewQuery("SELECT type, name, tbl_name, coalesce(sql, '') AS sql FROM sqlite_schema ORDER BY rowid").All(&schema)
	if err != nil {
		t.Fatal(err)
	}
	f.name(collections.Superusers)
	f.columns[collections.Superusers] = map[string]bool{collections.FieldRole: true}
	for _, v := range collections.SuperuserRole().(*core.SelectField).Values {
		f.name(v)
	}
	var triggers [][]string
	for _, s := range schema {
		switch {
		case s.Type == "trigger":
			f.name(s.Name)
			m := raisePattern.FindStringSubmatch(s.SQL)
			if m == nil {
				t.Fatalf("trigger %s has an unknown form:\n%s", s.Name, s.SQL)
			}
			triggers = append(triggers, []string{"`" + s.Name + "`", "`" + s.Table + "`", triggerEvent(m[1], m[2]), m[3]})
		case s.Type == "table" && isOurs(s.Name) && !slices.Contains(f.sections, s.Name):
			if !slices.Contains(plainTables, s.Name) {
				t.Errorf("plain table %s is not in the list of described tables", s.Name)
			}
			f.plainTable(t, app, s.Name)
		}
	}
	f.sections = append(f.sections, plainTables...)
	f.blocks["triggers"] = table{[]string{"trigger", "on", "before", "refuses because"}, triggers, false}
}

// isOurs leaves out the tables that PocketBase makes for itself.
func isOurs(table string) bool {
	return !strings.HasPrefix(table, "_") && !strings.HasPrefix(table, "sqlite_") || strings.HasPrefix(table, "_pgsync_") || strings.HasPrefix(table, "_fm_")
}

func triggerEvent(event, columns string) string {
	event = strings.ToLower(event)
	switch n := strings.Count(columns, ",") + 1; {
	case columns == "":
		return event
	case n == 1:
		return event + " of " + columns
	default:
		return fmt.Sprintf("%s of %d columns", event, n)
	}
}

func (f *facts) plainTable(t *testing.T, app core.App, name string) {
	t.Helper()
	var columns []struct {
		Name    string `db:"name"`
		Type    string `db:"type"`
		NotNull bool   `db:"notnull"`
		Key     int    `db:"key_position"`
	}
	if err := app.DB().NewQuery("SELECT name, type, \"notnull\", pk AS key_position FROM pragma_table_info({:t})").Bind(map[string]any{"t": name}).All(&columns); err != nil {
		t.Fatal(err)
	}
	f.name(name)
	f.columns[name] = map[string]bool{}
	var rows [][]string
	for _, c := range columns {
		f.name(c.Name)
		f.columns[name][c.Name] = true
		facts := []string{c.Type}
		if c.Key > 0 {
			facts = append(facts, fmt.Sprintf("primary key %d", c.Key))
		}
		if c.NotNull {
			facts = append(facts, "not null")
		}
		rows = append(rows, []string{"`" + c.Name + "`", strings.Join(facts, ", "), plainMirror(name, c.Name)})
	}
	f.blocks["columns "+name] = table{[]string{"column", "type", "mirror", "meaning"}, rows, true}
}
