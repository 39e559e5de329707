package hooks

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"

	"firemode/collections"

	validation "github.com/pocketbase/ozzo-validation/v4"
	"github.com/pocketbase/pocketbase/apis"
	"github.com/pocketbase/pocketbase/core"
	"github.com/pocketbase/pocketbase/tools/hook"
)

// prioritySealedWrite runs before the transaction of a request and after the
// password handlers.
const prioritySealedWrite = -80

// registerSealed shows sealed fields to those who may read them and takes them
// from those who may write them. To everybody else PocketBase hides them: they
// are in no answer, filter or sort.
func registerSealed(app core.App) {
	names := sealedNames()
	r := &revealer{}
	app.OnRecordEnrich(names...).Bind(&hook.Handler[*core.RecordEnrichEvent]{
		Id: "firemode.sealed.reveal", Func: r.reveal,
	})
	app.OnRecordAuthRequest(names...).Bind(&hook.Handler[*core.RecordAuthRequestEvent]{
		Id: "firemode.sealed.login",
		Func: func(e *core.RecordAuthRequestEvent) error {
			r.signingIn.Store(e.Record, true)
			defer r.signingIn.Delete(e.Record)
			return e.Next()
		},
	})
	for name, on := range map[string]*hook.TaggedHook[*core.RecordRequestEvent]{
		"create": app.OnRecordCreateRequest(names...), "update": app.OnRecordUpdateRequest(names...),
	} {
		on.Bind(&hook.Handler[*core.RecordRequestEvent]{
			Id: "firemode.sealed.write." + name, Priority: prioritySealedWrite, Func: takeSealed,
		})
	}
}

// sealedNames are the collections with sealed fields.
func sealedNames() (names []string) {
	for _, c := range collections.All() {
		if len(collections.SealedFields(c)) > 0 {
			names = append(names, c.Name)
		}
	}
	return names
}

// MayReadSealed says whether auth, nil for a guest, reads the sealed fields of
// record: people their own; managers and officers those of users and buildings
// of their organisation; superusers all, unless their role is auditor. Who may
// read them and may change the record at all may also write them.
func MayReadSealed(auth, record *core.Record) bool {
	if auth == nil {
		return false
	}
	if auth.IsSuperuser() {
		return auth.GetString(collections.FieldRole) != collections.RoleAuditor
	}
	if auth.Collection().Name != collections.Users || !active(auth) {
		return false
	}
	if record.Collection().Name == collections.Users && auth.Id == record.Id {
		return true
	}
	switch auth.GetString(collections.FieldRole) {
	case collections.RoleManager, collections.RoleOfficer:
		own := auth.GetString(collections.FieldOrganisationID)
		return own != "" && own == record.GetString(collections.FieldOrganisationID)
	}
	return false
}

// SealedError returns why a sealed field of record does not open, or nil. It
// wraps [collections.ErrUnsealed] and names the field and the record.
func SealedError(record *core.Record) error {
	var errs []error
	for _, f := range collections.SealedFields(record.Collection()) {
		errs = append(errs, f.UnsealError(record))
	}
	return errors.Join(errs...)
}

// SealedFieldError is the answer to a read of a record with a field that does
// not open, nil when all of them do. It names the field and the record.
func SealedFieldError(record *core.Record) error {
	for _, f := range collections.SealedFields(record.Collection()) {
		if err := f.UnsealError(record); err != nil {
			return apis.NewApiError(http.StatusInternalServerError, fmt.Sprintf(
				"The sealed field %s of record %s in %s does not open with the keys at hand. It is kept as it is.",
				f.Name, record.Id, record.Collection().Name), err)
		}
	}
	return nil
}

type revealer struct {
	// signingIn holds the records that are being answered to a login. Nobody
	// must be locked out because a key is missing, so such an answer leaves
	// unreadable fields out instead of failing.
	signingIn sync.Map // *core.Record -> bool
}

func (r *revealer) reveal(e *core.RecordEnrichEvent) error {
	record := e.Record // the event moves on to other records inside Next
	fields := collections.SealedFields(record.Collection())
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.Name
	}
	var auth *core.Record
	if e.RequestInfo != nil {
		auth = e.RequestInfo.Auth
	}
	if !MayReadSealed(auth, record) {
		err := e.Next()
		record.Hide(names...) // PocketBase shows every field to every superuser
		return err
	}
	if err := SealedFieldError(record); err != nil {
		if _, ok := r.signingIn.Load(record); !ok {
			e.App.Logger().Error("a sealed field does not open", "collection", record.Collection().Name, "id", record.Id, "error", SealedError(record))
			return err
		}
		return e.Next()
	}
	record.Unhide(names...)
	return e.Next()
}

// takeSealed sets the sealed fields that a request brings, which PocketBase has
// dropped from its body because they are hidden.
func takeSealed(e *core.RecordRequestEvent) error {
	if e.HasSuperuserAuth() || !MayReadSealed(e.Auth, e.Record) {
		return e.Next()
	}
	body := map[string]any{}
	if err := e.BindBody(&body); err != nil {
		return e.BadRequestError("Failed to read the submitted data.", err)
	}
	for _, f := range collections.SealedFields(e.Collection) {
		value, ok := body[f.Name]
		if !ok {
			continue
		}
		text, ok := asText(value)
		if !ok {
			return e.BadRequestError("Failed to read the submitted data.", validation.Errors{
				f.Name: validation.NewError("validation_invalid_text", "Must be a text."),
			})
		}
		e.Record.Set(f.Name, text)
	}
	return e.Next()
}

// asText is a member of a request body as text. PocketBase turns form values
// that look like numbers into numbers, of which exactly this form gives back
// what was sent; null empties a field.
func asText(value any) (string, bool) {
	switch v := value.(type) {
	case nil:
		return "", true
	case string:
		return v, true
	case bool:
		return strconv.FormatBool(v), true
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64), true
	}
	return "", false
}
