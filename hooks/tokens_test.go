package hooks

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"firemode/collections"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
	"github.com/pocketbase/pocketbase/core"
	"github.com/pocketbase/pocketbase/tools/security"
)

func claimsOf(t *testing.T, token string) jwt.MapClaims {
	t.Helper()
	claims, err := security.ParseUnverifiedJWT(token)
	if err != nil {
		t.Fatalf("claims of %q: %v", token, err)
	}
	return claims
}

func TestEveryTokenCarriesOurClaims(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	mei := s.user("mei", collections.RoleInspector)
	s.superuser("root", collections.RoleAdmin)
	login := s.login(collections.Users, "mei", rightPassword)
	root := s.login(collections.Superusers, "root@example.com", rightPassword)
	refreshed := s.must(200, "POST", "/api/collections/users/auth-refresh", login, nil).text("token")
	impersonated := s.must(200, "POST", "/api/collections/users/impersonate/"+mei.Id, root, answer{"duration": 60}).text("token")
	endless := s.must(200, "POST", "/api/collections/users/impersonate/"+mei.Id, root, answer{"duration": 9e9}).text("token")
	if got := entries(t, s.app, collections.Users); !slices.ContainsFunc(got, func(e entry) bool {
		return e.Action == "impersonate" && e.ResourceID == mei.Id && e.UserRole == "superuser:admin"
	}) {
		t.Errorf("audit log: got %+v, want the administrator's impersonation", got)
	}
	issued, expires, err := s.tokens.Issue(s.app, mei, 0)
	if err != nil {
		t.Fatal(err)
	}
	file := s.must(200, "POST", "/api/files/token", login, nil).text("token")

	seen := map[string]bool{}
	for name, token := range map[string]string{
		"login": login, "superuser": root, "refresh": refreshed, "impersonation": impersonated, "endless": endless, "Go": issued, "file": file,
	} {
		c := claimsOf(t, token)
		id, _ := c["jti"].(string)
		parsed, err := uuid.Parse(id)
		if err != nil || parsed.Version() != 7 || seen[id] {
			t.Errorf("%s: jti %q is not a new UUIDv7", name, id)
		}
		seen[id] = true
		if iat, _ := c["iat"].(float64); c["iss"] != "firemode" || time.Since(time.Unix(int64(iat), 0)) > time.Minute {
			t.Errorf("%s: got iss %v and iat %v", name, c["iss"], c["iat"])
		}
	}
	for _, token := range []string{login, refreshed, issued} {
		c := claimsOf(t, token)
		if left := time.Until(time.Unix(int64(c["exp"].(float64)), 0)); left < 14*time.Minute || left > 15*time.Minute || c["refreshable"] != true {
			t.Errorf("token: got %v left, refreshable %v, want 15 minutes and true", left, c["refreshable"])
		}
	}
	if got := claimsOf(t, file)["pjti"]; got != claimsOf(t, login)["jti"] {
		t.Errorf("file token: got parent %v, want the login's", got)
	}
	if got := time.Until(time.Unix(int64(claimsOf(t, endless)["exp"].(float64)), 0)); got > tokenMaxTTL {
		t.Errorf("impersonation without end: got %v, want at most %v", got, tokenMaxTTL)
	}
	if got := int64(claimsOf(t, issued)["exp"].(float64)); got != expires.Unix() {
		t.Errorf("Issue: got expiry %d in the token and %d returned", got, expires.Unix())
	}
	// A token that may not be refreshed comes back as it is.
	if again := s.must(200, "POST", "/api/collections/users/auth-refresh", impersonated, nil).text("token"); again != impersonated {
		t.Error("refreshing an impersonation token gave another token")
	}
}

func TestIssueTakesAnyLifetimeWithinBounds(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	mei := s.user("mei", collections.RoleClient)
	for _, ttl := range []time.Duration{time.Minute, 400 * 24 * time.Hour} {
		token, expires, err := s.tokens.Issue(s.app, mei, ttl)
		if err != nil {
			t.Fatal(err)
		}
		if left := time.Until(expires); left > ttl || left < ttl-2*time.Second {
			t.Errorf("Issue(%v): got %v left", ttl, left)
		}
		if claimsOf(t, token)["refreshable"] != false {
			t.Errorf("Issue(%v): the token may be refreshed", ttl)
		}
		s.must(200, "GET", records(collections.Users, mei.Id), token, nil)
	}
	for _, ttl := range []time.Duration{-1, tokenMaxTTL + 1} {
		if _, _, err := s.tokens.Issue(s.app, mei, ttl); err == nil {
			t.Errorf("Issue(%v): want an error", ttl)
		}
	}
	mei.Set("is_active", false)
	if _, _, err := s.tokens.Issue(s.app, mei, 0); !errors.Is(err, ErrInactive) {
		t.Errorf("Issue for an inactive user: got %v, want ErrInactive", err)
	}
}

