package pgsync

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"firemode/collections"

	"github.com/jackc/pgx/v5"
)

// Schemas of the mirror.
const (
	schemaMirror  = "fm_mirror"
	schemaHistory = "fm_hist"
	droppedMark   = "_dropped_"
	guardPrefix   = "fm_" // of every constraint and index that the mirror makes and may drop again
	identMax      = 63    // bytes of a PostgreSQL name; longer ones are cut silently
)

// System columns of a mirrored table and of its history. They start with an underscore because a PocketBase field could be
// called origin.
var (
	mirrorColumns  = []string{"_origin", "id", "_ver", "_at", "_hash", "_stale"}
	historyColumns = []string{"_origin", "id", "_ver", "_ver_to", "_op", "_valid"}
)

func (t *Table) systemColumns() []string {
	if t.past {
		return historyColumns
	}
	return mirrorColumns
}

func pgIdent(name string) string { return pgx.Identifier{name}.Sanitize() }

func (t *Table) schema() string { return choose(t.past, schemaHistory, schemaMirror) }

func (t *Table) pgName() string { return pgx.Identifier{t.schema(), t.Name}.Sanitize() }

func (t *Table) idType() string {
	if t.UUID {
		return "uuid"
	}
	return "text"
}

// pgType is the column's type as format_type writes it.
func (c *Column) pgType() string {
	switch c.Kind {
	case KindNumber:
		return "numeric"
	case KindInteger:
		return "bigint"
	case KindBool:
		return "boolean"
	case KindDate:
		return "timestamp with time zone"
	case KindJSON:
		return "jsonb"
	case KindBytes:
		return "bytea"
	case KindRelation:
		if c.TargetUUID {
			return "uuid"
		}
	}
	return "text"
}

// pgColumn is type, default and nullability. The default is what PocketBase gives rows older than the column.
func (c *Column) pgColumn() string {
	typ := c.pgType()
	switch c.Kind {
	case KindDate:
		return typ
	case KindRelation:
		return typ + choose(c.TargetUUID, "", ` COLLATE "C"`)
	case KindJSON:
		if c.Default == "" {
			return typ
		}
		return typ + " NOT NULL DEFAULT " + quoteText(c.Default) + "::jsonb"
	case KindNumber, KindInteger:
		return typ + " NOT NULL DEFAULT 0"
	case KindBool:
		return typ + " NOT NULL DEFAULT false"
	case KindBytes:
		return typ + ` NOT NULL DEFAULT ''::bytea`
	}
	return typ + ` COLLATE "C" NOT NULL DEFAULT ''`
}

// readExpr reads the column back in its wire form.
func (c *Column) readExpr() string {
	name := pgIdent(c.Name)
	switch c.Kind {
	case KindDate:
		return `to_char(` + name + ` AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`
	case KindBytes:
		return `'\x' || encode(` + name + `, 'hex')`
	}
	return name + "::text"
}

// shapedLike says whether a table with these columns, by type, can take the rows of t.
func (t *Table) shapedLike(have map[string]string) bool {
	ok := have["id"] == t.idType()
	for i := range t.Columns {
		ok = ok && have[t.Columns[i].Name] == t.Columns[i].pgType()
	}
	for _, name := range t.systemColumns() {
		ok = ok && have[name] != ""
	}
	return ok
}

// createTable makes the table with its system columns only; the others are added one by one, new table or old.
func (t *Table) createTable() string {
	id := t.idType() + choose(t.UUID, "", ` COLLATE "C"`)
	if t.past {
		return fmt.Sprintf(`CREATE TABLE %s (_origin smallint NOT NULL, id %s NOT NULL, _ver bigint NOT NULL, _ver_to bigint NOT NULL,
			_op smallint NOT NULL, _valid tstzrange NOT NULL)`, t.pgName(), id)
	}
	return fmt.Sprintf(`CREATE TABLE %s (_origin smallint NOT NULL, id %s NOT NULL, _ver bigint NOT NULL,
		_at timestamptz NOT NULL, _hash bytea NOT NULL, _stale boolean NOT NULL DEFAULT false, PRIMARY KEY (_origin, id))`, t.pgName(), id)
}

// guard is a constraint or index that must exist on a table.
type guard struct {
	name       string
	constraint bool
	body       string // after ADD CONSTRAINT name, or after the table name of CREATE INDEX
}

// newGuard names a guard after table, columns and content, so that a changed one has another name.
func newGuard(t *Table, kind string, constraint bool, columns []string, body string) guard {
	return guard{name: t.nameFor(kind, columns, body), constraint: constraint, body: body}
}

