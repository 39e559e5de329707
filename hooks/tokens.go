package hooks

import (
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"firemode/collections"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
	"github.com/pocketbase/pocketbase/core"
	"github.com/pocketbase/pocketbase/tools/hook"
	"github.com/pocketbase/pocketbase/tools/security"
)

// Claims that FireMode adds to PocketBase's own.
const (
	claimID       = "jti"
	claimIssuedAt = "iat"
	claimIssuer   = "iss"
	claimParent   = "pjti" // of a file token: the jti of the auth token it was made with

	issuer = "firemode"
)

// tokenMaxTTL bounds the life of any token. It is PocketBase's own limit for
// the setting (about three years), applied to custom lifetimes as well, so that
// a revocation without a known expiry can be kept for long enough.
const tokenMaxTTL = 94670856 * time.Second

// TokensConfig sets how tokens are made. Zero values take the defaults.
type TokensConfig struct {
	// Secret is the root that ApplySecret derives the signing secrets from. When
	// it is empty PocketBase's random secrets stay in use.
	Secret []byte
	TTL    time.Duration    // of an auth token; default: the setting of its collection
	Now    func() time.Time // default time.Now
}

// Tokens issues tokens, knows which ones are revoked and refuses those. It
// serves one app and is safe for use by many goroutines.
type Tokens struct {
	secret []byte
	ttl    time.Duration
	now    func() time.Time

	mu      sync.RWMutex         // guards revoked and lastRow
	revoked map[string]time.Time // jti -> when the token would have expired
	lastRow int64                // greatest rowid of the list that was read

	// fresh is the time in Unix nanoseconds at which the list was last read in
	// full. While it is too old, each check asks the database itself.
	fresh atomic.Int64

	pollMu sync.Mutex // guards stop
	stop   func()     // ends the poll; nil when there is none
}

// NewTokens returns a Tokens that has read no revocation yet; it asks the
// database for each check until the app serves.
func NewTokens(config TokensConfig) *Tokens {
	if config.Now == nil {
		config.Now = time.Now
	}
	return &Tokens{secret: config.Secret, ttl: config.TTL, now: config.Now, revoked: map[string]time.Time{}}
}

// TokenInfo is what a verified token says.
type TokenInfo struct {
	JTI        string
	ParentJTI  string // of a file token
	UserID     string // of a record in Collection
	Collection string // users or _superusers
	IssuedAt   time.Time
	ExpiresAt  time.Time
}

// tokenInfoKey is where the middleware keeps the TokenInfo of a request.
const tokenInfoKey = "firemode.token"

// TokenOf returns the token that authenticated the request, and false for guests.
func TokenOf(e *core.RequestEvent) (TokenInfo, bool) {
	info, ok := e.Get(tokenInfoKey).(TokenInfo)
	return info, ok
}

// Issue returns a new auth token for record and when it expires. It is the only
// way for Go code to make one: PocketBase's own methods give tokens without a
// jti, which are refused. A ttl of 0 is the configured lifetime and makes a
// token that may be refreshed; any other ttl makes one that may not. An inactive
// user gets [ErrInactive].
func (t *Tokens) Issue(app core.App, record *core.Record, ttl time.Duration) (token string, expires time.Time, err error) {
	if ttl < 0 || ttl > tokenMaxTTL {
		return "", time.Time{}, fmt.Errorf("issue token: a lifetime of %s is not between 0 and %s", ttl, tokenMaxTTL)
	}
	if !active(record) {
		return "", time.Time{}, fmt.Errorf("issue token: %w", ErrInactive)
	}
	refreshable := ttl == 0
	if refreshable {
		ttl = t.ttl
	}
	if ttl == 0 {
		ttl = record.Collection().AuthToken.DurationTime()
	}
	// The collection that a record carries may be older than a change of secrets.
	collection, err := app.FindCachedCollectionByNameOrId(record.Collection().Id)
	if err != nil {
		return "", time.Time{}, fmt.Errorf("issue token: %w", err)
	}
	now := t.now()
	claims := jwt.MapClaims{
		core.TokenClaimType:         core.TokenTypeAuth,
		core.TokenClaimId:           record.Id,
		core.TokenClaimCollectionId: collection.Id,
		core.TokenClaimRefreshable:  refreshable,
		"exp":                       now.Add(ttl).Unix(),
	}
	token, err = t.sign(claims, record, collection.AuthToken.Secret)
	if err != nil {
		return "", time.Time{}, fmt.Errorf("issue token: %w", err)
	}
	return token, time.Unix(now.Add(ttl).Unix(), 0), nil
}

