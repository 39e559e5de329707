package hooks

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"firemode/collections"

	"github.com/google/uuid"
	"github.com/pocketbase/pocketbase/apis"
	"github.com/pocketbase/pocketbase/core"
	"github.com/pocketbase/pocketbase/tools/hook"
	"github.com/pocketbase/pocketbase/tools/router"
)

// tokenMaxBytes bounds what is parsed as a token. Ours have about 500 bytes.
const tokenMaxBytes = 8 << 10

// Priorities of the root middlewares around PocketBase's loadAuthToken: what it
// should not even parse is refused before it, everything else right after it
// and before any other handler.
const (
	priorityTokenForm  = apis.DefaultLoadAuthTokenMiddlewarePriority - 1
	priorityTokenCheck = apis.DefaultLoadAuthTokenMiddlewarePriority + 1
)

// Reasons to refuse a token. All of them are answered 401 with one sentence;
// the reason is for the log.
var (
	errTokenForm     = errors.New("the token is malformed")
	errTokenClaims   = errors.New("the token lacks FireMode's claims")
	errTokenRevoked  = errors.New("the token is revoked")
	errTokenOutdated = errors.New("the token is older than the account's last revocation")
	errTokenExpired  = errors.New("the token is expired")
)

// openPatterns are the routes that somebody with a useless token must still
// reach: those that give a new one, and those that show whether the server is up.
var openPatterns = func() map[string]bool {
	open := map[string]bool{
		"GET /api/health": true, "GET /api/oauth2-redirect": true, "POST /api/oauth2-redirect": true,
		"GET /api/collections/{collection}/auth-methods": true,
	}
	for _, action := range []string{
		"auth-with-password", "auth-with-oauth2", "auth-with-otp", "request-otp", "request-password-reset",
		"confirm-password-reset", "request-verification", "confirm-verification", "confirm-email-change",
	} {
		open["POST /api/collections/{collection}/"+action] = true
	}
	return open
}()

// openPaths are the same, for routes behind one pattern of the router.
var openPaths = map[string]bool{"POST /v1/auth/login": true}

// openToBadTokens says whether a request with a token that authenticates nobody
// is served as that of a guest. Elsewhere it is refused: PocketBase would
// answer it with the empty list of a guest, which reads as "there is no data".
func openToBadTokens(r *http.Request) bool {
	if openPatterns[r.Pattern] || openPaths[r.Method+" "+r.URL.Path] {
		return true
	}
	// The admin UI, the field app, documents and health checks are files and
	// answers for everybody.
	return !strings.HasPrefix(r.URL.Path, "/api/") && !strings.HasPrefix(r.URL.Path, "/v1/")
}

func bindTokenChecks(r *router.Router[*core.RequestEvent], t *Tokens) {
	r.Bind(&hook.Handler[*core.RequestEvent]{Id: "firemode.tokens.form", Priority: priorityTokenForm, Func: checkTokenForm})
	r.Bind(&hook.Handler[*core.RequestEvent]{Id: "firemode.tokens.check", Priority: priorityTokenCheck, Func: t.checkRequest})
}

// checkTokenForm keeps what cannot be a token of ours away from the parser.
func checkTokenForm(e *core.RequestEvent) error {
	headers := e.Request.Header.Values("Authorization")
	if len(headers) == 0 || (len(headers) == 1 && checkForm(bearer(e.Request)) == nil) {
		return e.Next()
	}
	if openToBadTokens(e.Request) {
		e.Request.Header.Del("Authorization")
		return e.Next()
	}
	return refuseToken(e, errTokenForm)
}

// bearer is the token of the Authorization header, whose scheme PocketBase's
// own clients leave out.
func bearer(r *http.Request) string {
	header := r.Header.Get("Authorization")
	const scheme = "Bearer "
	if len(header) > len(scheme) && strings.EqualFold(header[:len(scheme)], scheme) {
		return header[len(scheme):]
	}
	return header
}

// checkForm accepts compact JWTs of ours: three canonical base64url parts and
// the one algorithm. The empty text is a guest's.
func checkForm(token string) error {
	if token == "" {
		return nil
	}
	if len(token) > tokenMaxBytes || strings.Count(token, ".") != 2 {
		return errTokenForm
	}
	parts := strings.Split(token, ".")
	var raw [3][]byte
	for i, part := range parts {
		// The round trip refuses line breaks and unused bits, which the decoder skips.
		b, err := base64.RawURLEncoding.DecodeString(part)
		if err != nil || base64.RawURLEncoding.EncodeToString(b) != part {
			return errTokenForm
		}
		raw[i] = b
	}
	header := struct {
		Algorithm string   `json:"alg"`
		Type      string   `json:"typ"`
		Critical  []string `json:"crit"`
	}{}
	if err := json.Unmarshal(raw[0], &header); err != nil || !membersOnce(raw[0]) {
		return errTokenForm
	}
	if header.Algorithm != "HS256" || (header.Type != "" && header.Type != "JWT") || len(header.Critical) > 0 {
		return errTokenForm
	}
	return nil
}

// membersOnce says whether text is a JSON object with no member twice, letter
// case aside. Of two spellings one reader of a token would see the first and
// another the second: encoding/json folds the case for a struct, not for a map.
func membersOnce(text []byte) bool {
	d := json.NewDecoder(bytes.NewReader(text))
	if start, err := d.Token(); err != nil || start != json.Delim('{') {
		return false
	}
	seen := make(map[string]bool, 12)
	for d.More() {
		token, err := d.Token()
		name, ok := token.(string)
		if name = strings.ToLower(strings.ToUpper(name)); err != nil || !ok || seen[name] { // both, for letters like the Kelvin sign
			return false
		}
		seen[name] = true
		var value json.RawMessage
		if d.Decode(&value) != nil {
			return false
		}
	}
	return true
}

