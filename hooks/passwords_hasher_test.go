package hooks

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"firemode/collections"

	"github.com/pocketbase/pocketbase/core"
)

// argon2Vectors were written by the argon2 command of Debian (0~20171227): the
// reference implementation, as "argon2 saltsaltsaltsalt -id -l 32 -e" prints it.
var argon2Vectors = []struct{ password, phc string }{
	{"correct horse battery", "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHRzYWx0c2FsdA$uxWTSOnvlCJwDdrvGjf7x3xvw771mTCJHUN5gdfCrTw"},
	{"correct horse battery", "$argon2id$v=19$m=64,t=2,p=2$c2FsdHNhbHRzYWx0c2FsdA$H0vYMwvXFu8ShtX0dYqD5TyZWyl0mTWzYxZodBSQgAw"},
	{"correct horse battery", "$argon2id$v=19$m=4096,t=3,p=4$c2FsdHNhbHRzYWx0c2FsdA$liIaNPOs5GkUE5iCB5bJh31Uih7ONzxRVWUi6W4OfpQ"},
	{"pässwörd", "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHRzYWx0c2FsdA$0EkU+8WAdY1DOdRlxPbP+CtsDygG8FMCgxNeYn/iCuI"},
	{"pässwörd", "$argon2id$v=19$m=64,t=2,p=2$c2FsdHNhbHRzYWx0c2FsdA$HfGsXfc0GEZVwHLzUvA6JKh0u1sI9hBSC/stwdBznK4"},
	{"pässwörd", "$argon2id$v=19$m=4096,t=3,p=4$c2FsdHNhbHRzYWx0c2FsdA$1bmFcyv61SOQzssz1vL4QrcgmAsO53ZjAXKyBsj8TMw"},
	{"a", "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHRzYWx0c2FsdA$yKSIfcSzSsc9usYx2ON2ZYUQeZq1wh1wJEg3xYyPpfo"},
	{"a", "$argon2id$v=19$m=64,t=2,p=2$c2FsdHNhbHRzYWx0c2FsdA$+nD358p/O1WIHGKOOdr3KE1h70MPtZYOlZEg10VyhGQ"},
	{"a", "$argon2id$v=19$m=4096,t=3,p=4$c2FsdHNhbHRzYWx0c2FsdA$+Cy6QPF7hN0eqxvxfGA0KRdTsnduVJsYJy1yOuIsaQ4"},
}

func withHash(t *testing.T, s *site, phc string) *core.Record {
	t.Helper()
	users, err := s.app.FindCollectionByNameOrId(collections.Users)
	if err != nil {
		t.Fatal(err)
	}
	r := core.NewRecord(users)
	r.SetRaw(core.FieldNamePassword, &core.PasswordFieldValue{Hash: phc})
	return r
}

func TestHashesOfTheReferenceImplementationVerify(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for _, v := range argon2Vectors {
		r := withHash(t, s, v.phc)
		if ok, err := s.hasher.Check(t.Context(), r, v.password); err != nil || !ok {
			t.Errorf("%q against %s: got %v, %v, want it to fit", v.password, v.phc, ok, err)
		}
		if ok, _ := s.hasher.Check(t.Context(), r, v.password+"x"); ok {
			t.Errorf("another password fits %s", v.phc)
		}
	}
}

// Our hashes, recomputed by the argon2 command where the machine has it.
func TestTheReferenceImplementationMakesOurHashes(t *testing.T) {
	t.Parallel()
	command, err := exec.LookPath("argon2")
	if err != nil {
		t.Log("the argon2 command is not installed; the pinned vectors stand in for it")
		return
	}
	for _, c := range []HasherConfig{{Time: 1, MemoryKiB: 8, Parallelism: 1}, {Time: 3, MemoryKiB: 256, Parallelism: 4}} {
		phc, err := NewHasher(c).hash(t.Context(), rightPassword)
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := parsePHC(phc)
		if err != nil {
			t.Fatal(err)
		}
		// The command takes its salt as an argument, which holds no zero byte.
		if strings.ContainsRune(string(parsed.salt), 0) {
			parsed.salt = []byte("saltsaltsaltsalt")
			if parsed.key, err = NewHasher(c).run(t.Context(), rightPassword, parsed); err != nil {
				t.Fatal(err)
			}
		}
		run := exec.Command(command, string(parsed.salt), "-id", "-t", fmt.Sprint(c.Time), "-k", fmt.Sprint(c.MemoryKiB), "-p", fmt.Sprint(c.Parallelism), "-l", "32", "-e")
		run.Stdin = strings.NewReader(rightPassword)
		out, err := run.Output()
		if got := strings.TrimSpace(string(out)); err != nil || got != parsed.String() {
			t.Errorf("argon2 command: got %s (%v), want %s", got, err, parsed)
		}
	}
}

