package hooks

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"

	"firemode/collections"

	"github.com/pocketbase/pocketbase/cmd"
	"github.com/pocketbase/pocketbase/core"
	"github.com/pocketbase/pocketbase/tools/hook"
)

const otherPassword = "another long secret"

func (s *site) hash(r *core.Record) string {
	s.t.Helper()
	return s.column(r.Collection().Name, "password", r.Id)
}

func TestEveryWayToSetAPasswordStoresArgon2id(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	root := s.superuser("root", collections.RoleAdmin)
	rootToken := s.login(collections.Superusers, "root@example.com", rightPassword)
	mei := s.user("mei", collections.RoleInspector)
	want := "$argon2id$v=19$m=8,t=1,p=1$"
	for _, r := range []*core.Record{root, mei} {
		if got := s.hash(r); !strings.HasPrefix(got, want) {
			t.Fatalf("hash: got %q, want %s…", got, want)
		}
	}
	login := func(identity, password string) string {
		t.Helper()
		return s.login(collections.Users, identity, password)
	}

	// Created over the record API, as the admin UI does.
	s.must(200, "POST", records(collections.Users), rootToken, answer{
		"username": "kim", "email": "kim@example.com", "password": otherPassword, "passwordConfirm": otherPassword,
		"role": "inspector", "organisation_id": s.org.Id, "is_active": true,
	})
	login("kim", otherPassword)
	login("kim@example.com", otherPassword)
	s.cannotLogin(collections.Users, "kim", rightPassword)

	// Saved without validation.
	mei.SetPassword(otherPassword)
	if err := s.app.SaveNoValidate(mei); err != nil {
		t.Fatal(err)
	}
	login("mei", otherPassword)
	s.cannotLogin(collections.Users, "mei", rightPassword)

	// An administrator sets it without the old one.
	s.must(200, "PATCH", records(collections.Users, mei.Id), rootToken, answer{"password": rightPassword, "passwordConfirm": rightPassword})
	login("mei", rightPassword)

	// A reset by mail.
	reset, err := s.find(collections.Users, mei.Id).NewPasswordResetToken()
	if err != nil {
		t.Fatal(err)
	}
	s.must(204, "POST", "/api/collections/users/confirm-password-reset", "", answer{"token": reset, "password": otherPassword, "passwordConfirm": otherPassword})
	login("mei", otherPassword)

	// The command line, new and known.
	for _, password := range []string{otherPassword, rightPassword} {
		command := cmd.NewSuperuserCommand(s.app)
		command.SetArgs([]string{"upsert", "ops@example.com", password})
		if err := command.Execute(); err != nil {
			t.Fatal(err)
		}
		s.login(collections.Superusers, "ops@example.com", password)
	}

	// A save that does not touch it keeps the hash.
	before := s.hash(mei)
	kept := s.find(collections.Users, mei.Id)
	kept.Set("username", "mei2")
	if err := s.app.Save(kept); err != nil {
		t.Fatal(err)
	}
	if got := s.hash(mei); got != before {
		t.Errorf("hash after another change: got %q, want %q", got, before)
	}

	// Past every hook the database refuses.
	bare := newRecord(t, s.app, collections.Users, map[string]any{"username": "bare", "email": "bare@example.com", "password": rightPassword, "role": "inspector", "organisation_id": s.org.Id})
	bare.Set("id", "019a0000-0000-7000-8000-000000000001")
	bare.RefreshTokenKey()
	if err := s.app.UnsafeWithoutHooks().SaveNoValidate(bare); err == nil || !strings.Contains(err.Error(), "Argon2id only") {
		t.Errorf("save without hooks: got %v, want it refused by the database", err)
	}
}

