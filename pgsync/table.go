package pgsync

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"

	"github.com/pocketbase/pocketbase/core"
	"github.com/pocketbase/pocketbase/tools/dbutils"
)

// Kind is how a column is captured, stored in PostgreSQL and compared.
type Kind string

const (
	KindText      Kind = "text"
	KindNumber    Kind = "number"  // any SQLite number, numeric in PostgreSQL
	KindInteger   Kind = "integer" // bigint in PostgreSQL
	KindBool      Kind = "bool"
	KindDate      Kind = "date" // '' is NULL
	KindJSON      Kind = "json" // jsonb with a GIN index
	KindSelect    Kind = "select"
	KindRelation  Kind = "relation" // '' is NULL; foreign key when the target is mirrored too
	KindEncrypted Kind = "encrypted"
	KindBytes     Kind = "bytes" // BLOB
)

// encryptedFieldType is the PocketBase type name of a sealed field. It is repeated here so that a mirror of another
// build of the schema can still read old barriers.
const encryptedFieldType = "encrypted"

// Column is one mirrored column.
type Column struct {
	Field      string   `json:"field"` // PocketBase field id; survives a rename
	Name       string   `json:"name"`
	Kind       Kind     `json:"kind"`
	Target     string   `json:"target,omitempty"`      // relation: collection id or plain table name
	TargetUUID bool     `json:"target_uuid,omitempty"` // relation: the target's ids are UUIDs
	Values     []string `json:"values,omitempty"`      // select: the allowed values
	Default    string   `json:"default,omitempty"`     // json: the value of rows older than the column; "" is NULL
}

// Table is the mirrored shape of one collection or plain table at one point of the log. Its JSON form is the body of a
// schema barrier.
type Table struct {
	Coll    string   `json:"coll"` // collection id, or the name of a plain table
	Name    string   `json:"name"`
	UUID    bool     `json:"uuid"` // ids are UUIDs
	Key     []string `json:"key,omitempty"`
	Columns []Column `json:"columns"`
	Unique  []Unique `json:"unique,omitempty"`
	// Appended is set for a plain table whose rows come in runs.
	Appended *Appended `json:"appended,omitempty"`

	once sync.Once
	rows rowForm // see form
	past bool    // it is the table of superseded versions
}

// Unique is a unique index, with the conditions of a partial one.
type Unique struct {
	Columns []string    `json:"columns"`
	Where   []Condition `json:"where,omitempty"`
}

// Condition is one term of a partial index: a column that is empty, filled, true or false.
type Condition struct {
	Column string `json:"column"`
	Is     string `json:"is"`
}

const (
	isEmpty  = "empty"
	isFilled = "filled"
	isTrue   = "true"
	isFalse  = "false"
)

func (t *Table) plain() bool { return len(t.Key) > 0 }

func (t *Table) column(name string) *Column {
	for i := range t.Columns {
		if t.Columns[i].Name == name {
			return &t.Columns[i]
		}
	}
	return nil
}

func (t *Table) encode() string {
	b, err := json.Marshal(t)
	if err != nil {
		panic("pgsync: internal error: encode table: " + err.Error()) // strings and bools only
	}
	return string(b)
}

func decodeTable(text string) (*Table, error) {
	t := &Table{}
	if err := json.Unmarshal([]byte(text), t); err != nil {
		return nil, fmt.Errorf("decode table: %w", err)
	}
	return t, nil
}

func (p PlainTable) table() *Table {
	t := &Table{Coll: p.Name, Name: p.Name, Key: p.Key, Columns: append([]Column(nil), p.Columns...), Appended: p.Appended}
	for i := range t.Columns {
		if t.Columns[i].Field == "" {
			t.Columns[i].Field = t.Columns[i].Name
		}
	}
	return t
}

