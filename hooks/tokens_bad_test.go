package hooks

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"firemode/collections"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
	"github.com/pocketbase/pocketbase/core"
)

// badTokens are tokens that must authenticate nobody.
func badTokens(t *testing.T, s *site, user *core.Record) map[string]string {
	t.Helper()
	key := []byte(user.TokenKey() + user.Collection().AuthToken.Secret)
	now := time.Now()
	claims := func(change jwt.MapClaims) jwt.MapClaims {
		c := jwt.MapClaims{
			"id": user.Id, "type": "auth", "collectionId": user.Collection().Id, "refreshable": true, "iss": "firemode",
			"jti": uuid.Must(uuid.NewV7()).String(), "iat": now.Unix(), "exp": now.Add(time.Hour).Unix(),
		}
		for k, v := range change {
			if c[k] = v; v == nil {
				delete(c, k)
			}
		}
		return c
	}
	sign := func(method jwt.SigningMethod, key any, c jwt.MapClaims) string {
		token, err := jwt.NewWithClaims(method, c).SignedString(key)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	hs := func(change jwt.MapClaims) string { return sign(jwt.SigningMethodHS256, key, claims(change)) }
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&rsaKey.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	public := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	good := hs(nil)
	if res, out := s.send("GET", records(collections.Users), good, nil); res.StatusCode != 200 {
		t.Fatalf("the good token: got %d %v", res.StatusCode, out) // the negative control of the whole table
	}
	parts := strings.Split(good, ".")
	b64 := base64.RawURLEncoding.EncodeToString
	// raw signs texts that no library would write.
	raw := func(header, payload string) string {
		text := b64([]byte(header)) + "." + b64([]byte(payload))
		signature, err := jwt.SigningMethodHS256.Sign(text, key)
		if err != nil {
			t.Fatal(err)
		}
		return text + "." + b64(signature)
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	const header = `{"alg":"HS256","typ":"JWT"}`
	also := func(member string) string { return strings.TrimSuffix(string(payload), "}") + "," + member + "}" }
	if res, out := s.send("GET", records(collections.Users), raw(header, also(`"other":1`)), nil); res.StatusCode != 200 {
		t.Fatalf("a further claim: got %d %v, want it accepted", res.StatusCode, out) // the control of the next ones
	}
	head := func(json string) string { return b64([]byte(json)) + "." + parts[1] + "." + parts[2] }
	stock, err := user.NewAuthToken()
	if err != nil {
		t.Fatal(err)
	}
	fileToken, err := user.NewFileToken()
	if err != nil {
		t.Fatal(err)
	}
	spare := []byte(good)
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := len(spare) - 1
	spare[last] = alphabet[strings.IndexByte(alphabet, spare[last])^1]
	return map[string]string{
		"alg none":           sign(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, claims(nil)),
		"alg none, signed":   head(`{"alg":"none"}`),
		"alg None":           head(`{"alg":"None"}`),
		"RS256":              sign(jwt.SigningMethodRS256, rsaKey, claims(nil)),
		"RS256 public key":   sign(jwt.SigningMethodHS256, public, claims(nil)),
		"HS512, right key":   sign(jwt.SigningMethodHS512, key, claims(nil)),
		"crit":               head(`{"alg":"HS256","crit":["x"]}`),
		"wrong key":          sign(jwt.SigningMethodHS256, []byte("x"), claims(nil)),
		"secret only":        sign(jwt.SigningMethodHS256, []byte(user.Collection().AuthToken.Secret), claims(nil)),
		"expired":            hs(jwt.MapClaims{"exp": now.Add(-time.Minute).Unix()}),
		"never expires":      hs(jwt.MapClaims{"exp": nil}),
		"future iat":         hs(jwt.MapClaims{"iat": now.Add(time.Hour).Unix()}),
		"not yet":            hs(jwt.MapClaims{"nbf": now.Add(time.Hour).Unix()}),
		"no iat":             hs(jwt.MapClaims{"iat": nil}),
		"no jti":             hs(jwt.MapClaims{"jti": nil}),
		"empty jti":          hs(jwt.MapClaims{"jti": ""}),
		"number as jti":      hs(jwt.MapClaims{"jti": 7}),
		"spelt jti":          hs(jwt.MapClaims{"jti": strings.ToUpper("019a0000-0000-7000-8000-00000000000a")}),
		"other issuer":       hs(jwt.MapClaims{"iss": "elsewhere"}),
		"no issuer":          hs(jwt.MapClaims{"iss": nil}),
		"PocketBase's own":   stock,
		"file token":         fileToken,
		"unknown user":       hs(jwt.MapClaims{"id": "019a0000-0000-7000-8000-000000000009"}),
		"other collection":   hs(jwt.MapClaims{"collectionId": "fm_buildings"}),
		"unknown collection": hs(jwt.MapClaims{"collectionId": "nowhere"}),
		"reset type":         hs(jwt.MapClaims{"type": "passwordReset"}),
		"garbage":            "garbage",
		"two parts":          parts[0] + "." + parts[1],
		"four parts":         good + ".x",
		"no signature":       parts[0] + "." + parts[1] + ".",
		"unused bits":        string(spare),
		"padding":            good + "=",
		"trailing junk":      good + "%20",
		"basic":              "Basic " + base64.StdEncoding.EncodeToString([]byte("mei:"+rightPassword)),
		"jti twice":          raw(header, also(`"jti":"019a0000-0000-7000-8000-00000000000b"`)),
		"jti in capitals":    raw(header, also(`"JTI":"019a0000-0000-7000-8000-00000000000b"`)),
		"exp twice":          raw(header, also(`"exp":4102444800`)),
		"id twice":           raw(header, also(`"id":"`+user.Id+`"`)),
		"escaped id":         raw(header, also(`"\u0069d":"`+user.Id+`"`)),
		"iat in capitals":    raw(header, also(`"Iat":1`)),
		"alg twice":          raw(`{"alg":"none","alg":"HS256"}`, string(payload)),
		"ALG and alg":        raw(`{"ALG":"none","alg":"HS256"}`, string(payload)),
		"two payloads":       raw(header, string(payload)+string(payload)),
		"list as payload":    raw(header, "["+string(payload)+"]"),
		"text as exp":        raw(header, strings.Replace(string(payload), `"exp":`, `"exp":"4102444800","x":`, 1)),
		"infinite exp":       raw(header, strings.Replace(string(payload), `"exp":`, `"exp":1e400,"x":`, 1)),
		"oversize":           hs(jwt.MapClaims{"pad": strings.Repeat("x", tokenMaxBytes)}),
	}
}

func TestTokensThatAuthenticateNobodyAreRefused(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	mei := s.user("mei", collections.RoleInspector)
	for name, token := range badTokens(t, s, mei) {
		for _, header := range []string{token, "Bearer " + token} {
			res, out := s.send("GET", records(collections.Buildings), header, nil)
			if res.StatusCode != http.StatusUnauthorized || !strings.HasPrefix(res.Header.Get("WWW-Authenticate"), "Bearer") {
				t.Errorf("%s: got %d %v, want 401", name, res.StatusCode, out)
			}
			// Whoever holds such a token can still sign in and see that the server is up.
			if res, out := s.send("GET", "/api/collections/users/auth-methods", header, nil); res.StatusCode != 200 && !hasOurSignature(s, mei, token) {
				t.Errorf("%s: auth-methods answers %d %v, want 200", name, res.StatusCode, out)
			}
		}
	}
	s.must(200, "GET", records(collections.Buildings), "", nil) // a guest sees an empty list
}

// hasOurSignature says whether PocketBase itself would accept the token; such
// ones are refused everywhere.
func hasOurSignature(s *site, user *core.Record, token string) bool {
	r, err := s.app.FindAuthRecordByToken(token, core.TokenTypeAuth)
	return err == nil && r.Id == user.Id
}

func TestOpenRoutes(t *testing.T) {
	t.Parallel()
	for route, want := range map[string]bool{
		"POST /v1/auth/login": true, "GET /v1/auth/login": false, "POST /v1/auth/logout": false, "POST /v1/auth/login/": false,
		"GET /api/health": false, "GET /health/ready": true, "GET /": true, "GET /_/": true, "GET /docs": true,
		"GET /v1/buildings": false, "GET /api/": false,
	} {
		method, path, _ := strings.Cut(route, " ")
		r := httptest.NewRequest(method, path, nil) // with a path alone, as behind a catch-all pattern
		if got := openToBadTokens(r); got != want {
			t.Errorf("%s: got %v, want %v", route, got, want)
		}
	}
	s := newSite(t)
	served := strings.Join(routes(s), "\n") + "\n"
	for pattern := range openPatterns {
		if !strings.Contains(served, pattern+"\n") {
			t.Errorf("%s is open, but no such route is served", pattern)
		}
	}
}

func TestTwoAuthorizationHeadersAreRefused(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.user("mei", collections.RoleInspector)
	token := s.login(collections.Users, "mei", rightPassword)
	s.app.OnRecordAuthWithPasswordRequest().BindFunc(func(e *core.RecordAuthWithPasswordRequestEvent) error {
		if e.Auth != nil || e.Request.Header.Get("Authorization") != "" {
			t.Errorf("login with two headers: the handler sees %v and %q, want a guest", e.Auth, e.Request.Header.Get("Authorization"))
		}
		return e.Next()
	})
	send := func(method, path, body string) int {
		t.Helper()
		req, err := http.NewRequest(method, s.url+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header["Authorization"] = []string{token, token}
		req.Header.Set("Content-Type", "application/json")
		res, err := s.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		return res.StatusCode
	}
	if got := send("GET", records(collections.Buildings), ""); got != 401 {
		t.Errorf("list: got %d, want 401", got)
	}
	if got := send("POST", "/api/collections/users/auth-with-password", `{"identity":"mei","password":"`+rightPassword+`"}`); got != 200 {
		t.Errorf("login: got %d, want 200", got)
	}
}

func TestOneSpellingPerToken(t *testing.T) {
	t.Parallel()
	const good = "eyJhbGciOiJIUzI1NiJ9.e30.AA"
	if err := checkForm(good); err != nil {
		t.Fatalf("the good form: %v", err)
	}
	for name, bad := range map[string]string{
		"line break": good[:30-4] + "\n" + good[30-4:], "unused bits": "eyJhbGciOiJIUzI1NiJ9.e30.AB", "padding": good + "==",
		"standard alphabet": "eyJhbGciOiJIUzI1NiJ9.e30.+/8", "empty header": ".e30.AA", "header is a list": "W10.e30.AA",
		"other type": "eyJhbGciOiJIUzI1NiIsInR5cCI6ImF0K2p3dCJ9.e30.AA",
	} {
		if checkForm(bad) == nil {
			t.Errorf("%s: %q passes", name, bad)
		}
	}
}