func (t *Table) nameFor(kind string, columns []string, body string) string {
	sum := sha256.Sum256([]byte(t.Coll + "\x00" + kind + "\x00" + body))
	tail := "_" + hex.EncodeToString(sum[:4])
	name := guardPrefix + strings.Join(append([]string{kind, t.Name}, columns...), "_")
	for len(name)+len(tail) > identMax {
		name = name[:len(name)-1]
	}
	return strings.ToValidUTF8(name, "") + tail
}

func (g guard) create(t *Table, validate bool) string {
	if !g.constraint {
		return "CREATE INDEX " + pgIdent(g.name) + " ON " + t.pgName() + " " + g.body
	}
	// A changed CHECK must not stumble over rows of the time before it.
	return "ALTER TABLE " + t.pgName() + " ADD CONSTRAINT " + pgIdent(g.name) + " " + g.body +
		choose(!validate && strings.HasPrefix(g.body, "CHECK"), " NOT VALID", "")
}

func (g guard) drop(t *Table) string {
	if !g.constraint {
		return "DROP INDEX " + pgx.Identifier{t.schema(), g.name}.Sanitize()
	}
	return "ALTER TABLE " + t.pgName() + " DROP CONSTRAINT " + pgIdent(g.name)
}

// guards are all checks, unique constraints and indexes of the table, without the foreign keys.
func (t *Table) guards() []guard {
	if t.past {
		return t.historyGuards()
	}
	var out []guard
	for i := range t.Columns {
		c := &t.Columns[i]
		name := pgIdent(c.Name)
		add := func(kind string, constraint bool, body string) {
			out = append(out, newGuard(t, kind, constraint, []string{c.Name}, body))
		}
		switch c.Kind {
		case KindSelect:
			add("ck", true, "CHECK ("+name+" IN (''"+quotedList(c.Values)+"))")
		case KindEncrypted:
			add("ck", true, "CHECK ("+name+" = '' OR "+name+" ~ '"+sealedPattern+"')")
		case KindRelation:
			add("ix", false, "(_origin, "+name+")")
		case KindJSON:
			add("gin", false, "USING gin ("+name+" jsonb_path_ops)")
			if len(c.Values) > 0 {
				add("ck", true, "CHECK ("+name+" <@ "+quoteText(jsonList(c.Values))+"::jsonb)")
			}
		}
	}
	for _, u := range t.Unique {
		if g, ok := t.uniqueGuard(u); ok {
			out = append(out, g)
		}
	}
	if t.Name == collections.AuditLog && t.column(collections.FieldCreatedAt) != nil {
		// Rows come in the order of their time, so a few kilobytes find a month. Partitions would need the time in the
		// primary key: an upsert by id then finds no row of another month, and foreign keys to the id have no target.
		out = append(out, newGuard(t, "brin", false, []string{collections.FieldCreatedAt}, "USING brin ("+collections.FieldCreatedAt+") WITH (autosummarize = on)"))
	}
	return out
}

func quotedList(values []string) string {
	var b strings.Builder
	for _, v := range values {
		b.WriteString(", " + quoteText(v) + "::text")
	}
	return b.String()
}

func jsonList(values []string) string {
	b, err := json.Marshal(values)
	if err != nil {
		panic("pgsync: internal error: encode values: " + err.Error()) // strings only
	}
	return string(b)
}

// uniqueGuard is deferred, because rows swap values within a batch; a partial one becomes an exclusion constraint,
// the only partial uniqueness that PostgreSQL defers.
func (t *Table) uniqueGuard(u Unique) (guard, bool) {
	columns := []string{"_origin"}
	for _, name := range u.Columns {
		columns = append(columns, pgIdent(name))
	}
	const deferred = " DEFERRABLE INITIALLY DEFERRED"
	if len(u.Where) == 0 {
		return newGuard(t, "uq", true, u.Columns, "UNIQUE ("+strings.Join(columns, ", ")+")"+deferred), true
	}
	terms := make([]string, len(u.Where))
	for i, w := range u.Where {
		c := t.column(w.Column)
		if c == nil {
			return guard{}, false
		}
		terms[i] = c.condition(w.Is)
	}
	for i := range columns {
		columns[i] += " WITH ="
	}
	return newGuard(t, "uq", true, u.Columns, "EXCLUDE USING btree ("+strings.Join(columns, ", ")+") WHERE ("+
		strings.Join(terms, " AND ")+")"+deferred), true
}

func (c *Column) condition(is string) string {
	name := pgIdent(c.Name)
	nullable := c.Kind == KindDate || c.Kind == KindRelation
	switch is {
	case isTrue:
		return name
	case isFalse:
		return "NOT " + name
	case isEmpty:
		return name + choose(nullable, " IS NULL", " = ''")
	}
	return name + choose(nullable, " IS NOT NULL", " <> ''")
}

