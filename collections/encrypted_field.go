package collections

import (
	"context"
	"database/sql/driver"
	"fmt"
	"regexp"
	"unicode/utf8"

	validation "github.com/pocketbase/ozzo-validation/v4"
	"github.com/pocketbase/pocketbase/core"
	"github.com/pocketbase/pocketbase/core/validators"
	"github.com/spf13/cast"
)

// EncryptedFieldType is the PocketBase type name of a sealed field.
const EncryptedFieldType = "encrypted"

// TokenSuffix after a sealed field's name reads the stored token, not the plain
// text: record.GetString("phone:token"). Audit entries and exports use it.
const TokenSuffix = ":token"

// encryptedDefaultMax bounds the plain text, in characters, when Max is 0.
const encryptedDefaultMax = 5000

func init() {
	core.Fields[EncryptedFieldType] = func() core.Field { return &EncryptedField{} }
}

var (
	_ core.Field             = (*EncryptedField)(nil)
	_ core.SetterFinder      = (*EncryptedField)(nil)
	_ core.GetterFinder      = (*EncryptedField)(nil)
	_ core.DriverValuer      = (*EncryptedField)(nil)
	_ core.RecordInterceptor = (*EncryptedField)(nil)
)

// EncryptedField is a text field whose stored form is a sealed token: SQLite,
// WAL, backups and the mirror never hold the plain text. Saving a record
// without changing the value keeps the token byte for byte.
type EncryptedField struct {
	Name        string `form:"name" json:"name"`
	Id          string `form:"id" json:"id"`
	System      bool   `form:"system" json:"system"`
	Hidden      bool   `form:"hidden" json:"hidden"`
	Presentable bool   `form:"presentable" json:"presentable"`
	Help        string `form:"help" json:"help"`
	Required    bool   `form:"required" json:"required"`
	Min         int    `form:"min" json:"min"` // characters of plain text
	Max         int    `form:"max" json:"max"` // characters of plain text; 0 means 5000
	Pattern     string `form:"pattern" json:"pattern"`
	// BlindIndex names the hidden text field that receives the keyed digest.
	BlindIndex string `form:"blindIndex" json:"blindIndex"`
	// Scope is bound into every token ("users.phone"). It MUST never change: a
	// view clones the field under another id, but its tokens must still open.
	Scope string `form:"scope" json:"scope"`
}

// Type, GetId, SetId, GetName, SetName, GetSystem, SetSystem, GetHidden,
// SetHidden and ColumnType implement core.Field.
func (f *EncryptedField) Type() string               { return EncryptedFieldType }
func (f *EncryptedField) GetId() string              { return f.Id }
func (f *EncryptedField) SetId(id string)            { f.Id = id }
func (f *EncryptedField) GetName() string            { return f.Name }
func (f *EncryptedField) SetName(name string)        { f.Name = name }
func (f *EncryptedField) GetSystem() bool            { return f.System }
func (f *EncryptedField) SetSystem(system bool)      { f.System = system }
func (f *EncryptedField) GetHidden() bool            { return f.Hidden }
func (f *EncryptedField) SetHidden(hidden bool)      { f.Hidden = hidden }
func (f *EncryptedField) ColumnType(core.App) string { return "TEXT DEFAULT '' NOT NULL" }

func (f *EncryptedField) binding(r *core.Record) string { return f.Scope + "." + r.Id }

// PrepareValue wraps what the database holds; what callers set goes through
// the setter instead.
func (f *EncryptedField) PrepareValue(_ *core.Record, raw any) (any, error) {
	if v, ok := raw.(*sealedValue); ok {
		return v, nil
	}
	return &sealedValue{token: cast.ToString(raw)}, nil
}

func (f *EncryptedField) value(r *core.Record) *sealedValue {
	switch v := r.GetRaw(f.Name).(type) {
	case *sealedValue:
		return v
	case string:
		return &sealedValue{plain: v, dirty: true}
	}
	return &sealedValue{}
}

// FindSetter takes plain text. A value equal to the stored one keeps its token.
func (f *EncryptedField) FindSetter(key string) core.SetterFunc {
	if key != f.Name {
		return nil
	}
	return func(r *core.Record, raw any) {
		if v, ok := raw.(*sealedValue); ok {
			r.SetRaw(f.Name, v)
			return
		}
		plain := cast.ToString(raw)
		if was, err := f.value(r).open(f.binding(r)); err == nil && was == plain {
			return
		}
		r.SetRaw(f.Name, &sealedValue{plain: plain, dirty: true})
	}
}

