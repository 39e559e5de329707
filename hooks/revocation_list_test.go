package hooks

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"firemode/collections"
	"firemode/internal/sqlite"

	"github.com/pocketbase/dbx"
	"github.com/pocketbase/pocketbase/core"
)

// second opens the same data directory as another process would: its own
// connections, none of the running server's hooks.
func second(t *testing.T, s *site) *dbx.DB {
	t.Helper()
	db, err := sqlite.Connect(s.app.DataDir() + "/data.db")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func insertRow(t *testing.T, db dbx.Builder, id, jti, user string, expires time.Time) {
	t.Helper()
	const layout = "2006-01-02 15:04:05.000Z"
	_, err := db.Insert(collections.RevokedTokens, dbx.Params{
		"id": id, "token_jti": jti, "user_id": user, "reason": "command line", "revoked_by": "",
		"revoked_at": time.Now().UTC().Format(layout), "expires_at": expires.UTC().Format(layout),
	}).Execute()
	if err != nil {
		t.Fatal(err)
	}
}

func TestRevocationsOfOtherProcessesAreSeen(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	mei := s.user("mei", collections.RoleManager)
	token := s.login(collections.Users, "mei", rightPassword)
	stream := s.stream(token, "buildings/*")
	started := time.Now()
	insertRow(t, second(t, s), "019a0000-0000-7000-8000-000000000001", claimsOf(t, token)["jti"].(string), mei.Id, time.Now().Add(time.Hour))
	eventually(t, "refusal of a token that another process revoked", func() bool {
		res, _ := s.send("GET", records(collections.Users, mei.Id), token, nil)
		return res.StatusCode == 401
	})
	stream.ends(t, cutWithin)
	t.Logf("seen after %s", time.Since(started).Round(time.Millisecond))
}

func TestTheListIsReadAtStart(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	mei := s.user("mei", collections.RoleManager)
	token := s.login(collections.Users, "mei", rightPassword)
	s.revoke(token)
	restarted := NewTokens(TokensConfig{})
	if err := restarted.readNew(s.app); err != nil {
		t.Fatal(err)
	}
	info, err := readClaims(token)
	if err != nil {
		t.Fatal(err)
	}
	if err := restarted.checkRevoked(s.app, info); !errors.Is(err, errTokenRevoked) {
		t.Errorf("after a restart: got %v, want the token revoked", err)
	}
	if _, _, err := restarted.Authenticate(s.app, token, core.TokenTypeAuth); !errors.Is(err, errTokenRevoked) {
		t.Errorf("Authenticate: got %v, want the token revoked", err)
	}
	other := s.login(collections.Users, "mei", rightPassword)
	if r, _, err := restarted.Authenticate(s.app, other, core.TokenTypeAuth); err != nil || r.Id != mei.Id {
		t.Errorf("Authenticate with a live token: got %v, %v", r, err)
	}
}

// When the list was not read for long, each check asks the database; when that
// fails too, the answer is no.
func TestAnUnreadableListFailsClosed(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	mei := s.user("mei", collections.RoleManager)
	token := s.login(collections.Users, "mei", rightPassword)
	s.tokens.stopPoll()
	s.tokens.fresh.Store(0)
	s.must(200, "GET", records(collections.Users, mei.Id), token, nil)
	insertRow(t, second(t, s), "019a0000-0000-7000-8000-000000000001", claimsOf(t, token)["jti"].(string), mei.Id, time.Now().Add(time.Hour))
	s.must(401, "GET", records(collections.Users, mei.Id), token, nil)

	kim := s.user("kim", collections.RoleManager)
	token = s.login(collections.Users, "kim", rightPassword)
	s.exec("ALTER TABLE token_revocation_list RENAME TO hidden", nil)
	s.must(503, "GET", records(collections.Users, kim.Id), token, nil)
	if err := s.tokens.step(s.app); err == nil {
		t.Error("the poll reported no error")
	}
	s.exec("ALTER TABLE hidden RENAME TO token_revocation_list", nil)
	s.must(200, "GET", records(collections.Users, kim.Id), token, nil)
}

func TestSweepKeepsTheNumberingAndEveryLiveRow(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.tokens.stopPoll()
	mei := s.user("mei", collections.RoleManager)
	db := second(t, s)
	past, future := time.Now().Add(-time.Minute), time.Now().Add(time.Hour)
	id := func(n int) string { return fmt.Sprintf("019a0000-0000-7000-8000-%012d", n) }
	for n, expires := range []time.Time{past, future, past, past} {
		insertRow(t, db, id(n), id(n), mei.Id, expires)
	}
	if err := s.tokens.readNew(s.app); err != nil {
		t.Fatal(err)
	}
	if err := s.tokens.sweep(s.app); err != nil {
		t.Fatal(err)
	}
	left := map[string]bool{}
	rows, err := s.app.FindAllRecords(collections.RevokedTokens)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		left[r.Id] = true
	}
	if len(left) != 2 || !left[id(1)] || !left[id(3)] {
		t.Errorf("rows: got %v, want the live one and the newest", left)
	}
	insertRow(t, db, id(9), id(9), mei.Id, future)
	if err := s.tokens.readNew(s.app); err != nil {
		t.Fatal(err)
	}
	s.tokens.mu.RLock()
	defer s.tokens.mu.RUnlock()
	if _, ok := s.tokens.revoked[id(9)]; !ok || len(s.tokens.revoked) != 2 {
		t.Errorf("memory: got %v, want the two live tokens", s.tokens.revoked)
	}
}

func TestAnEmptiedListIsReadAgain(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.tokens.stopPoll()
	mei := s.user("mei", collections.RoleManager)
	id := func(n int) string { return fmt.Sprintf("019a0000-0000-7000-8000-%012d", n) }
	for n := range 3 {
		insertRow(t, s.app.NonconcurrentDB(), id(n), id(n), mei.Id, time.Now().Add(time.Hour))
	}
	read := func() {
		t.Helper()
		if err := s.tokens.readNew(s.app); err != nil {
			t.Fatal(err)
		}
	}
	read()
	s.exec("DELETE FROM token_revocation_list", nil)
	read()
	insertRow(t, s.app.NonconcurrentDB(), id(9), id(9), mei.Id, time.Now().Add(time.Hour))
	read()
	s.tokens.mu.RLock()
	defer s.tokens.mu.RUnlock()
	if len(s.tokens.revoked) != 4 {
		t.Errorf("memory: got %d tokens, want all 4 that were ever revoked", len(s.tokens.revoked))
	}
}

func TestPollStartsAndStopsInAnyOrder(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for range 20 {
		s.tokens.stopPoll()
		s.tokens.stopPoll()
		s.tokens.startPoll(s.app)
		s.tokens.startPoll(s.app)
	}
}

func BenchmarkCheckRevoked(b *testing.B) {
	tokens := NewTokens(TokensConfig{})
	for n := range 10000 {
		tokens.add(fmt.Sprint(n), time.Now().Add(time.Hour))
	}
	tokens.fresh.Store(time.Now().Add(time.Hour).UnixNano())
	info := TokenInfo{JTI: "019a0000-0000-7000-8000-000000000001"}
	b.ReportAllocs()
	for b.Loop() {
		if err := tokens.checkRevoked(nil, info); err != nil {
			b.Fatal(err)
		}
	}
}
