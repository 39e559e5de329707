package hooks

import (
	"errors"
	"math"
	"net/http"

	validation "github.com/pocketbase/ozzo-validation/v4"
	"github.com/pocketbase/pocketbase/core"
	"github.com/pocketbase/pocketbase/tools/hook"
	"github.com/pocketbase/pocketbase/tools/security"
)

// emailChangePattern is the route whose handler checks the password with bcrypt
// before any hook runs, so ours answers in its place.
const emailChangePattern = "POST /api/collections/{collection}/confirm-email-change"

func registerEmailChange(app core.App, h *Hasher) {
	app.OnServe().Bind(&hook.Handler[*core.ServeEvent]{
		Id: "firemode.passwords.email-change",
		Func: func(se *core.ServeEvent) error {
			se.Router.Bind(&hook.Handler[*core.RequestEvent]{
				Id: "firemode.passwords.email-change", Priority: math.MaxInt, // after limits and authentication
				Func: func(e *core.RequestEvent) error {
					if e.Request.Pattern != emailChangePattern {
						return e.Next()
					}
					return h.confirmEmailChange(e)
				},
			})
			return se.Next()
		},
	})
}

// confirmEmailChange sets the address that a token from a mail names, once the
// account's password was proved. Its answers are those of PocketBase.
func (h *Hasher) confirmEmailChange(e *core.RequestEvent) error {
	collection, err := e.App.FindCachedCollectionByNameOrId(e.Request.PathValue("collection"))
	if err != nil || !collection.IsAuth() {
		return e.NotFoundError("Missing or invalid auth collection context.", err)
	}
	if collection.Name == core.CollectionNameSuperusers {
		return e.BadRequestError("All superusers can change their emails directly.", nil)
	}
	form := struct {
		Token    string `json:"token" form:"token"`
		Password string `json:"password" form:"password"`
	}{}
	if err := e.BindBody(&form); err != nil {
		return e.BadRequestError("An error occurred while loading the submitted data.", err)
	}
	invalid := func(field, code, message string) error {
		return e.BadRequestError("An error occurred while validating the submitted data.",
			validation.Errors{field: validation.NewError(code, message)})
	}
	record, email, err := emailChangeOf(e.App, collection, form.Token)
	if err != nil {
		return invalid("token", "validation_invalid_token", "Invalid or expired token.")
	}
	if form.Password == "" || len(form.Password) > loginMaxLength {
		return invalid("password", "validation_invalid_password", "Missing or invalid auth record password.")
	}
	ok, err := h.Check(e.Request.Context(), record, form.Password)
	if err != nil {
		return err
	}
	if !ok {
		return invalid("password", "validation_invalid_password", "Missing or invalid auth record password.")
	}
	event := &core.RecordConfirmEmailChangeRequestEvent{RequestEvent: e, Record: record, NewEmail: email}
	event.Collection = collection
	return e.App.OnRecordConfirmEmailChangeRequest().Trigger(event, func(e *core.RecordConfirmEmailChangeRequestEvent) error {
		e.Record.SetEmail(e.NewEmail)
		e.Record.SetVerified(true)
		if err := e.App.Save(e.Record); err != nil {
			return e.BadRequestError("Failed to confirm email change.", err)
		}
		return e.NoContent(http.StatusNoContent)
	})
}

// emailChangeOf returns the account and the new address of a token, which must
// be valid, of this collection, and for an address that nobody has.
func emailChangeOf(app core.App, collection *core.Collection, token string) (*core.Record, string, error) {
	record, err := app.FindAuthRecordByToken(token, core.TokenTypeEmailChange)
	if err != nil {
		return nil, "", err
	}
	claims, err := security.ParseUnverifiedJWT(token) // verified by the line above
	if err != nil {
		return nil, "", err
	}
	email, _ := claims[core.TokenClaimNewEmail].(string)
	if email == "" || record.Collection().Id != collection.Id {
		return nil, "", errors.New("the token is for another purpose or collection")
	}
	if _, err := app.FindAuthRecordByEmail(collection, email); err == nil {
		return nil, "", errors.New("the address is taken")
	}
	return record, email, nil
}
