package hooks

import (
	"context"
	"errors"
	"net/http"
	"strings"

	validation "github.com/pocketbase/ozzo-validation/v4"
	"github.com/pocketbase/pocketbase/apis"
	"github.com/pocketbase/pocketbase/core"
	"github.com/pocketbase/pocketbase/tools/hook"
	"github.com/pocketbase/pocketbase/tools/router"
	"golang.org/x/crypto/bcrypt"
)

// Priorities of the password handlers. Both run before the handlers that open a
// transaction (priorityAttribute, priorityAudit): a hash takes tenths of a
// second, and SQLite has one writer.
const (
	priorityPasswordRequest = -100
	priorityPasswordExecute = -100
)

// passwordMaxBytes is the limit of bcrypt, which PocketBase's setter still runs
// (at its lowest cost) before our hash replaces the result.
const passwordMaxBytes = 72

// passwordKeys are the members of a request body that concern a password.
var passwordKeys = []string{"password", "passwordConfirm", "oldPassword"}

// registerPasswords stores Argon2id hashes for every way to set a password and
// checks them for every way to prove one.
func registerPasswords(app core.App, h *Hasher) {
	app.OnRecordValidate().Bind(&hook.Handler[*core.RecordEvent]{
		Id: "firemode.passwords.length", Func: checkPasswordLength,
	})
	for name, on := range map[string]*hook.TaggedHook[*core.RecordRequestEvent]{
		"create": app.OnRecordCreateRequest(), "update": app.OnRecordUpdateRequest(),
	} {
		on.Bind(&hook.Handler[*core.RecordRequestEvent]{
			Id: "firemode.passwords.request." + name, Priority: priorityPasswordRequest, Func: h.hashRequest,
		})
	}
	for name, on := range map[string]*hook.TaggedHook[*core.RecordEvent]{
		"create": app.OnRecordCreateExecute(), "update": app.OnRecordUpdateExecute(),
	} {
		on.Bind(&hook.Handler[*core.RecordEvent]{
			Id: "firemode.passwords.execute." + name, Priority: priorityPasswordExecute, Func: h.hashSave,
		})
	}
	app.OnBatchRequest().Bind(&hook.Handler[*core.BatchRequestEvent]{
		Id: "firemode.passwords.batch", Func: refusePasswordsInBatch,
	})
	registerPasswordLogin(app, h)
	registerEmailChange(app, h)
	app.OnServe().Bind(&hook.Handler[*core.ServeEvent]{
		Id: "firemode.passwords.serve",
		Func: func(se *core.ServeEvent) error {
			se.Router.Bind(&hook.Handler[*core.RequestEvent]{
				Id: "firemode.passwords.busy", Priority: apis.DefaultPanicRecoverMiddlewarePriority + 1, Func: answerBusy,
			})
			return se.Next()
		},
	})
}

// answerBusy tells every caller who was refused for lack of room when to come back.
func answerBusy(e *core.RequestEvent) error {
	err := e.Next()
	var answer *router.ApiError
	if errors.As(err, &answer) && answer.Status == http.StatusServiceUnavailable && !e.Written() &&
		e.Response.Header().Get("Retry-After") == "" {
		e.Response.Header().Set("Retry-After", busyRetryAfter)
	}
	return err
}

// passwordValue is the password of an auth record, or nil.
func passwordValue(r *core.Record) *core.PasswordFieldValue {
	if !r.Collection().IsAuth() { // one-time codes have a password of their own
		return nil
	}
	v, _ := r.GetRaw(core.FieldNamePassword).(*core.PasswordFieldValue)
	return v
}

// checkPasswordLength names the limit that PocketBase would only hint at: its
// own check counts characters, and the failing setter leaves no message.
func checkPasswordLength(e *core.RecordEvent) error {
	if v := passwordValue(e.Record); v != nil && len(v.Plain) > passwordMaxBytes {
		return validation.Errors{core.FieldNamePassword: validation.NewError("validation_max_bytes_constraint",
			"Must be at most {{.max}} bytes long; letters outside of English take two or more.").
			SetParams(map[string]any{"max": passwordMaxBytes})}
	}
	return e.Next()
}

// hashRequest hashes the password of a record request before its transaction
// begins, after the old password was proved where that is asked for.
func (h *Hasher) hashRequest(e *core.RecordRequestEvent) error {
	v := passwordValue(e.Record)
	if v == nil || v.Plain == "" || v.LastError != nil {
		return e.Next()
	}
	field, ok := e.Collection.Fields.GetByName(core.FieldNamePassword).(*core.PasswordField)
	if !ok || field.ValidateValue(e.Request.Context(), e.App, e.Record) != nil {
		return e.Next() // refused by the validation that follows; not worth a hash
	}
	restore, err := h.proveOldPassword(e, v)
	if err != nil {
		return err
	}
	defer restore()
	if v.Hash, err = h.hash(e.Request.Context(), v.Plain); err != nil {
		return err
	}
	return e.Next()
}

// proveOldPassword checks the old password that a person sends to change their
// own. PocketBase repeats the check with bcrypt on the value that the record
// was loaded with; that value holds a bcrypt hash of the proved password until
// restore is called.
func (h *Hasher) proveOldPassword(e *core.RecordRequestEvent, current *core.PasswordFieldValue) (restore func(), err error) {
	nothing := func() {}
	body := struct {
		OldPassword string `json:"oldPassword" form:"oldPassword"`
	}{}
	if e.Record.IsNew() || e.HasSuperuserAuth() {
		return nothing, nil
	}
	if err := e.BindBody(&body); err != nil || body.OldPassword == "" || len(body.OldPassword) > passwordMaxBytes {
		return nothing, nil // PocketBase answers that it is missing or wrong
	}
	loaded := passwordValue(e.Record.Original())
	if loaded == nil || loaded == current {
		return nothing, nil
	}
	ok, err := h.Check(e.Request.Context(), e.Record.Original(), body.OldPassword)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, e.BadRequestError("Failed to update record.", validation.Errors{
			"oldPassword": validation.NewError("validation_invalid_old_password", "Missing or invalid old password."),
		})
	}
	primed, err := bcrypt.GenerateFromPassword([]byte(body.OldPassword), bcrypt.MinCost)
	if err != nil {
		return nil, e.BadRequestError("Failed to update record.", err)
	}
	stored := loaded.Hash
	loaded.Hash = string(primed)
	return func() { loaded.Hash = stored }, nil
}

// hashSave replaces what PocketBase's setter left with an Argon2id hash, for
// every save that no request handler prepared: Go code, the command line,
// password resets.
func (h *Hasher) hashSave(e *core.RecordEvent) error {
	v := passwordValue(e.Record)
	if v == nil || v.LastError != nil || strings.HasPrefix(v.Hash, argon2Prefix) || v.Hash == "" {
		return e.Next()
	}
	if v.Plain == "" {
		// SetRandomPassword: the plain value is gone already.
		v.Hash = lockedHash
		return e.Next()
	}
	ctx := e.Context
	if ctx == nil {
		ctx = context.Background()
	}
	var err error
	if v.Hash, err = h.hash(ctx, v.Plain); err != nil {
		return err
	}
	return e.Next()
}

// refusePasswordsInBatch keeps hashing out of the one transaction in which a
// batch runs.
func refusePasswordsInBatch(e *core.BatchRequestEvent) error {
	for _, request := range e.Batch {
		for _, key := range passwordKeys {
			if _, ok := request.Body[key]; ok {
				return e.BadRequestError("A batch cannot set passwords. Send that request on its own.", nil)
			}
		}
	}
	return e.Next()
}