// checkRequest refuses every token that is not a live one of ours, on every
// route and before any other handler.
func (t *Tokens) checkRequest(e *core.RequestEvent) error {
	token := bearer(e.Request)
	switch {
	case e.Auth != nil:
		info, err := t.check(e.App, token, e.Auth)
		if err != nil {
			e.Auth = nil
			return refuseToken(e, err)
		}
		e.Set(tokenInfoKey, info)
	case token != "" && !openToBadTokens(e.Request):
		return refuseToken(e, errors.New("the token authenticates nobody"))
	}
	if query := e.Request.URL.Query(); query.Has("token") && takesFileToken(e.Request.URL.Path) && query.Get("token") != "" {
		if _, _, err := t.Authenticate(e.App, query.Get("token"), core.TokenTypeFile); err != nil {
			return refuseToken(e, err)
		}
	}
	return e.Next()
}

// takesFileToken says where PocketBase reads ?token=. The decoded path is what
// routes are matched by, so another spelling of it leads to the same answer.
func takesFileToken(path string) bool {
	return strings.HasPrefix(path, "/api/files/") || strings.HasPrefix(path, "/api/backups/")
}

// refuseToken answers 401, or 503 when the database could not tell.
func refuseToken(e *core.RequestEvent, reason error) error {
	e.App.Logger().Debug("token refused", "path", e.Request.URL.Path, "reason", reason)
	if errors.Is(reason, errListUnreadable) {
		return apis.NewApiError(http.StatusServiceUnavailable, "The token cannot be checked at this moment.", nil)
	}
	e.Response.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
	return e.UnauthorizedError("The token is invalid, expired or revoked. Sign in again.", nil)
}

// Authenticate returns the record of a live token of the given type
// (core.TokenTypeAuth or core.TokenTypeFile): well formed, signed by us, not
// expired, not revoked, of an active account. It is what routes with a token in
// another place than the Authorization header call.
func (t *Tokens) Authenticate(app core.App, token, tokenType string) (*core.Record, TokenInfo, error) {
	if token == "" || checkForm(token) != nil {
		return nil, TokenInfo{}, errTokenForm
	}
	record, err := app.FindAuthRecordByToken(token, tokenType)
	if err != nil {
		return nil, TokenInfo{}, fmt.Errorf("authenticate: %w", err)
	}
	info, err := t.check(app, token, record)
	if err != nil {
		return nil, TokenInfo{}, err
	}
	return record, info, nil
}

// check judges a token whose signature and expiry were verified for record.
func (t *Tokens) check(app core.App, token string, record *core.Record) (TokenInfo, error) {
	info, err := readClaims(token)
	if err != nil {
		return info, err
	}
	info.UserID, info.Collection = record.Id, record.Collection().Name
	if err := t.checkState(record, info); err != nil {
		return info, err
	}
	return info, t.checkRevoked(app, info)
}

// checkState judges a token by the account it belongs to.
func (t *Tokens) checkState(record *core.Record, info TokenInfo) error {
	if !active(record) {
		return ErrInactive
	}
	// Superusers have no such field; their tokens end with a new token key.
	if after := record.GetDateTime(collections.FieldTokensValidAfter); !after.IsZero() && !info.IssuedAt.After(after.Time()) {
		return errTokenOutdated
	}
	return nil
}

// readClaims reads the payload of a token that has been verified.
func readClaims(token string) (TokenInfo, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return TokenInfo{}, errTokenForm
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return TokenInfo{}, errTokenForm
	}
	claims := struct {
		ID       string  `json:"jti"`
		Parent   string  `json:"pjti"`
		Type     string  `json:"type"`
		Issuer   string  `json:"iss"`
		IssuedAt float64 `json:"iat"`
		Expires  float64 `json:"exp"`
	}{}
	if err := json.Unmarshal(payload, &claims); err != nil || !membersOnce(payload) {
		return TokenInfo{}, errTokenForm
	}
	id, err := uuid.Parse(claims.ID)
	if err != nil || id.String() != claims.ID || claims.Issuer != issuer || claims.IssuedAt <= 0 || claims.Expires <= 0 {
		return TokenInfo{}, errTokenClaims
	}
	if claims.Type == core.TokenTypeFile && claims.Parent == "" {
		return TokenInfo{}, errTokenClaims
	}
	return TokenInfo{
		JTI: claims.ID, ParentJTI: claims.Parent,
		IssuedAt: issuedAt(id, int64(claims.IssuedAt)), ExpiresAt: time.Unix(int64(claims.Expires), 0),
	}, nil
}

// issuedAt is the time of issue in milliseconds. The claim has whole seconds,
// and a token made within the second of a revocation must be told from one made
// before it; the jti, a UUIDv7, holds the milliseconds.
func issuedAt(id uuid.UUID, seconds int64) time.Time {
	if id.Version() == 7 {
		var ms int64
		for _, b := range id[:6] {
			ms = ms<<8 | int64(b)
		}
		if ms/1000 == seconds {
			return time.UnixMilli(ms)
		}
	}
	return time.Unix(seconds, 0)
}
