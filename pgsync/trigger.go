package pgsync

import (
	"fmt"
	"slices"
	"strings"
)

// Operations of a log entry, as stored.
const (
	opInsert   = 1
	opUpdate   = 2
	opDelete   = 3
	opBarrier  = 4 // the table has this shape from here on
	opDropped  = 5 // the collection was deleted
	opResync   = 6 // rows were not captured: compare them all
	opAppended = 7 // a run of rows was appended: the key says which
)

// nowMillis is the commit clock of the log, in SQLite's words.
const nowMillis = `CAST(unixepoch('subsec')*1000 AS INTEGER)`

// quoteIdent quotes an identifier of SQLite.
func quoteIdent(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

func quoteText(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// keyExpr is the row's id as text; row is "NEW.", "OLD." or "" outside a trigger.
func (t *Table) keyExpr(row string) string {
	if !t.plain() {
		return row + `"id"`
	}
	parts := make([]string, len(t.Key))
	for i, k := range t.Key {
		parts[i] = "CAST(" + row + quoteIdent(k) + " AS TEXT)"
	}
	return strings.Join(parts, "||'/'||")
}

// imageExpr is the row's image. Bodies stay as short as they can: SQLite compiles the triggers anew with each
// statement that PocketBase prepares.
func (t *Table) imageExpr(row string) string {
	parts := make([]string, 0, len(t.Columns)+1)
	if !t.plain() {
		parts = append(parts, `'id',`+row+`"id"`)
	}
	for _, c := range t.Columns {
		value := row + quoteIdent(c.Name)
		switch {
		case c.Kind == KindBytes:
			value = "hex(" + value + ")"
		case t.plain() && (c.Kind == KindText || c.Kind == KindRelation):
			value = "CAST(" + value + " AS TEXT)" // lines are BLOBs there, which json_object refuses
		}
		parts = append(parts, quoteText(c.Name)+","+value)
	}
	return "json_object(" + strings.Join(parts, ",") + ")"
}

type trigger struct{ name, sql string }

func triggerNames(coll string) []string {
	names := make([]string, 0, 6)
	for _, suffix := range []string{"i", "u", "k", "d", "hi", "hu"} {
		names = append(names, "_pgsync_"+coll+"_"+suffix)
	}
	return names
}

// logInsert is the conflict policy a trigger body uses; see triggers.
const logInsert = "INSERT"

// triggers are the four that capture a table, and two on the table of heads where rows come in runs. The body MUST be a plain INSERT into a table without UNIQUE: the conflict
// policy of the outer statement replaces one written inside a trigger, so that under UPDATE OR IGNORE an entry of an
// INSERT OR REPLACE would vanish while the row changes.
func (t *Table) triggers() []trigger { return t.triggersWith(logInsert) }

func (t *Table) triggersWith(insert string) []trigger {
	body := func(op int, row, image string) string {
		return fmt.Sprintf("%s INTO _pgsync_log(coll,pk,op,at,nonce,img) VALUES(%s,%s,%d,%s,random(),%s);",
			insert, quoteText(t.Coll), t.keyExpr(row), op, nowMillis, image)
	}
	update, key := "UPDATE", `"id"`
	if t.plain() {
		// A table with columns beyond the mirrored ones is logged only when a mirrored one is written.
		var columns, keys []string
		for _, k := range t.Key {
			keys = append(keys, quoteIdent(k))
		}
		columns = append(columns, keys...)
		for _, c := range t.Columns {
			if name := quoteIdent(c.Name); !slices.Contains(keys, name) {
				columns = append(columns, name)
			}
		}
		update, key = "UPDATE OF "+strings.Join(columns, ","), strings.Join(keys, ",")
	}
	names := triggerNames(t.Coll)
	create := func(name, when, cond, body string) trigger {
		return trigger{name, fmt.Sprintf("CREATE TRIGGER %s AFTER %s ON %s%s BEGIN %s END",
			quoteIdent(name), when, quoteIdent(t.Name), cond, body)}
	}
	inserted := ""
	var heads []trigger
	if a := t.Appended; a != nil {
		inserted = a.unannounced()
		entry := func(first string) string {
			return fmt.Sprintf("%s INTO _pgsync_log(coll,pk,op,at,nonce,img) VALUES(%s,%s,%d,%s,random(),NULL);",
				insert, quoteText(t.Coll), a.runExpr(first), opAppended, nowMillis)
		}
		number, table := quoteIdent(a.Number), quoteIdent(a.Heads)
		heads = []trigger{
			{names[4], fmt.Sprintf("CREATE TRIGGER %s AFTER INSERT ON %s BEGIN %s END", quoteIdent(names[4]), table, entry("1"))},
			{names[5], fmt.Sprintf("CREATE TRIGGER %s AFTER UPDATE OF %s ON %s WHEN NEW.%s>OLD.%s BEGIN %s END",
				quoteIdent(names[5]), number, table, number, number, entry("(OLD."+number+"+1)"))},
		}
	}
	return append([]trigger{
		create(names[0], "INSERT", inserted, body(opInsert, "NEW.", t.imageExpr("NEW."))),
		create(names[1], update, "", body(opUpdate, "NEW.", t.imageExpr("NEW."))),
		// A changed id is a delete of the old one; in its own trigger it costs ordinary updates nothing.
		create(names[2], "UPDATE OF "+key, " WHEN "+t.keyExpr("OLD.")+" IS NOT "+t.keyExpr("NEW."), body(opDelete, "OLD.", "NULL")),
		create(names[3], "DELETE", "", body(opDelete, "OLD.", "NULL")),
	}, heads...)
}
