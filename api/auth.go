package api

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"firemode/audit"
	"firemode/collections"
	"firemode/hooks"

	"github.com/danielgtaylor/huma/v2"
	"github.com/pocketbase/dbx"
	"github.com/pocketbase/pocketbase/core"
	"github.com/pocketbase/pocketbase/tools/security"
)

// grant is the answer to a login.
type grant struct {
	AccessToken string  `json:"access_token"`
	TokenType   string  `json:"token_type" enum:"Bearer"`
	ExpiresIn   int64   `json:"expires_in" doc:"Seconds from now"`
	User        account `json:"user"`
}

func (s *service) bindAuth(api huma.API) {
	tags := []string{"auth"}
	login := public(huma.Operation{
		OperationID: "login", Method: http.MethodPost, Path: "/v1/auth/login", Tags: tags, DefaultStatus: http.StatusOK,
		Summary: "Log in with a password", Errors: []int{http.StatusUnauthorized, http.StatusForbidden},
	})
	register(api, login, (*call).login)
	register(api, huma.Operation{
		OperationID: "refresh", Method: http.MethodPost, Path: "/v1/auth/refresh", Tags: tags, DefaultStatus: http.StatusOK,
		Summary: "Get a new token for a good one", Description: "The old one stays good until it expires or is revoked. A token of a fixed lifetime is not refreshed.",
	}, (*call).refresh)
	register(api, huma.Operation{
		OperationID: "logout", Method: http.MethodPost, Path: "/v1/auth/logout", Tags: tags, DefaultStatus: http.StatusOK,
		Summary: "Revoke the token of this request",
	}, (*call).logout)
	register(api, huma.Operation{
		OperationID: "revoke", Method: http.MethodPost, Path: "/v1/auth/revoke", Tags: tags, DefaultStatus: http.StatusOK,
		Summary: "Revoke one token or all tokens of a user",
		Description: "With token_jti: that token; its owner is user_id, or the caller. Without: every token of user_id. " +
			"Tokens of others may be revoked by officers and managers of their organisation and by administrators.",
	}, (*call).revoke)
	register(api, huma.Operation{
		OperationID: "list-revocations", Method: http.MethodGet, Path: "/v1/auth/revocations", Tags: tags,
		Summary:     "List revoked tokens that have not expired, newest first",
		Description: "Your own; officers and managers see those of their organisation, superusers all.",
	}, (*call).listRevocations)
}

type loginInput struct {
	Body struct {
		Identity string `json:"identity" minLength:"1" maxLength:"255" doc:"Username or e-mail address" example:"demo"`
		Password string `json:"password" minLength:"1" maxLength:"255" format:"password"`
	}
}

func (c *call) login(in *loginInput) (*one[grant], error) {
	users, err := c.app.FindCachedCollectionByNameOrId(collections.Users)
	if err != nil {
		return nil, fmt.Errorf("find users: %w", err)
	}
	if users.MFA.Enabled {
		return nil, newProblem(http.StatusForbidden, "A second factor is needed; log in at /api/collections/users/auth-with-password.")
	}
	user, err := c.Hasher.Login(c.ctx(), c.app, hooks.Attempt{Identity: in.Body.Identity, Password: in.Body.Password, Address: c.event.RealIP()})
	if err != nil {
		return nil, err
	}
	if err := hooks.AppendLogin(c.event, user, "password"); err != nil {
		return nil, fmt.Errorf("record login: %w", err)
	}
	c.event.Auth = user // the answer shows the user their own sealed fields
	return c.issue(user)
}

func (c *call) issue(user *core.Record) (*one[grant], error) {
	token, expires, err := c.Tokens.Issue(c.app, user, 0)
	if err != nil {
		return nil, err
	}
	view, err := c.accountView(user)
	return &one[grant]{Body: grant{
		AccessToken: token, TokenType: "Bearer", ExpiresIn: int64(expires.Sub(c.Now()).Round(time.Second).Seconds()), User: view,
	}}, err
}

func (c *call) refresh(*struct{}) (*one[grant], error) {
	// The signature was checked on the way in; here only one claim is read.
	claims, err := security.ParseUnverifiedJWT(bearerToken(c.event.Request))
	if refreshable, _ := claims[core.TokenClaimRefreshable].(bool); err != nil || !refreshable {
		return nil, newProblem(http.StatusForbidden, "This token has a fixed lifetime and is not refreshed.")
	}
	return c.issue(c.auth())
}

// revoked is the answer to a revocation.
type revoked struct {
	Status    string    `json:"status" enum:"success"`
	TokenJTI  *string   `json:"token_jti" doc:"Null when all tokens of the user were revoked"`
	UserID    string    `json:"user_id"`
	RevokedAt time.Time `json:"revoked_at"`
}