// meter counts the memory of the derivations at work.
type meter struct{ now, peak, runs atomic.Int64 }

func (m *meter) watch(h *Hasher) {
	derive := h.derive
	h.derive = func(password, salt []byte, time, memory uint32, threads uint8, keyLen uint32) []byte {
		m.runs.Add(1)
		now := m.now.Add(int64(memory))
		defer m.now.Add(-int64(memory))
		for {
			peak := m.peak.Load()
			if now <= peak || m.peak.CompareAndSwap(peak, now) {
				break
			}
		}
		return derive(password, salt, time, memory, threads, keyLen)
	}
}

func TestManyLoginsStayWithinTheMemoryBound(t *testing.T) {
	t.Parallel()
	m := &meter{}
	s := newSite(t, func(s *site) {
		s.hasher = NewHasher(HasherConfig{Time: 1, MemoryKiB: 8, Parallelism: 1, MaxMemoryKiB: 3*8 + 7, MaxWait: deadline})
		m.watch(s.hasher)
	})
	s.user("mei", collections.RoleInspector)
	var wg sync.WaitGroup
	for i := range 50 {
		identity := "mei"
		if i%5 == 0 {
			identity = "nobody" // costs the same
		}
		wg.Go(func() {
			s.send("POST", "/api/collections/users/auth-with-password", "", answer{"identity": identity, "password": rightPassword})
		})
	}
	wg.Wait()
	if runs := m.runs.Load(); runs != 51 { // and the one of the new account
		t.Errorf("derivations: got %d, want one per login", runs)
	}
	if peak := m.peak.Load(); peak > 3*8 {
		t.Errorf("memory at work: got %d KiB, want at most %d", peak, 3*8)
	}
}

// What finished hashes leave behind is collected before the next ones add to it.
func TestFinishedHashesAreCollected(t *testing.T) {
	t.Parallel()
	h := NewHasher(HasherConfig{Time: 1, MemoryKiB: 48 << 10, Parallelism: 1, MaxWait: deadline})
	h.derive = func(_, _ []byte, _, _ uint32, _ uint8, n uint32) []byte { return make([]byte, n) }
	collected := 0
	h.collect = func() {
		collected++
		if h.memory.TryAcquire(h.config.MaxMemoryKiB) {
			t.Error("collected after the memory was given back")
		}
	}
	for i, want := range []int{0, 0, 1, 1, 1, 2} { // each third one makes 144 MiB
		if _, err := h.hash(t.Context(), rightPassword); err != nil || collected != want {
			t.Errorf("after %d hashes: collected %d times (%v), want %d", i+1, collected, err, want)
		}
	}
}

func TestNoRoomIsAnswered503(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	mei := s.user("mei", collections.RoleInspector)
	token := s.login(collections.Users, "mei", rightPassword)
	s.superuser("root", collections.RoleAdmin)
	root := s.login(collections.Superusers, "root@example.com", rightPassword)
	reset, err := mei.NewPasswordResetToken()
	if err != nil {
		t.Fatal(err)
	}
	change, err := mei.NewEmailChangeToken("new@example.com")
	if err != nil {
		t.Fatal(err)
	}
	s.hasher.config.MaxWait = time.Millisecond
	if !s.hasher.memory.TryAcquire(s.hasher.config.MaxMemoryKiB) {
		t.Fatal("the memory is not free")
	}
	changed := answer{"oldPassword": rightPassword, "password": otherPassword, "passwordConfirm": otherPassword}
	for name, tt := range map[string]struct {
		method, path, token string
		body                answer
	}{
		"login":          {"POST", "/api/collections/users/auth-with-password", "", answer{"identity": "mei", "password": rightPassword}},
		"unknown login":  {"POST", "/api/collections/users/auth-with-password", "", answer{"identity": "nobody", "password": rightPassword}},
		"own change":     {"PATCH", records(collections.Users, mei.Id), token, changed},
		"by an admin":    {"PATCH", records(collections.Users, mei.Id), root, changed},
		"reset":          {"POST", "/api/collections/users/confirm-password-reset", "", answer{"token": reset, "password": otherPassword, "passwordConfirm": otherPassword}},
		"address change": {"POST", "/api/collections/users/confirm-email-change", "", answer{"token": change, "password": rightPassword}},
	} {
		res, out := s.send(tt.method, tt.path, tt.token, tt.body)
		if res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Retry-After") != busyRetryAfter {
			t.Errorf("%s: got %d, Retry-After %q, %v, want 503 and %s", name, res.StatusCode, res.Header.Get("Retry-After"), out, busyRetryAfter)
		}
	}
	if _, err := s.hasher.Login(t.Context(), s.app, Attempt{Identity: "mei", Password: rightPassword}); !errors.Is(err, ErrBusy) {
		t.Errorf("Login: got %v, want ErrBusy", err)
	}
	s.hasher.memory.Release(s.hasher.config.MaxMemoryKiB)
	s.hasher.config.MaxWait = deadline
	s.login(collections.Users, "mei", rightPassword)
}