func TestOwnPasswordChangeNeedsTheOldOne(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	mei := s.user("mei", collections.RoleInspector)
	token := s.login(collections.Users, "mei", rightPassword)
	path := records(collections.Users, mei.Id)
	s.app.OnRecordUpdateRequest().Bind(&hook.Handler[*core.RecordRequestEvent]{Id: "test.restored", Priority: priorityPasswordRequest - 1, Func: func(e *core.RecordRequestEvent) error {
		err := e.Next()
		if got := storedHash(e.Record.Original()); !strings.HasPrefix(got, argon2Prefix) {
			t.Errorf("loaded hash after the request: got %q, want what is stored", got)
		}
		return err
	}})
	change := func(old, password, confirm string) answer {
		body := answer{"password": password, "passwordConfirm": confirm}
		if old != "" {
			body["oldPassword"] = old
		}
		return body
	}
	for name, body := range map[string]answer{
		"no old password":     change("", otherPassword, otherPassword),
		"wrong old password":  change("wrong", otherPassword, otherPassword),
		"long old password":   change(strings.Repeat("x", 300), otherPassword, otherPassword),
		"other confirmation":  change(rightPassword, otherPassword, "different"),
		"too short":           change(rightPassword, "short", "short"),
		"only the old one":    {"oldPassword": rightPassword},
		"stored hash as old":  change(s.hash(mei), otherPassword, otherPassword),
		"no new confirmation": {"oldPassword": rightPassword, "password": otherPassword},
	} {
		if res, out := s.send("PATCH", path, token, body); res.StatusCode != 400 {
			t.Errorf("%s: got %d %v, want 400", name, res.StatusCode, out)
		}
	}
	s.login(collections.Users, "mei", rightPassword)
	s.must(200, "PATCH", path, token, change(rightPassword, otherPassword, otherPassword))
	s.login(collections.Users, "mei", otherPassword)
	s.cannotLogin(collections.Users, "mei", rightPassword)
	s.must(401, "POST", "/api/collections/users/auth-refresh", token, nil)
}

// Original() must share its values with the record, or the old password would
// be checked against something else; a new PocketBase may change that.
func TestOriginalSharesThePasswordValue(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	r := s.find(collections.Users, s.user("mei", collections.RoleInspector).Id)
	a, b := passwordValue(r.Original()), passwordValue(r.Original())
	if a == nil || a != b {
		t.Errorf("Original: got values %p and %p, want one shared value", a, b)
	}
}

func TestPasswordsAreHashedOutsideOfTransactions(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	inTransaction := 0
	counted := func(e *core.RecordEvent) error {
		// The audit handler has opened its transaction by now; the hash must be there.
		if v := passwordValue(e.Record); v != nil && !strings.HasPrefix(v.Hash, argon2Prefix) {
			inTransaction++
		}
		return e.Next()
	}
	s.app.OnRecordCreateExecute().Bind(&hook.Handler[*core.RecordEvent]{Id: "test.c", Priority: priorityAudit - 1, Func: counted})
	s.app.OnRecordUpdateExecute().Bind(&hook.Handler[*core.RecordEvent]{Id: "test.u", Priority: priorityAudit - 1, Func: counted})
	attributed := 0
	s.app.OnRecordUpdateRequest().Bind(&hook.Handler[*core.RecordRequestEvent]{Id: "test.r", Priority: priorityAttribute - 1, Func: func(e *core.RecordRequestEvent) error {
		attributed++
		if v := passwordValue(e.Record); !strings.HasPrefix(v.Hash, argon2Prefix) {
			t.Error("the request's transaction begins before the password is hashed")
		}
		return e.Next()
	}})
	s.superuser("root", collections.RoleAdmin)
	mei := s.user("mei", collections.RoleInspector)
	root := s.login(collections.Superusers, "root@example.com", rightPassword)
	s.must(200, "PATCH", records(collections.Users, mei.Id), root, answer{"password": otherPassword, "passwordConfirm": otherPassword})
	if inTransaction != 0 || attributed != 1 {
		t.Errorf("got %d saves without a hash and %d requests, want 0 and 1", inTransaction, attributed)
	}
}