// foreignKey is a relation whose target is mirrored too, with ids of the same type.
type foreignKey struct {
	guard
	column *Column
	target *Table
}

func (t *Table) foreignKeys(reg registry) []foreignKey {
	var out []foreignKey
	for i := range t.Columns {
		c := &t.Columns[i]
		target := reg.table(c.Target)
		if c.Kind != KindRelation || target == nil || target.UUID != c.TargetUUID {
			continue
		}
		g := newGuard(t, "fk", true, []string{c.Name}, "FOREIGN KEY (_origin, "+pgIdent(c.Name)+") REFERENCES "+
			target.pgName()+" (_origin, id) DEFERRABLE INITIALLY DEFERRED")
		out = append(out, foreignKey{g, c, target})
	}
	return out
}

// upsert writes any number of rows in one statement. Every value travels as text and is cast here, so that a poison
// value is a data error of PostgreSQL and never one of the driver. No join against mirror tables: such plans, cached
// while a table is empty, become quadratic. A row that has these values already keeps its version, however it was written
// again: the history must have neither a hole nor a version that changed nothing.
func (t *Table) upsert() string {
	var into, from, params, names, set, old, written []string
	for i := range t.Columns {
		c := &t.Columns[i]
		name := pgIdent(c.Name)
		into = append(into, name)
		from = append(from, fmt.Sprintf("r.c%d::%s", i, c.pgType()))
		params = append(params, fmt.Sprintf("$%d::text[]", i+6))
		names = append(names, fmt.Sprintf("c%d", i))
		set = append(set, name+" = excluded."+name)
		old, written = append(old, "m."+name), append(written, "excluded."+name)
	}
	for _, name := range []string{"_ver", "_at"} {
		set = append(set, fmt.Sprintf("%[1]s = CASE WHEN m._hash = excluded._hash OR (%[2]s) IS NOT DISTINCT FROM (%[3]s) THEN m.%[1]s ELSE excluded.%[1]s END",
			name, strings.Join(old, ", "), strings.Join(written, ", ")))
	}
	set = append(set, "_hash = excluded._hash", "_stale = excluded._stale")
	return fmt.Sprintf(`INSERT INTO %s AS m (_origin, id, _ver, _at, _hash, %s)
SELECT $1, r.id::%s, r.ver, to_timestamp(r.at / 1000.0), r.hash, %s
  FROM unnest($2::text[], $3::bigint[], $4::bigint[], $5::bytea[], %s) AS r (id, ver, at, hash, %s)
ON CONFLICT (_origin, id) DO UPDATE SET %s WHERE m._ver <= excluded._ver`,
		t.pgName(), strings.Join(into, ", "), t.idType(), strings.Join(from, ", "),
		strings.Join(params, ", "), strings.Join(names, ", "), strings.Join(set, ", "))
}

func (t *Table) delete() string {
	return fmt.Sprintf("DELETE FROM %s WHERE _origin = $1 AND id = ANY ($2::text[]::%s[])", t.pgName(), t.idType())
}

func (t *Table) markStale() string {
	return fmt.Sprintf("UPDATE %s SET _stale = true WHERE _origin = $1 AND id = ANY ($2::text[]::%s[])", t.pgName(), t.idType())
}

// registry is the shape of every mirrored table at the current position.
type registry map[string]tableState

type tableState struct {
	table  *Table
	resync *string // key after which the comparison goes on; nil: complete
}

func (r registry) table(coll string) *Table { return r[coll].table }

// order lists collections parents first; within a cycle by name.
func (r registry) order() []string {
	colls := make([]string, 0, len(r))
	for coll := range r {
		colls = append(colls, coll)
	}
	slices.Sort(colls)
	var out []string
	seen := map[string]bool{}
	var visit func(coll string)
	visit = func(coll string) {
		if seen[coll] || r[coll].table == nil {
			return
		}
		seen[coll] = true
		for _, c := range r[coll].table.Columns {
			if c.Target != "" {
				visit(c.Target)
			}
		}
		out = append(out, coll)
	}
	for _, coll := range colls {
		visit(coll)
	}
	return out
}

// nextResync returns the first collection that is being compared, "" when all are complete.
func (r registry) nextResync() string {
	last := ""
	for _, coll := range r.order() {
		switch {
		case r[coll].resync == nil:
		case r[coll].table.Appended == nil:
			return coll
		default: // after the documents that are made from it, whose older versions an erasure is to reach
			last = coll
		}
	}
	return last
}
