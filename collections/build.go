package collections

import (
	"fmt"
	"strings"

	"github.com/pocketbase/pocketbase/core"
	"github.com/pocketbase/pocketbase/tools/types"
)

// collectionID is the fixed id of the collection first declared under name.
// When a collection is renamed its id MUST keep the first name.
func collectionID(name string) string { return "fm_" + name }

// builder declares one collection; each method adds one field with a fixed id.
type builder struct{ c *core.Collection }

func newBase(name string) builder {
	return newCollection(core.NewBaseCollection(name, collectionID(name)))
}

func newAuth(name string) builder {
	return newCollection(core.NewAuthCollection(name, collectionID(name)))
}

func newCollection(c *core.Collection) builder {
	id := c.Fields.GetByName(FieldID).(*core.TextField)
	id.Id = fieldID(c.Name, FieldID)
	id.Min, id.Max = 36, 36
	id.Pattern, id.AutogeneratePattern = IDPattern, idAutogenerate
	// Without this index each create scans the table: PocketBase looks for an
	// id that differs only in case whenever the pattern is not its own.
	c.AddIndex("idx_"+c.Name+"_id_nocase", true, "`id` COLLATE NOCASE", "")
	return builder{c}
}

// fieldID is the fixed id of the field first declared under this name. When a
// field is renamed its builder MUST pass the first name on.
func fieldID(collection, field string) string { return "fm_" + collection + "_" + field }

func (b builder) add(f core.Field) {
	f.SetId(fieldID(b.c.Name, f.GetName()))
	b.c.Fields.Add(f)
}

func (b builder) requiredText(name string, max int) {
	b.add(&core.TextField{Name: name, Required: true, Max: max})
}

func (b builder) text(name string, max int) {
	b.add(&core.TextField{Name: name, Max: max})
}

func (b builder) pattern(name string, required bool, max int, pattern string) {
	b.add(&core.TextField{Name: name, Required: required, Max: max, Pattern: pattern})
}

// enum is a select field; the mirror turns its values into a CHECK.
func (b builder) enum(name string, required bool, values ...string) {
	b.add(&core.SelectField{Name: name, Required: required, MaxSelect: 1, Values: values})
}

func (b builder) boolean(name string) { b.add(&core.BoolField{Name: name}) }

func (b builder) integer(name string) { b.add(&core.NumberField{Name: name, OnlyInt: true}) }

func (b builder) date(name string, required bool) {
	b.add(&core.DateField{Name: name, Required: required})
}

// jsonMaxBytes bounds a JSON field that a caller may write through the record API.
const jsonMaxBytes = 1 << 20

func (b builder) json(name string, maxBytes int64) {
	b.add(&core.JSONField{Name: name, MaxSize: maxBytes})
}

// relation is a reference to one record; it is indexed, because every foreign
// key is. Nothing cascades: compliance records are never deleted by accident.
func (b builder) relation(name, target string, required bool) {
	b.add(&core.RelationField{Name: name, CollectionId: collectionID(target), MaxSelect: 1, Required: required})
	b.index(false, name)
}

func (b builder) relations(name, target string, max int) {
	b.add(&core.RelationField{Name: name, CollectionId: collectionID(target), MaxSelect: max})
}

// sealed is a Fernet-encrypted text field, hidden unless the reader may see it.
func (b builder) sealed(name string, max int) *EncryptedField {
	f := &EncryptedField{Name: name, Hidden: true, Max: max, Scope: b.c.Name + "." + name}
	b.add(f)
	return f
}

func (b builder) createdAt() { b.add(&core.AutodateField{Name: FieldCreatedAt, OnCreate: true}) }

func (b builder) stamps() {
	b.createdAt()
	b.add(&core.AutodateField{Name: FieldUpdatedAt, OnCreate: true, OnUpdate: true})
}

func (b builder) index(unique bool, columns ...string) { b.partialIndex(unique, "", columns...) }

func (b builder) partialIndex(unique bool, where string, columns ...string) {
	kind := "idx"
	if unique {
		kind = "unq"
	}
	name := fmt.Sprintf("%s_%s_%s", kind, b.c.Name, strings.Join(columns, "_"))
	quoted := make([]string, len(columns))
	for i, c := range columns {
		quoted[i] = "`" + c + "`"
	}
	b.c.AddIndex(name, unique, strings.Join(quoted, ", "), where)
}

// rules sets the access rules; an empty string means superusers only.
func (b builder) rules(list, create, update string) {
	set := func(expr string) *string {
		if expr == "" {
			return nil
		}
		return types.Pointer(expr)
	}
	b.c.ListRule, b.c.ViewRule = set(list), set(list)
	b.c.CreateRule, b.c.UpdateRule = set(create), set(update)
	// Nothing is deleted over the record API: buildings are deleted softly
	// through their own operation, everything else is a compliance record.
	b.c.DeleteRule = nil
}