// FindGetter reads the plain text, or the token under name + TokenSuffix. A
// value that does not open reads as ""; [UnsealError] tells the two apart.
func (f *EncryptedField) FindGetter(key string) core.GetterFunc {
	switch key {
	case f.Name:
		return func(r *core.Record) any {
			plain, err := f.value(r).open(f.binding(r))
			if err != nil {
				return ""
			}
			return plain
		}
	case f.Name + TokenSuffix:
		return func(r *core.Record) any {
			token, err := f.value(r).stored(f.binding(r))
			if err != nil {
				return ""
			}
			return token
		}
	}
	return nil
}

// UnsealError returns why the sealed field of r does not open, or nil. It wraps
// [ErrUnsealed] and names the field and the record.
func (f *EncryptedField) UnsealError(r *core.Record) error {
	if _, err := f.value(r).open(f.binding(r)); err != nil {
		return fmt.Errorf("field %s of record %s in %s: %w", f.Name, r.Id, r.Collection().Name, err)
	}
	return nil
}

// DriverValue is what is written to SQLite.
func (f *EncryptedField) DriverValue(r *core.Record) (driver.Value, error) {
	if r.Id == "" {
		return "", nil // the dummy export of a create rule has no id to bind to
	}
	return f.value(r).stored(f.binding(r))
}

// Intercept fills the blind index right before the write, and refuses to put a
// new value in the place of a stored one that does not open: with a missing or
// wrong key that would destroy it.
func (f *EncryptedField) Intercept(_ context.Context, _ core.App, r *core.Record, action string, next func() error) error {
	switch action {
	case core.InterceptorActionCreateExecute, core.InterceptorActionUpdateExecute:
		v := f.value(r)
		if !v.isDirty() {
			break
		}
		if err := f.UnsealError(r.Original()); err != nil {
			return err
		}
		if f.BlindIndex == "" {
			break
		}
		s, err := sealer()
		if err != nil {
			return err
		}
		plain, _ := v.open(f.binding(r)) // a dirty value opens to what the caller set
		digest, err := s.BlindIndex(f.Scope, plain)
		if err != nil {
			return err
		}
		r.SetRaw(f.BlindIndex, digest)
	}
	return next()
}

// ValidateValue checks the plain text that a caller set.
func (f *EncryptedField) ValidateValue(_ context.Context, _ core.App, r *core.Record) error {
	v := f.value(r)
	if v.isDirty() && f.UnsealError(r.Original()) != nil {
		return validation.NewError("validation_unsealed", "The stored value does not open with the keys at hand, so it is kept. Restore the key first.")
	}
	if v.isEmpty() {
		if f.Required {
			return validation.ErrRequired
		}
		return nil
	}
	if !v.isDirty() {
		return nil
	}
	plain, _ := v.open(f.binding(r))
	if !utf8.ValidString(plain) {
		return validation.NewError("validation_invalid_utf8", "Must be valid UTF-8 text.")
	}
	max := f.Max
	if max == 0 {
		max = encryptedDefaultMax
	}
	switch n := utf8.RuneCountInString(plain); {
	case n < f.Min:
		return validation.NewError("validation_min_text_constraint", "Must be at least {{.min}} character(s).").SetParams(map[string]any{"min": f.Min})
	case n > max:
		return validation.NewError("validation_max_text_constraint", "Must be no more than {{.max}} character(s).").SetParams(map[string]any{"max": max})
	}
	if f.Pattern != "" {
		if ok, err := regexp.MatchString(f.Pattern, plain); err != nil || !ok {
			return validation.NewError("validation_invalid_format", "Invalid value format.")
		}
	}
	return nil
}

// ValidateSettings checks the field's own definition.
func (f *EncryptedField) ValidateSettings(_ context.Context, _ core.App, c *core.Collection) error {
	return validation.ValidateStruct(f,
		validation.Field(&f.Id, validation.By(core.DefaultFieldIdValidationRule)),
		validation.Field(&f.Name, validation.By(core.DefaultFieldNameValidationRule)),
		validation.Field(&f.Help, validation.By(core.DefaultFieldHelpValidationRule)),
		validation.Field(&f.Pattern, validation.By(validators.IsRegex)),
		validation.Field(&f.Scope, validation.Required),
		validation.Field(&f.BlindIndex, validation.By(func(value any) error {
			name, _ := value.(string)
			if name == "" || c.IsView() {
				return nil
			}
			if t, ok := c.Fields.GetByName(name).(*core.TextField); !ok || !t.Hidden {
				return validation.NewError("validation_invalid_blind_index", "Must name a hidden text field.")
			}
			return nil
		})),
	)
}

// SealedFields returns the sealed fields of a collection.
func SealedFields(c *core.Collection) []*EncryptedField {
	var out []*EncryptedField
	for _, f := range c.Fields {
		if sealed, ok := f.(*EncryptedField); ok {
			out = append(out, sealed)
		}
	}
	return out
}