func TestCancelledCallersLeaveTheQueue(t *testing.T) {
	t.Parallel()
	h := NewHasher(cheap)
	if !h.memory.TryAcquire(h.config.MaxMemoryKiB) {
		t.Fatal("the memory is not free")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := h.hash(ctx, rightPassword); !errors.Is(err, ErrBusy) {
		t.Errorf("hash: got %v, want ErrBusy", err)
	}
}

// Unknown accounts, locked ones and wrong passwords cost one derivation of the
// configured size each.
func TestEveryFailedLoginCostsTheSame(t *testing.T) {
	t.Parallel()
	m := &meter{}
	s := newSite(t, func(s *site) { m.watch(s.hasher) })
	s.user("mei", collections.RoleInspector)
	locked := s.user("locked", collections.RoleInspector)
	locked.SetRandomPassword()
	if err := s.app.Save(locked); err != nil {
		t.Fatal(err)
	}
	for _, identity := range []string{"mei", "locked", "nobody", "nobody@example.com"} {
		before := m.runs.Load()
		s.cannotLogin(collections.Users, identity, "wrong password")
		if got := m.runs.Load() - before; got != 1 {
			t.Errorf("login as %s: got %d derivations, want 1", identity, got)
		}
	}
}

func TestHasherDefaults(t *testing.T) {
	t.Parallel()
	c := NewHasher(HasherConfig{}).config
	want := HasherConfig{Time: 3, MemoryKiB: 65536, Parallelism: 2, MaxMemoryKiB: 262144, MaxWait: time.Second}
	if c != want {
		t.Errorf("defaults: got %+v, want %+v", c, want)
	}
	if c := NewHasher(HasherConfig{MemoryKiB: 4096, MaxMemoryKiB: 8}).config; c.MaxMemoryKiB != 4096 {
		t.Errorf("bound below one hash: got %d KiB, want it raised to 4096", c.MaxMemoryKiB)
	}
}

func TestPHCHasOneSpelling(t *testing.T) {
	t.Parallel()
	h := NewHasher(cheap)
	good, err := h.hash(t.Context(), rightPassword)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parsePHC(good); err != nil {
		t.Fatalf("our own hash: %v", err)
	}
	b64 := base64.RawStdEncoding.EncodeToString
	salt, key := b64(make([]byte, 16)), b64(make([]byte, 32))
	for name, bad := range map[string]string{
		"empty":           "",
		"locked":          lockedHash,
		"bcrypt":          "$2a$04$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy",
		"argon2i":         strings.Replace(good, "argon2id", "argon2i", 1),
		"other version":   strings.Replace(good, "v=19", "v=16", 1),
		"no time":         strings.Replace(good, "t=1", "t=0", 1),
		"no lanes":        strings.Replace(good, "p=1", "p=0", 1),
		"lanes overflow":  strings.Replace(good, "p=1", "p=256", 1),
		"too much memory": strings.Replace(good, "m=8,", "m=4194305,", 1),
		"too little":      strings.Replace(good, "m=8,", "m=7,", 1),
		"leading zero":    strings.Replace(good, "m=8,", "m=08,", 1),
		"negative":        strings.Replace(good, "t=1", "t=-1", 1),
		"trailing":        good + "$",
		"space":           good + " ",
		"padding":         good + "=",
		"keyid":           strings.Replace(good, "p=1", "p=1,keyid=a", 1),
		"short key":       "$argon2id$v=19$m=8,t=1,p=1$" + salt + "$" + b64(make([]byte, 8)),
		"short salt":      "$argon2id$v=19$m=8,t=1,p=1$" + b64(make([]byte, 4)) + "$" + key,
		"long key":        "$argon2id$v=19$m=8,t=1,p=1$" + salt + "$" + b64(make([]byte, 65)),
	} {
		if got, err := parsePHC(bad); err == nil {
			t.Errorf("%s: parsed %q as %+v, want it refused", name, bad, got)
		}
	}
}