func TestRandomPasswordsAreLocked(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	mei := s.user("mei", collections.RoleInspector)
	random := mei.SetRandomPassword()
	if err := s.app.Save(mei); err != nil {
		t.Fatal(err)
	}
	if got := s.hash(mei); got != lockedHash {
		t.Errorf("hash: got %q, want %q", got, lockedHash)
	}
	for _, guess := range []string{random, lockedHash, "locked"} {
		s.cannotLogin(collections.Users, "mei", guess)
	}
	fresh := newRecord(t, s.app, collections.Users, map[string]any{"username": "kim", "email": "kim@example.com", "role": "inspector", "organisation_id": s.org.Id, "is_active": true})
	fresh.SetRandomPassword()
	if err := s.app.Save(fresh); err != nil {
		t.Fatal(err)
	}
	if got := s.hash(fresh); got != lockedHash {
		t.Errorf("hash of a new account: got %q, want %q", got, lockedHash)
	}
	// A locked account gets a usable password again.
	fresh = s.find(collections.Users, fresh.Id)
	fresh.SetPassword(rightPassword)
	if err := s.app.Save(fresh); err != nil {
		t.Fatal(err)
	}
	s.login(collections.Users, "kim", rightPassword)
}

func TestOneTimeCodesKeepTheirOwnHash(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	mei := s.user("mei", collections.RoleInspector)
	users, err := s.app.FindCollectionByNameOrId(collections.Users)
	if err != nil {
		t.Fatal(err)
	}
	users.OTP.Enabled = true
	if err := s.app.Save(users); err != nil {
		t.Fatal(err)
	}
	otp := core.NewOTP(s.app)
	otp.SetCollectionRef(users.Id)
	otp.SetRecordRef(mei.Id)
	otp.SetPassword("12345678")
	if err := s.app.Save(otp); err != nil {
		t.Fatal(err)
	}
	token := s.must(200, "POST", "/api/collections/users/auth-with-otp", "", answer{"otpId": otp.Id, "password": "12345678"}).text("token")
	if got := claimsOf(t, token)["jti"]; got == nil {
		t.Error("the token of a one-time code has no jti")
	}
	s.login(collections.Users, "mei", rightPassword)
}