func (c *call) logout(*struct{}) (*one[revoked], error) {
	info, ok := hooks.TokenOf(c.event)
	if !ok {
		return nil, newProblem(http.StatusUnauthorized, "A valid token is needed.")
	}
	err := c.app.RunInTransaction(func(tx core.App) error {
		defer audit.Attribute(tx, c.actor())()
		return c.Tokens.Revoke(tx, hooks.Revocation{
			JTI: info.JTI, UserID: info.UserID, Reason: "logout", By: info.UserID, ExpiresAt: info.ExpiresAt,
		})
	})
	if err != nil {
		return nil, err
	}
	return &one[revoked]{Body: revoked{Status: "success", TokenJTI: &info.JTI, UserID: info.UserID, RevokedAt: c.Now().UTC()}}, nil
}

type revokeInput struct {
	KeyInput
	Body struct {
		TokenJTI string `json:"token_jti,omitempty" maxLength:"255" doc:"The jti of the token"`
		UserID   string `json:"user_id,omitempty" maxLength:"36" doc:"The owner of the token or tokens; default: the caller"`
		Reason   string `json:"reason,omitempty" maxLength:"200"`
	}
}

func (c *call) revoke(in *revokeInput) (*output[revoked], error) {
	if in.Body.TokenJTI == "" && in.Body.UserID == "" {
		return nil, invalid("/token_jti", "name a token, or a user for all of theirs")
	}
	if c.readOnlySuperuser() {
		return nil, forbidden()
	}
	return mutate(c, in.IdempotencyKey, func(c *call) (*reply[revoked], error) {
		answer := revoked{Status: "success", UserID: in.Body.UserID, RevokedAt: c.Now().UTC()}
		if answer.UserID == "" {
			answer.UserID = c.auth().Id
		}
		owner, err := c.tokenOwner(answer.UserID)
		if err != nil {
			return nil, err
		}
		reason := in.Body.Reason
		if reason == "" {
			reason = "revoked"
		}
		if in.Body.TokenJTI == "" {
			err = c.Tokens.RevokeAll(c.app, owner, reason, c.auth().Id)
			return &reply[revoked]{status: http.StatusOK, body: answer}, err
		}
		r := hooks.Revocation{JTI: in.Body.TokenJTI, UserID: owner.Id, Reason: reason, By: c.auth().Id}
		if own, ok := hooks.TokenOf(c.event); ok && own.JTI == r.JTI {
			r.ExpiresAt = own.ExpiresAt
		} else if owner.Id == c.auth().Id && !c.auth().IsSuperuser() {
			// A jti says nothing of its owner, so "it is mine" cannot be believed.
			return nil, newProblem(http.StatusForbidden, "You may revoke the token of this request, or all of yours.")
		}
		answer.TokenJTI = &r.JTI
		return &reply[revoked]{status: http.StatusOK, body: answer}, c.Tokens.Revoke(c.app, r)
	})
}

// tokenOwner returns the account whose tokens the caller may revoke: their own,
// for staff those of their organisation, for administrators any.
func (c *call) tokenOwner(id string) (*core.Record, error) {
	if id == c.auth().Id {
		return c.app.FindRecordById(c.auth().Collection(), id)
	}
	owner, err := c.find(collections.Users, id)
	var p *Problem
	if errors.As(err, &p) && p.Status == http.StatusNotFound && c.auth().IsSuperuser() {
		return c.app.FindRecordById(collections.Superusers, id)
	}
	if err != nil {
		return nil, err
	}
	if !c.isStaff() {
		return nil, forbidden()
	}
	return owner, nil
}

// revocation is one revoked token.
type revocation struct {
	TokenJTI  string    `json:"token_jti"`
	UserID    string    `json:"user_id"`
	Reason    string    `json:"reason"`
	RevokedBy *string   `json:"revoked_by" doc:"Null for the system"`
	RevokedAt time.Time `json:"revoked_at"`
	ExpiresAt time.Time `json:"expires_at" doc:"When the token would have expired by itself"`
}

func revocationView(r *core.Record) (revocation, error) {
	return revocation{
		TokenJTI: r.GetString(collections.FieldTokenJTI), UserID: r.GetString(collections.FieldUserID),
		Reason: r.GetString(collections.FieldReason), RevokedBy: textOf(r, collections.FieldRevokedBy),
		RevokedAt: momentOf(r, collections.FieldRevokedAt), ExpiresAt: momentOf(r, collections.FieldExpiresAt),
	}, nil
}

func (c *call) listRevocations(in *PageInput) (*pageOutput[revocation], error) {
	l := listing{
		collection: collections.RevokedTokens, name: "revocations", order: newestFirst, ownAccess: true,
		where: []dbx.Expression{dbx.NewExp("[["+collections.FieldExpiresAt+"]] > {:now}", dbx.Params{"now": stamp(c.Now())})},
	}
	switch mine := (dbx.HashExp{collections.FieldUserID: c.auth().Id}); {
	case c.auth().IsSuperuser():
	case c.isStaff():
		l.where = append(l.where, dbx.NewExp("[[user_id]] IN (SELECT id FROM users WHERE organisation_id = {:organisation})",
			dbx.Params{"organisation": c.auth().GetString(collections.FieldOrganisationID)}))
	default:
		l.where = append(l.where, mine)
	}
	records, next, err := c.list(*in, l)
	if err != nil {
		return nil, err
	}
	return pageOf(records, next, revocationView)
}