// sign adds our claims and signs.
func (t *Tokens) sign(claims jwt.MapClaims, record *core.Record, secret string) (string, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return "", fmt.Errorf("make jti: %w", err)
	}
	claims[claimID], claims[claimIssuedAt], claims[claimIssuer] = id.String(), t.now().Unix(), issuer
	key := record.TokenKey()
	if key == "" || secret == "" {
		return "", core.ErrMissingSigningKey
	}
	return jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte(key + secret))
}

// stamp signs a token that PocketBase just made anew, with our claims. A token
// that has them already is returned as it is: refreshing a token that may not
// be refreshed gives the same one back.
func (t *Tokens) stamp(token string, record *core.Record, secret string, extra jwt.MapClaims) (string, error) {
	claims, err := security.ParseUnverifiedJWT(token)
	if err != nil {
		return "", fmt.Errorf("read new token: %w", err)
	}
	if id, _ := claims[claimID].(string); id != "" {
		return token, nil
	}
	expires, err := claims.GetExpirationTime()
	if err != nil || expires == nil {
		return "", errors.New("read new token: it never expires")
	}
	if limit := t.now().Add(tokenMaxTTL); expires.After(limit) {
		claims["exp"] = limit.Unix() // impersonation accepts any duration
	}
	for k, v := range extra {
		claims[k] = v
	}
	return t.sign(claims, record, secret)
}

// active says whether record may use tokens: superusers always, users while
// they are switched on.
func active(record *core.Record) bool {
	return record.Collection().Name != collections.Users || record.GetBool(collections.FieldIsActive)
}

// registerTokens puts our claims into every token that PocketBase hands out.
func registerTokens(app core.App, t *Tokens) {
	// Every login, refresh and impersonation ends here.
	app.OnRecordAuthRequest().Bind(&hook.Handler[*core.RecordAuthRequestEvent]{
		Id: "firemode.tokens.auth", Priority: math.MaxInt, // after handlers that replace the token
		Func: func(e *core.RecordAuthRequestEvent) error {
			token, err := t.stamp(e.Token, e.Record, e.Record.Collection().AuthToken.Secret, nil)
			if err != nil {
				return e.InternalServerError("Failed to create auth token.", err)
			}
			e.Token = token
			return e.Next()
		},
	})
	app.OnFileTokenRequest().Bind(&hook.Handler[*core.FileTokenRequestEvent]{
		Id: "firemode.tokens.file", Priority: math.MaxInt,
		Func: func(e *core.FileTokenRequestEvent) error {
			parent, _ := TokenOf(e.RequestEvent)
			token, err := t.stamp(e.Token, e.Record, e.Record.Collection().FileToken.Secret, jwt.MapClaims{claimParent: parent.JTI})
			if err != nil {
				return e.InternalServerError("Failed to generate file token.", err)
			}
			e.Token = token
			return e.Next()
		},
	})
	app.OnServe().Bind(&hook.Handler[*core.ServeEvent]{
		Id: "firemode.tokens.serve",
		Func: func(se *core.ServeEvent) error {
			// The installer's link carries a token without a jti; the first
			// administrator is made by `firemode superuser upsert`.
			se.InstallerFunc = nil
			bindTokenChecks(se.Router, t)
			return se.Next()
		},
	})
}