func TestEmailChangeChecksThePassword(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	mei := s.user("mei", collections.RoleInspector)
	s.user("kim", collections.RoleInspector)
	const path = "/api/collections/users/confirm-email-change"
	token := func(address string) string {
		v, err := s.find(collections.Users, mei.Id).NewEmailChangeToken(address)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	good := token("new@example.com")
	verification, err := mei.NewVerificationToken()
	if err != nil {
		t.Fatal(err)
	}
	for name, body := range map[string]answer{
		"wrong password":   {"token": good, "password": "wrong"},
		"no password":      {"token": good},
		"no token":         {"password": rightPassword},
		"forged token":     {"token": good + "x", "password": rightPassword},
		"taken address":    {"token": token("kim@example.com"), "password": rightPassword},
		"another purpose":  {"token": verification, "password": rightPassword},
		"too long to hash": {"token": good, "password": strings.Repeat("x", 300)},
	} {
		if res, out := s.send("POST", path, "", body); res.StatusCode != 400 {
			t.Errorf("%s: got %d %v, want 400", name, res.StatusCode, out)
		}
	}
	s.must(404, "POST", "/api/collections/buildings/confirm-email-change", "", answer{"token": good, "password": rightPassword})
	s.must(400, "POST", "/api/collections/_superusers/confirm-email-change", "", answer{"token": good, "password": rightPassword})
	s.must(204, "POST", path, "", answer{"token": good, "password": rightPassword})
	s.login(collections.Users, "new@example.com", rightPassword)
	s.cannotLogin(collections.Users, "mei@example.com", rightPassword)
}

func TestTooLongPasswordsAreExplained(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.superuser("root", collections.RoleAdmin)
	root := s.login(collections.Superusers, "root@example.com", rightPassword)
	long := strings.Repeat("é", 60) // 60 letters, 120 bytes
	out := s.must(400, "POST", records(collections.Users), root, answer{
		"username": "kim", "email": "kim@example.com", "password": long, "passwordConfirm": long,
		"role": "inspector", "organisation_id": s.org.Id, "is_active": true,
	})
	raw, _ := json.Marshal(out)
	if !strings.Contains(string(raw), "72 bytes") {
		t.Errorf("answer: got %s, want it to name the limit of 72 bytes", raw)
	}
}

func TestBatchesSetNoPasswords(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.superuser("root", collections.RoleAdmin)
	mei := s.user("mei", collections.RoleInspector)
	root := s.login(collections.Superusers, "root@example.com", rightPassword)
	s.app.Settings().Batch.Enabled, s.app.Settings().Batch.MaxRequests = true, 10
	batch := func(body answer) answer {
		return answer{"requests": []any{answer{"method": "PATCH", "url": records(collections.Users, mei.Id), "body": body}}}
	}
	s.must(400, "POST", "/api/batch", root, batch(answer{"password": otherPassword, "passwordConfirm": otherPassword}))
	s.must(200, "POST", "/api/batch", root, batch(answer{"username": "mei2"}))
	s.login(collections.Users, "mei2", rightPassword)
}

func TestLoginFunctionMakesTheSameChecks(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	mei := s.user("mei", collections.RoleInspector)
	gone := s.user("gone", collections.RoleInspector)
	gone.Set("is_active", false)
	if err := s.app.Save(gone); err != nil {
		t.Fatal(err)
	}
	for _, identity := range []string{"mei", "mei@example.com"} {
		r, err := s.hasher.Login(t.Context(), s.app, Attempt{Identity: identity, Password: rightPassword})
		if err != nil || r.Id != mei.Id {
			t.Errorf("login as %s: got %v, %v", identity, r, err)
		}
	}
	for name, tt := range map[string]struct {
		identity, password string
		want               error
	}{
		"wrong password":          {"mei", "wrong", ErrCredentials},
		"unknown user":            {"nobody", rightPassword, ErrCredentials},
		"unknown address":         {"nobody@example.com", rightPassword, ErrCredentials},
		"no password":             {"mei", "", ErrCredentials},
		"no identity":             {"", rightPassword, ErrCredentials},
		"long password":           {"mei", strings.Repeat("x", 256), ErrCredentials},
		"inactive":                {"gone", rightPassword, ErrInactive},
		"inactive, wrong":         {"gone", "wrong", ErrCredentials},
		"superuser is not a user": {"root@example.com", rightPassword, ErrCredentials},
	} {
		if r, err := s.hasher.Login(t.Context(), s.app, Attempt{Identity: tt.identity, Password: tt.password}); !errors.Is(err, tt.want) || r != nil {
			t.Errorf("%s: got %v, %v, want %v", name, r, err, tt.want)
		}
	}
	s.cannotLogin(collections.Users, "nobody", rightPassword)
	s.must(http.StatusForbidden, "POST", "/api/collections/users/auth-with-password", "", answer{"identity": "gone", "password": rightPassword})
}

func TestWeakHashesAreRenewedAtLogin(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	mei := s.user("mei", collections.RoleInspector)
	key := s.column("users", "tokenKey", mei.Id)
	s.hasher.config.Time = 2
	s.cannotLogin(collections.Users, "mei", "wrong")
	if got := s.hash(mei); !strings.Contains(got, "t=1") {
		t.Errorf("hash after a failed login: got %q, want it as it was", got)
	}
	s.login(collections.Users, "mei", rightPassword)
	if got := s.hash(mei); !strings.Contains(got, "m=8,t=2,p=1") {
		t.Errorf("hash after login: got %q, want two passes", got)
	}
	s.login(collections.Users, "mei", rightPassword)
	if got := s.column("users", "tokenKey", mei.Id); got != key {
		t.Error("renewing the hash changed the token key, which ends other sessions")
	}
}
