package api

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"reflect"
	"regexp"
	"strings"
	"time"

	"firemode/collections"

	"github.com/danielgtaylor/huma/v2"
	"github.com/pocketbase/pocketbase/core"
)

// idPattern matches the ids of FireMode's collections.
var idPattern = regexp.MustCompile(collections.IDPattern)

// IDPath (exported, like every embedded type here, because huma skips others) is the path parameter of operations on one thing. It has no format: an
// id that cannot exist is unknown like any other, a 404.
type IDPath struct {
	ID string `path:"id" maxLength:"64" doc:"Id (UUIDv7)" example:"01930b5e-7a00-7000-8000-000000000001"`
}

// timeOf reads a date field; nil when it is empty.
func timeOf(r *core.Record, field string) *time.Time {
	d := r.GetDateTime(field)
	if d.IsZero() {
		return nil
	}
	t := d.Time().UTC()
	return &t
}

// momentOf reads a date field that is never empty.
func momentOf(r *core.Record, field string) time.Time { return r.GetDateTime(field).Time().UTC() }

// textOf reads an optional text; nil when it is empty.
func textOf(r *core.Record, field string) *string {
	if s := r.GetString(field); s != "" {
		return &s
	}
	return nil
}

// rawOf reads a JSON field as it is stored; an empty one is {}.
func rawOf(r *core.Record, field string) json.RawMessage {
	if raw := r.GetString(field); raw != "" && raw != "null" {
		return json.RawMessage(raw)
	}
	return json.RawMessage("{}")
}

// shownText reads a sealed field if reveal opened it for this caller.
func shownText(shown map[string]any, field string) *string {
	s, ok := shown[field].(string)
	if !ok || s == "" {
		return nil
	}
	return &s
}

// etagOf is a strong validator of a record: it changes with every stored value.
func etagOf(r *core.Record) string {
	raw, err := json.Marshal(r.FieldsData())
	if err != nil {
		panic("api: internal error: " + err.Error()) // stored values always marshal
	}
	sum := sha256.Sum256(raw)
	return `"` + base64.RawURLEncoding.EncodeToString(sum[:15]) + `"`
}

// IfMatchInput is the precondition of updates.
type IfMatchInput struct {
	IfMatch string `header:"If-Match" doc:"ETag of the version that the change was made on, or *"`
}

// check refuses with 428 without a precondition and with 412 when r has changed.
func (in IfMatchInput) check(r *core.Record) error {
	switch strings.TrimSpace(in.IfMatch) {
	case "":
		return newProblem(428, "Send If-Match with the ETag of the version you changed.",
			FieldError{Pointer: "/If-Match", In: "header", Detail: "is missing"})
	case "*":
		return nil
	}
	current := etagOf(r)
	for _, tag := range strings.Split(in.IfMatch, ",") {
		if strings.TrimSpace(tag) == current {
			return nil
		}
	}
	return newProblem(412, "Somebody changed this since you read it; read it again.")
}

// schemaName names the schemas of the OpenAPI document after their types, with
// a capital: page[building] is PageBuilding.
func schemaName(t reflect.Type, hint string) string { return huma.DefaultSchemaNamer(t, hint) }

// An object is any JSON object, kept as it came.
type object struct{ json.RawMessage }

// Schema implements huma.SchemaProvider.
func (object) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeObject, AdditionalProperties: true}
}

// MarshalJSON writes an empty object for none.
func (o object) MarshalJSON() ([]byte, error) {
	if len(o.RawMessage) == 0 {
		return []byte("{}"), nil
	}
	return o.RawMessage, nil
}
