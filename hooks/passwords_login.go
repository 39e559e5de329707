package hooks

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"strings"

	"firemode/collections"

	"github.com/pocketbase/dbx"
	"github.com/pocketbase/pocketbase/apis"
	"github.com/pocketbase/pocketbase/core"
	"github.com/pocketbase/pocketbase/tools/hook"
)

// loginMaxLength bounds identity and password of a login, like PocketBase's form.
const loginMaxLength = 255

// ErrCredentials reports an unknown account or a wrong password; which of the
// two is not told.
var ErrCredentials = errors.New("unknown account or wrong password")

// ErrInactive reports an account that exists and is switched off.
var ErrInactive = errors.New("the account is inactive")

// registerPasswordLogin answers logins by password in the place of PocketBase's
// own handler, which knows bcrypt only. The admin UI logs in here too.
func registerPasswordLogin(app core.App, h *Hasher) {
	app.OnRecordAuthWithPasswordRequest().Bind(&hook.Handler[*core.RecordAuthWithPasswordRequestEvent]{
		Id: "firemode.passwords.login", Priority: math.MaxInt, // last: it ends the chain
		Func: func(e *core.RecordAuthWithPasswordRequestEvent) error {
			err := h.try(e.Request.Context(), e.App, e.Record, Attempt{Identity: e.Identity, Password: e.Password, Address: e.RealIP()})
			if errors.Is(err, ErrCredentials) {
				return e.BadRequestError("Failed to authenticate.", err)
			}
			if err != nil {
				return err
			}
			return apis.RecordAuthResponse(e.RequestEvent, e.Record, core.MFAMethodPassword, nil)
		},
	})
}

// An Attempt is somebody's login by password.
type Attempt struct {
	Identity string // e-mail address or username
	Password string
	Address  string // of the client; failures are counted by it
}

// Login returns the active user whose e-mail address or username and whose
// password the attempt names. It makes the same checks at the same cost as
// PocketBase's login route. Errors: [ErrCredentials], [ErrInactive] (only for
// the right password), [ErrBusy], [*ThrottledError] (the password was not
// looked at).
func (h *Hasher) Login(ctx context.Context, app core.App, a Attempt) (*core.Record, error) {
	if a.Identity == "" || a.Password == "" || len(a.Identity) > loginMaxLength || len(a.Password) > loginMaxLength {
		return nil, ErrCredentials
	}
	record, err := findUser(app, a.Identity)
	if err != nil {
		return nil, err
	}
	if err := h.try(ctx, app, record, a); err != nil {
		return nil, err
	}
	if !record.GetBool(collections.FieldIsActive) {
		return nil, ErrInactive
	}
	return record, nil
}

// findUser returns nil when there is no such user. Usernames have no "@", so an
// identity is never both.
func findUser(app core.App, identity string) (*core.Record, error) {
	var record *core.Record
	var err error
	if strings.Contains(identity, "@") {
		record, err = app.FindAuthRecordByEmail(collections.Users, identity)
	} else {
		record, err = app.FindFirstRecordByData(collections.Users, collections.FieldUsername, identity)
	}
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("find user: %w", err)
	}
	return record, nil
}

// try is prove within the limits of failed logins.
func (h *Hasher) try(ctx context.Context, app core.App, record *core.Record, a Attempt) error {
	account := a.Identity
	if record != nil {
		account = record.Id // by whichever of its names
	}
	if err := h.logins.check(account, a.Address, h.now()); err != nil {
		return err
	}
	err := h.prove(ctx, app, record, a.Password)
	switch {
	case errors.Is(err, ErrCredentials):
		h.logins.failed(account, a.Address, h.now())
	case err == nil:
		h.logins.succeeded(account, a.Address)
	}
	return err
}

// prove returns nil when plain is the password of record, which may be nil, and
// renews a stored hash that is weaker than the configuration asks.
func (h *Hasher) prove(ctx context.Context, app core.App, record *core.Record, plain string) error {
	if record == nil {
		if err := h.pretend(ctx, plain); err != nil {
			return err
		}
		return ErrCredentials
	}
	ok, weak, err := h.check(ctx, record, plain)
	if err != nil {
		return err
	}
	if !ok {
		return ErrCredentials
	}
	if weak {
		h.rehash(ctx, app, record, plain)
	}
	return nil
}

// rehash stores a hash of the configured cost. It writes by SQL, because a save
// with another hash would drop the record's MFA state and known devices. A
// failure is logged: the login itself is good.
func (h *Hasher) rehash(ctx context.Context, app core.App, record *core.Record, plain string) {
	old := storedHash(record)
	hash, err := h.hash(ctx, plain)
	if err == nil {
		// Compare and set: the password may have been changed meanwhile.
		_, err = app.NonconcurrentDB().Update(record.Collection().Name,
			dbx.Params{core.FieldNamePassword: hash},
			dbx.HashExp{collections.FieldID: record.Id, core.FieldNamePassword: old}).WithContext(ctx).Execute()
	}
	if err != nil {
		app.Logger().Warn("a password hash was not renewed", "collection", record.Collection().Name, "id", record.Id, "error", err)
	}
}