func TestTokenOfTellsHandlersWhoCalls(t *testing.T) {
	t.Parallel()
	var got TokenInfo
	var signedIn bool
	s := newSite(t)
	mei := s.user("mei", collections.RoleInspector)
	token := s.login(collections.Users, "mei", rightPassword)
	s.app.OnRecordViewRequest().BindFunc(func(e *core.RecordRequestEvent) error {
		got, signedIn = TokenOf(e.RequestEvent)
		return e.Next()
	})
	s.must(200, "GET", records(collections.Users, mei.Id), "Bearer "+token, nil)
	c := claimsOf(t, token)
	if !signedIn || got.JTI != c["jti"] || got.UserID != mei.Id || got.Collection != collections.Users ||
		got.ExpiresAt.Unix() != int64(c["exp"].(float64)) || got.IssuedAt.Unix() != int64(c["iat"].(float64)) {
		t.Errorf("TokenOf: got %+v (%v), want what the token says: %v", got, signedIn, c)
	}
}

func TestApplySecret(t *testing.T) {
	t.Parallel()
	s := newSite(t) // has applied testSecret once
	mei := s.user("mei", collections.RoleInspector)
	token := s.login(collections.Users, "mei", rightPassword)
	secrets := func() map[string]string {
		t.Helper()
		all, err := s.app.FindAllCollections(core.CollectionTypeAuth)
		if err != nil {
			t.Fatal(err)
		}
		out := map[string]string{}
		for _, c := range all {
			for purpose, config := range map[string]core.TokenConfig{
				"auth": c.AuthToken, "file": c.FileToken, "reset": c.PasswordResetToken, "email": c.EmailChangeToken, "verify": c.VerificationToken,
			} {
				out[c.Name+" "+purpose] = config.Secret
			}
			if c.AuthToken.Duration != 900 {
				t.Errorf("%s: got a lifetime of %d s, want 900", c.Name, c.AuthToken.Duration)
			}
		}
		return out
	}
	first := secrets()
	different := map[string]bool{}
	for _, secret := range first {
		different[secret] = true
	}
	if len(first) != 10 || len(different) != 10 {
		t.Errorf("got %d secrets, %d different, want 10 of 2 collections", len(first), len(different))
	}
	again := NewTokens(TokensConfig{Secret: []byte(testSecret), TTL: 15 * time.Minute})
	if err := again.ApplySecret(s.app); err != nil {
		t.Fatal(err)
	}
	if got := secrets(); got["users auth"] != first["users auth"] {
		t.Error("the same root gave other secrets")
	}
	s.must(200, "GET", records(collections.Users, mei.Id), token, nil)

	// "Invalidate all tokens" of the admin UI outlives a restart.
	users, err := s.app.FindCollectionByNameOrId(collections.Users)
	if err != nil {
		t.Fatal(err)
	}
	users.AuthToken.Secret = security.RandomString(50)
	if err := s.app.Save(users); err != nil {
		t.Fatal(err)
	}
	if err := again.ApplySecret(s.app); err != nil {
		t.Fatal(err)
	}
	s.must(401, "GET", records(collections.Users, mei.Id), token, nil)

	other := NewTokens(TokensConfig{Secret: []byte(strings.Repeat("k", 32)), TTL: 15 * time.Minute})
	if err := other.ApplySecret(s.app); err != nil {
		t.Fatal(err)
	}
	for name, secret := range secrets() {
		if secret == first[name] {
			t.Errorf("%s: another root left the secret as it was", name)
		}
	}
	if err := NewTokens(TokensConfig{Secret: []byte("short")}).ApplySecret(s.app); err == nil {
		t.Error("a short secret was accepted")
	}
	// Without a root PocketBase's own secrets stay.
	before := secrets()
	if err := NewTokens(TokensConfig{}).ApplySecret(s.app); err != nil {
		t.Fatal(err)
	}
	if got := secrets(); got["users auth"] != before["users auth"] {
		t.Error("no root: the secret changed")
	}
}

func FuzzCheckForm(f *testing.F) {
	for _, seed := range []string{"", "a.b.c", "eyJhbGciOiJIUzI1NiJ9.e30.", "eyJhbGciOiJub25lIn0.e30."} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, token string) {
		if checkForm(token) != nil || token == "" {
			return
		}
		header, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[0])
		if err != nil || len(token) > tokenMaxBytes {
			t.Fatalf("accepted %q", token)
		}
		var h map[string]any
		if err := json.Unmarshal(header, &h); err != nil {
			t.Fatalf("accepted header %q", header)
		}
		_, _ = readClaims(token) // must not panic
	})
}
