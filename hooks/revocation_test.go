package hooks

import (
	"errors"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"firemode/audit"
	"firemode/collections"

	"github.com/pocketbase/dbx"
	"github.com/pocketbase/pocketbase/core"
)

// cutWithin is the promise for streams of this process, with room for a busy
// machine.
const cutWithin = 3 * time.Second

func (s *site) revoke(token string) {
	s.t.Helper()
	c := claimsOf(s.t, token)
	err := s.tokens.Revoke(s.app, Revocation{
		JTI: c["jti"].(string), UserID: c["id"].(string), Reason: "logout", ExpiresAt: time.Unix(int64(c["exp"].(float64)), 0),
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

// routes lists every route of the running server, read from the router itself
// so that a new one cannot be forgotten.
func routes(s *site) (out []string) {
	var walk func(group reflect.Value, prefix string)
	walk = func(group reflect.Value, prefix string) {
		prefix += group.FieldByName("Prefix").String()
		children := group.FieldByName("children")
		for i := range children.Len() {
			child := children.Index(i).Elem().Elem()
			if method := child.FieldByName("Method"); method.IsValid() {
				out = append(out, method.String()+" "+prefix+child.FieldByName("Path").String())
			} else {
				walk(child, prefix)
			}
		}
	}
	walk(reflect.ValueOf(s.router).Elem().FieldByName("RouterGroup").Elem(), "")
	return out
}

func TestRevokedTokensAreRefusedOnEveryRoute(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	mei := s.user("mei", collections.RoleManager)
	s.superuser("root", collections.RoleAdmin)
	tokens := map[string]string{
		"user":      s.login(collections.Users, "mei", rightPassword),
		"superuser": s.login(collections.Superusers, "root@example.com", rightPassword),
	}
	kept := s.login(collections.Users, "mei", rightPassword)
	params := regexp.MustCompile(`\{[^}]*\}`)
	all := routes(s)
	if len(all) < 50 || !strings.Contains(strings.Join(all, "\n"), "POST /api/collections/{collection}/auth-refresh") {
		t.Fatalf("found %d routes: %v", len(all), all)
	}
	for who, token := range tokens {
		s.revoke(token)
		for _, route := range all {
			method, path, _ := strings.Cut(route, " ")
			if method == "" {
				method = "GET"
			}
			path = params.ReplaceAllStringFunc(path, func(name string) string {
				switch name {
				case "{collection}":
					return collections.Users
				case "{path...}":
					return ""
				}
				return mei.Id
			})
			if res, out := s.send(method, path, token, answer{}); res.StatusCode != 401 {
				t.Errorf("revoked %s token: %s %s: got %d %.200v, want 401", who, method, path, res.StatusCode, out)
			}
		}
	}
	s.must(200, "GET", records(collections.Users, mei.Id), kept, nil)
	s.must(200, "GET", "/api/health", "", nil)
}

func TestFileTokensEndWithTheirSession(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.user("mei", collections.RoleManager)
	s.superuser("root", collections.RoleAdmin)
	token := s.login(collections.Users, "mei", rightPassword)
	root := s.login(collections.Superusers, "root@example.com", rightPassword)
	fileToken := s.must(200, "POST", "/api/files/token", token, nil).text("token")
	backupToken := s.must(200, "POST", "/api/files/token", root, nil).text("token")
	file := "/api/files/evidence/019a0000-0000-7000-8000-000000000001/photo.jpg?token="
	backup := "/api/backups/some.zip?token="
	get := func(path string) int {
		res, _ := s.send("GET", path, "", nil)
		return res.StatusCode
	}
	if a, b := get(file+fileToken), get(backup+backupToken); a != 404 || b != 404 {
		t.Fatalf("with live tokens: got %d and %d, want 404 for files that do not exist", a, b)
	}
	mei := s.find(collections.Users, claimsOf(t, token)["id"].(string))
	stock, err := mei.NewFileToken()
	if err != nil {
		t.Fatal(err)
	}
	orphan, err := s.tokens.stamp(stock, mei, mei.Collection().FileToken.Secret, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, path := range map[string]string{
		"no jti": file + stock, "no parent": file + orphan, "auth token": file + token, "garbage": file + "x.y.z", "forged": backup + backupToken + "x",
		"other spelling of the path": strings.Replace(file, "files", "%66iles", 1) + stock,
	} {
		if got := get(path); got != 401 {
			t.Errorf("%s: got %d, want 401", name, got)
		}
	}
	s.revoke(token)
	s.revoke(root)
	if a, b := get(file+fileToken), get(backup+backupToken); a != 401 || b != 401 {
		t.Errorf("after the sessions' end: got %d and %d, want 401", a, b)
	}
}

func TestRevokingTwiceAndRollback(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	mei := s.user("mei", collections.RoleInspector)
	token := s.login(collections.Users, "mei", rightPassword)
	boom := errors.New("boom")
	err := s.app.RunInTransaction(func(tx core.App) error {
		if err := s.tokens.Revoke(tx, Revocation{JTI: claimsOf(t, token)["jti"].(string), UserID: mei.Id}); err != nil {
			return err
		}
		return boom
	})
	if !errors.Is(err, boom) {
		t.Fatal(err)
	}
	s.must(200, "GET", records(collections.Users, mei.Id), token, nil) // rolled back, so not revoked
	s.revoke(token)
	s.revoke(token)
	s.must(401, "GET", records(collections.Users, mei.Id), token, nil)
	if n, _ := s.app.CountRecords(collections.RevokedTokens); n != 1 {
		t.Errorf("rows: got %d, want 1", n)
	}
	if err := s.tokens.Revoke(s.app, Revocation{}); err == nil {
		t.Error("a revocation without a token was accepted")
	}
}

func TestRevocationsAreNeverTakenBack(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.user("mei", collections.RoleInspector)
	s.superuser("root", collections.RoleAdmin)
	root := s.login(collections.Superusers, "root@example.com", rightPassword)
	s.revoke(s.login(collections.Users, "mei", rightPassword))
	row, err := s.app.FindFirstRecordByFilter(collections.RevokedTokens, "")
	if err != nil {
		t.Fatal(err)
	}
	s.must(403, "DELETE", records(collections.RevokedTokens, row.Id), root, nil)
	s.must(400, "PATCH", records(collections.RevokedTokens, row.Id), root, answer{"token_jti": "other"})
	if n, _ := s.app.CountRecords(collections.RevokedTokens); n != 1 {
		t.Errorf("rows: got %d, want 1", n)
	}
}

func TestTokensEndWithTheAccountsState(t *testing.T) {
	t.Parallel()
	// Without the poll, what this process does must cut streams by itself; what
	// another one does is found by the poll.
	for name, tt := range map[string]struct {
		otherProcess, outdates bool
		end                    func(*site, *core.Record)
	}{
		"revoke all": {false, true, func(s *site, mei *core.Record) {
			if err := s.tokens.RevokeAll(s.app, s.find(collections.Users, mei.Id), "lost phone", ""); err != nil {
				s.t.Fatal(err)
			}
		}},
		"password change": {false, true, func(s *site, mei *core.Record) {
			mei = s.find(collections.Users, mei.Id)
			mei.SetPassword(otherPassword)
			if err := s.app.Save(mei); err != nil {
				s.t.Fatal(err)
			}
		}},
		"switched off": {false, true, func(s *site, mei *core.Record) {
			mei = s.find(collections.Users, mei.Id)
			mei.Set("is_active", false)
			if err := s.app.Save(mei); err != nil {
				s.t.Fatal(err)
			}
		}},
		"switched off by SQL": {true, false, func(s *site, mei *core.Record) {
			s.exec("UPDATE users SET is_active = 0 WHERE id = {:id}", dbx.Params{"id": mei.Id})
		}},
		"valid after, by SQL": {true, true, func(s *site, mei *core.Record) {
			s.exec("UPDATE users SET tokens_valid_after = {:now} WHERE id = {:id}", dbx.Params{"id": mei.Id, "now": time.Now().UTC().Format("2006-01-02 15:04:05.000Z")})
		}},
		"deleted": {false, false, func(s *site, mei *core.Record) {
			if err := s.app.Delete(s.find(collections.Users, mei.Id)); err != nil {
				s.t.Fatal(err)
			}
		}},
		"deleted by SQL": {true, false, func(s *site, mei *core.Record) {
			s.exec("DELETE FROM users WHERE id = {:id}", dbx.Params{"id": mei.Id})
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			mei := s.user("mei", collections.RoleInspector)
			kim := s.user("kim", collections.RoleInspector)
			token, others := s.login(collections.Users, "mei", rightPassword), s.login(collections.Users, "kim", rightPassword)
			file := s.must(200, "POST", "/api/files/token", token, nil).text("token")
			cut, open := s.stream(token, "buildings/*"), s.stream(others, "buildings/*")
			if !tt.otherProcess {
				s.tokens.stopPoll()
			}
			tt.end(s, mei)
			s.must(401, "GET", records(collections.Users, mei.Id), token, nil)
			s.must(401, "POST", "/api/collections/users/auth-refresh", token, nil)
			s.must(401, "GET", "/api/files/evidence/x/y?token="+file, "", nil)
			cut.ends(t, cutWithin)
			if !open.isOpen() {
				t.Error("the stream of another user was cut")
			}
			if tt.outdates && s.column("users", "tokens_valid_after", mei.Id) == "" {
				t.Error("tokens_valid_after is not set")
			}
			s.must(200, "GET", records(collections.Users, kim.Id), others, nil)
		})
	}
}

// A token issued right after everything was revoked is good, although its
// claim of the time of issue has whole seconds only.
func TestLoginRightAfterRevokeAll(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	mei := s.user("mei", collections.RoleInspector)
	for range 5 {
		old := s.login(collections.Users, "mei", rightPassword)
		if err := s.tokens.RevokeAll(s.app, s.find(collections.Users, mei.Id), "test", ""); err != nil {
			t.Fatal(err)
		}
		s.must(401, "GET", records(collections.Users, mei.Id), old, nil)
		s.must(200, "GET", records(collections.Users, mei.Id), s.login(collections.Users, "mei", rightPassword), nil)
	}
	root := s.superuser("root", collections.RoleAdmin)
	token := s.login(collections.Superusers, "root@example.com", rightPassword)
	if err := s.tokens.RevokeAll(s.app, s.find(collections.Superusers, root.Id), "test", ""); err != nil {
		t.Fatal(err)
	}
	s.must(401, "GET", "/api/settings", token, nil)
}

func TestRevokeAllIsOnRecord(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	mei := s.user("mei", collections.RoleInspector)
	err := s.app.RunInTransaction(func(tx core.App) error {
		defer audit.Attribute(tx, audit.Actor{ID: "someone", Role: "officer"})()
		return s.tokens.RevokeAll(tx, mei, "lost phone", "someone")
	})
	if err != nil {
		t.Fatal(err)
	}
	var found bool
	for _, e := range entries(t, s.app, collections.Users) {
		found = found || (e.Action == "revoke_all_tokens" && e.ResourceID == mei.Id && e.UserID == "someone" && strings.Contains(e.NewValues, "lost phone"))
	}
	if !found {
		t.Error("the audit log has no entry with the reason")
	}
}

func TestRevokedStreamsAreCut(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.user("mei", collections.RoleManager)
	token, other := s.login(collections.Users, "mei", rightPassword), s.login(collections.Users, "mei", rightPassword)
	s.tokens.stopPoll()
	cut, open, guest := s.stream(token, "buildings/*"), s.stream(other, "buildings/*"), s.stream("", "buildings/*")
	renewed := s.stream(token, "buildings/*")
	s.subscribe(renewed, other, "buildings/*") // the client has refreshed its token since
	s.revoke(token)
	cut.ends(t, cutWithin)
	s.must(200, "POST", records(collections.Buildings), other, answer{"name": "Harbour", "address": "1 Quay St", "building_type": "5", "organisation_id": s.org.Id})
	for _, c := range []*stream{open, renewed} {
		if m := c.next(t); !strings.Contains(m, "Harbour") {
			t.Errorf("message: got %s, want the new building", m)
		}
	}
	if !guest.isOpen() {
		t.Error("the stream of a guest was cut")
	}
}

func TestStreamsEndWhenTheirTokenExpires(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	mei := s.user("mei", collections.RoleManager)
	short, _, err := s.tokens.Issue(s.app, mei, 2*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	long, _, err := s.tokens.Issue(s.app, mei, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	cut, open := s.stream(short, "buildings/*"), s.stream(long, "buildings/*")
	cut.ends(t, 2*time.Second+cutWithin)
	if !open.isOpen() {
		t.Error("the stream of a longer token was cut")
	}
}

// Nothing is delivered in the time between a revocation and the cut.
func TestRevokedStreamsGetNoMessage(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.user("mei", collections.RoleManager)
	token := s.login(collections.Users, "mei", rightPassword)
	c := s.stream(token, "buildings/*")
	s.tokens.add(claimsOf(t, token)["jti"].(string), time.Now().Add(time.Hour)) // known, but not cut yet
	s.building("Harbour Tower")
	c.ends(t, cutWithin)
	select {
	case m := <-c.messages:
		t.Errorf("a message was delivered: %s", m)
	default:
	}
}
