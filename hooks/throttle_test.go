package hooks

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"firemode/collections"
)

func TestFailedLoginsAreLimited(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 27, 9, 0, 0, 0, time.UTC)
	var limits throttle
	fail := func(n int, identity, address string) {
		for range n {
			limits.failed(identity, address, now)
		}
	}
	refused := func(identity, address string) time.Duration {
		var e *ThrottledError
		if errors.As(limits.check(identity, address, now), &e) {
			return e.RetryAfter
		}
		return 0
	}
	fail(throttlePairMax-1, "Mei", "192.0.2.1")
	if refused("mei", "192.0.2.1") != 0 {
		t.Error("refused one failure early")
	}
	fail(1, "mei", "192.0.2.1")
	now = now.Add(time.Minute)
	if got := refused("MEI", "192.0.2.1"); got != throttleWindow-time.Minute {
		t.Errorf("after %d failures: wait %s, want the rest of the window", throttlePairMax, got)
	}
	if refused("mei", "192.0.2.2") != 0 || refused("kim", "192.0.2.1") != 0 {
		t.Error("somebody else, or from elsewhere, is kept out")
	}
	now = now.Add(throttleWindow)
	if refused("mei", "192.0.2.1") != 0 {
		t.Error("refused after the window")
	}
	fail(throttlePairMax-1, "mei", "192.0.2.1")
	limits.succeeded("mei", "192.0.2.1")
	fail(1, "mei", "192.0.2.1")
	if refused("mei", "192.0.2.1") != 0 {
		t.Error("a login in between is not counted")
	}
	for i := range throttleAccountMax {
		fail(1, "ines", fmt.Sprintf("198.51.100.%d", i))
	}
	if refused("ines", "203.0.113.9") == 0 {
		t.Errorf("an account takes more than %d guesses from many addresses", throttleAccountMax)
	}
	for i := range throttleAddressMax {
		fail(1, fmt.Sprint("guess", i), fmt.Sprintf("2001:db8:0:7::%x", i+1))
	}
	if refused("anybody", "2001:db8:0:7:ffff::1") == 0 || refused("anybody", "2001:db8:0:8::1") != 0 {
		t.Error("a /64 is not one address, or more than that is")
	}
}

// Memory is bounded, and what is counted now outlives what was counted long ago.
func TestFailedLoginsTakeBoundedMemory(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 27, 9, 0, 0, 0, time.UTC)
	var limits throttle
	for i := range throttleKeysMax {
		limits.failed(fmt.Sprint("guess", i), fmt.Sprint("host", i), now.Add(time.Duration(i)*time.Millisecond))
	}
	if n := len(limits.failures); n > throttleKeysMax {
		t.Errorf("got %d keys, want at most %d", n, throttleKeysMax)
	}
	last := fmt.Sprint("guess", throttleKeysMax-1)
	if limits.failures["account "+last].count != 1 || limits.failures["account guess0"].count != 0 {
		t.Error("the newest failure is forgotten, or the oldest is not")
	}
}

// Guessing ends at both doors, whoever the account belongs to, and the right password is not
// looked at any more from there.
func TestGuessingEnds(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.user("mei", collections.RoleInspector)
	var throttled *ThrottledError
	for i := range throttlePairMax {
		identity := []string{"mei", "mei@example.com"}[i%2] // one account by either name
		_, err := s.hasher.Login(t.Context(), s.app, Attempt{Identity: identity, Password: fmt.Sprint("guess ", i), Address: "192.0.2.1"})
		if !errors.Is(err, ErrCredentials) {
			t.Fatalf("guess %d: got %v, want %v", i, err, ErrCredentials)
		}
	}
	if _, err := s.hasher.Login(t.Context(), s.app, Attempt{Identity: "mei", Password: rightPassword, Address: "192.0.2.1"}); !errors.As(err, &throttled) {
		t.Errorf("after %d guesses: got %v, want it throttled", throttlePairMax, err)
	}
	if _, err := s.hasher.Login(t.Context(), s.app, Attempt{Identity: "mei", Password: rightPassword, Address: "192.0.2.2"}); err != nil {
		t.Errorf("from elsewhere: got %v", err)
	}
}
