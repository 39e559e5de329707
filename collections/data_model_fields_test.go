package collections_test

import (
	"fmt"
	"slices"
	"strings"

	"firemode/collections"

	"github.com/pocketbase/pocketbase/core"
	"github.com/pocketbase/pocketbase/tools/dbutils"
)

// fieldRow describes one field: name, type and constraint, who reads it, when
// the record API writes it, and its column in the mirror.
func fieldRow(c *core.Collection, f core.Field, collectionByID map[string]string) []string {
	return []string{"`" + f.GetName() + "`", typeOf(c, f, collectionByID), readBy(f), writtenBy(c, f), mirrorOf(c, f, collectionByID)}
}

func typeOf(c *core.Collection, f core.Field, collectionByID map[string]string) string {
	var parts []string
	add := func(format string, args ...any) { parts = append(parts, fmt.Sprintf(format, args...)) }
	required := false
	switch f := f.(type) {
	case *core.TextField:
		required = f.Required && !f.PrimaryKey
		switch {
		case f.PrimaryKey:
			add("UUIDv7, primary key")
		case f.Pattern == `^[0-9a-f]{64}$`:
			add("64 hexadecimal digits")
		case strings.HasPrefix(f.Pattern, `^(0|[1-9]\d*)\.`):
			add("semantic version, max %d", f.Max)
		default:
			add("text")
			if f.Max > 0 {
				add("max %d", f.Max)
			}
			if f.Pattern != "" {
				add("matches `%s`", strings.ReplaceAll(f.Pattern, "|", `\|`))
			}
		}
	case *collections.EncryptedField:
		add("sealed text")
		add("max %d", f.Max)
	case *core.SelectField:
		required = f.Required
		quoted := make([]string, len(f.Values))
		for i, v := range f.Values {
			quoted[i] = "`" + v + "`"
		}
		add("one of %s", strings.Join(quoted, ", "))
	case *core.BoolField:
		add("boolean")
	case *core.NumberField:
		add("integer")
	case *core.DateField:
		required = f.Required
		add("UTC time")
	case *core.AutodateField:
		add("UTC time")
		if f.OnUpdate {
			add("set on create and update")
		} else {
			add("set on create")
		}
	case *core.JSONField:
		required = f.Required
		add("JSON")
		add("max %d MiB", f.MaxSize>>20)
	case *core.RelationField:
		required = f.Required
		if f.MaxSelect > 1 {
			add("up to %d references to `%s`", f.MaxSelect, collectionByID[f.CollectionId])
		} else {
			add("reference to `%s`", collectionByID[f.CollectionId])
		}
	case *core.FileField:
		add("file")
		add("max %d MiB", f.MaxSize>>20)
		if f.Protected {
			add("protected")
		}
	case *core.EmailField:
		required = f.Required
		add("e-mail address")
	case *core.PasswordField:
		required = f.Required
		add("Argon2id, min %d", f.Min)
	default:
		panic("unknown field type " + f.Type())
	}
	if required {
		add("required")
	}
	if aloneUnique(c, f.GetName()) {
		add("unique")
	}
	return strings.Join(parts, ", ")
}

func aloneUnique(c *core.Collection, field string) bool {
	for _, text := range c.Indexes {
		index := dbutils.ParseIndex(text)
		if index.Unique && len(index.Columns) == 1 && index.Columns[0].Name == field && field != "id" &&
			(index.Where == "" || strings.Contains(index.Where, "!= ''")) {
			return true
		}
	}
	return false
}

func readBy(f core.Field) string {
	switch {
	case f.Type() == core.FieldTypePassword || f.GetName() == core.FieldNameTokenKey:
		return "nobody"
	case f.Type() == collections.EncryptedFieldType:
		return "revealed"
	case f.GetHidden():
		return "administrators"
	case f.Type() == core.FieldTypeEmail:
		return "self"
	}
	return "record"
}

// writtenBy reads the access rules: an action that a rule opens writes every
// field but those that the rule wants absent from the body.
func writtenBy(c *core.Collection, f core.Field) string {
	name := f.GetName()
	switch {
	case f.Type() == core.FieldTypeAutodate, f.Type() == core.FieldTypeFile && c.CreateRule == nil:
		return "–"
	case slices.Contains([]string{"id", collections.FieldCreatedBy, core.FieldNameTokenKey, core.FieldNameVerified, core.FieldNameEmail}, name) && name != "id":
		return "–" // the server decides; an e-mail address changes through its own confirmed flow
	case f.GetHidden() && f.Type() != collections.EncryptedFieldType && f.Type() != core.FieldTypePassword:
		return "–"
	}
	var on []string
	for _, a := range []struct {
		name string
		rule *string
	}{{"create", c.CreateRule}, {"update", c.UpdateRule}} {
		if a.rule == nil || strings.Contains(*a.rule, "@request.body."+name+":isset = false") || a.name == "update" && name == "id" {
			continue
		}
		on = append(on, a.name)
	}
	if len(on) == 0 {
		return "–"
	}
	return strings.Join(on, ", ")
}

// mirrorOf names the column's type in PostgreSQL.
func mirrorOf(c *core.Collection, f core.Field, collectionByID map[string]string) string {
	mirrored := collections.Mirrored()
	sealed := f.Type() == collections.EncryptedFieldType
	if !slices.Contains(mirrored, c.Name) || f.Type() == core.FieldTypePassword || f.GetHidden() && !sealed {
		return "–"
	}
	switch f := f.(type) {
	case *core.TextField:
		if f.PrimaryKey {
			return "`uuid`"
		}
	case *core.BoolField:
		return "`boolean`"
	case *core.NumberField:
		return "`numeric`"
	case *core.DateField, *core.AutodateField:
		return "`timestamptz`"
	case *core.JSONField:
		return "`jsonb`, GIN"
	case *core.SelectField:
		return "`text`, CHECK"
	case *core.RelationField:
		switch {
		case f.MaxSelect > 1:
			return "`jsonb`, GIN"
		case slices.Contains(mirrored, collectionByID[f.CollectionId]):
			return "`uuid`, foreign key"
		}
		return "`uuid`"
	}
	if sealed {
		return "`text`, ciphertext CHECK"
	}
	return "`text`"
}