// tableOf describes a collection. Fields are taken by an allow list: passwords and hidden fields never leave the
// source, sealed fields (hidden as well) leave it as ciphertext only.
func tableOf(app core.App, c *core.Collection) (*Table, error) {
	t := &Table{Coll: c.Id, Name: c.Name, UUID: hasUUIDs(c)}
	for _, f := range c.Fields {
		if f.GetName() == core.FieldNameId {
			continue
		}
		if f.Type() == core.FieldTypePassword || (f.GetHidden() && f.Type() != encryptedFieldType) {
			continue
		}
		col := Column{Field: f.GetId(), Name: f.GetName()}
		switch f := f.(type) {
		case *core.NumberField:
			col.Kind = KindNumber
		case *core.BoolField:
			col.Kind = KindBool
		case *core.DateField, *core.AutodateField:
			col.Kind = KindDate
		case *core.JSONField:
			col.Kind = KindJSON
		case *core.GeoPointField:
			col.Kind, col.Default = KindJSON, `{"lon":0,"lat":0}`
		case *core.SelectField:
			col.Kind, col.Values = KindSelect, f.Values
			if f.IsMultiple() {
				col.Kind, col.Default = KindJSON, "[]"
			}
		case *core.FileField:
			col.Kind = KindText
			if f.IsMultiple() {
				col.Kind, col.Default = KindJSON, "[]"
			}
		case *core.RelationField:
			if f.IsMultiple() {
				col.Kind, col.Default = KindJSON, "[]"
				break
			}
			col.Kind, col.Target, col.TargetUUID = KindRelation, f.CollectionId, t.UUID
			if f.CollectionId != c.Id {
				target, err := app.FindCollectionByNameOrId(f.CollectionId)
				if err != nil && !errors.Is(err, sql.ErrNoRows) {
					return nil, fmt.Errorf("find target of %s.%s: %w", c.Name, f.Name, err)
				}
				if err == nil { // an import may make the target later; Arm then looks again
					col.TargetUUID = hasUUIDs(target)
				}
			}
		default:
			col.Kind = KindText
			if f.Type() == encryptedFieldType {
				col.Kind = KindEncrypted
			}
		}
		t.Columns = append(t.Columns, col)
	}
	for _, text := range c.Indexes {
		if u, ok := uniqueOf(t, text); ok {
			t.Unique = append(t.Unique, u)
		}
	}
	return t, nil
}

// hasUUIDs decides by what the id pattern lets through: lower-case UUIDs and nothing else.
func hasUUIDs(c *core.Collection) bool {
	f, ok := c.Fields.GetByName(core.FieldNameId).(*core.TextField)
	if !ok || f.Pattern == "" {
		return false
	}
	re, err := regexp.Compile(f.Pattern)
	if err != nil {
		return false
	}
	return re.MatchString("0192f0c1-2b3c-7d4e-8f50-616263646566") &&
		!re.MatchString("0192F0C1-2B3C-7D4E-8F50-616263646566") &&
		!re.MatchString("0192f0c12b3c7d4e8f50616263646566") &&
		!re.MatchString("abcdefghijklmno") && !re.MatchString(strings.Repeat("a", 36))
}

var condition = regexp.MustCompile("(?i)^[`\"\\[]?(\\w+)[`\"\\]]?\\s*(=|==|!=|<>)\\s*(''|true|false|1|0)$")

// uniqueOf reads a unique index of the source. One with expressions, unmirrored columns or a condition beyond the
// simple ones is left to the source alone: the mirror then enforces less, never something else.
func uniqueOf(t *Table, text string) (Unique, bool) {
	index := dbutils.ParseIndex(text)
	u := Unique{}
	if !index.Unique || len(index.Columns) == 0 {
		return u, false
	}
	for _, c := range index.Columns {
		if t.column(c.Name) == nil {
			return u, false
		}
		u.Columns = append(u.Columns, c.Name)
	}
	if index.Where == "" {
		return u, true
	}
	for _, term := range regexp.MustCompile(`(?i)\s+and\s+`).Split(strings.TrimSpace(index.Where), -1) {
		m := condition.FindStringSubmatch(strings.TrimSpace(term))
		if m == nil || t.column(m[1]) == nil {
			return u, false
		}
		kind := t.column(m[1]).Kind
		negated := m[2] == "!=" || m[2] == "<>"
		c := Condition{Column: m[1]}
		switch value := strings.ToLower(m[3]); {
		case value == "''" && kind != KindBool && kind != KindNumber && kind != KindJSON:
			c.Is = choose(negated, isFilled, isEmpty)
		case value != "''" && kind == KindBool:
			c.Is = choose((value == "true" || value == "1") != negated, isTrue, isFalse)
		default:
			return u, false
		}
		u.Where = append(u.Where, c)
	}
	return u, true
}

func choose(cond bool, yes, no string) string {
	if cond {
		return yes
	}
	return no
}
