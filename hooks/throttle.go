package hooks

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
)

// Limits of failed logins within throttleWindow: of one account from one address, of one
// account from anywhere, and from one address. A person mistypes a few times; whoever is behind
// an office's one address shares it with others; and nobody can keep somebody else out from
// elsewhere by failing ten times.
const (
	throttleWindow     = 10 * time.Minute
	throttlePairMax    = 10
	throttleAccountMax = 100
	throttleAddressMax = 100
	// throttleKeysMax bounds the memory: some 100 bytes each.
	throttleKeysMax = 20_000
)

// ThrottledError reports a login that was not tried: too many failed before.
type ThrottledError struct {
	RetryAfter time.Duration // until the next attempt may succeed
}

func (e *ThrottledError) Error() string {
	return fmt.Sprintf("too many failed logins, try again in %s", e.RetryAfter.Round(time.Second))
}

// throttle counts failed logins. The zero value is ready; it is safe for many goroutines.
// Attempts that run at the same time are not counted before they have failed: memory bounds
// how many those are.
type throttle struct {
	mu       sync.Mutex // guards failures
	failures map[string]failures
}

// failures are those of one key since the first one of its window.
type failures struct {
	count int
	since time.Time
}

// throttled are the keys of an attempt and how many failures each may have. Names are
// compared as the database does, without regard to case.
func throttled(account, address string) map[string]int {
	account = strings.ToLower(account)
	return map[string]int{
		"pair " + Network(address) + " " + account: throttlePairMax,
		"account " + account:                       throttleAccountMax,
		"address " + Network(address):              throttleAddressMax,
	}
}

// Network is what limits take for one address: for IPv6 the /64 that one customer has.
func Network(address string) string {
	ip, err := netip.ParseAddr(address)
	if err != nil {
		return address
	}
	if ip = ip.Unmap(); ip.Is4() {
		return ip.String()
	}
	prefix, err := ip.WithZone("").Prefix(64)
	if err != nil {
		return ip.String()
	}
	return prefix.String()
}

// check returns a *ThrottledError when any of the attempt's keys has failed too often.
func (t *throttle) check(account, address string, now time.Time) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	var wait time.Duration
	for key, most := range throttled(account, address) {
		if f := t.failures[key]; f.count >= most {
			wait = max(wait, f.since.Add(throttleWindow).Sub(now))
		}
	}
	if wait > 0 {
		return &ThrottledError{RetryAfter: wait}
	}
	return nil
}

// failed counts a failed attempt.
func (t *throttle) failed(account, address string, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for key := range throttled(account, address) {
		f := t.failures[key]
		if f.count == 0 || now.Sub(f.since) >= throttleWindow {
			f = failures{since: now}
			t.makeRoom(now)
		}
		f.count++
		t.failures[key] = f
	}
}

// succeeded forgets the failures of this account from this address.
func (t *throttle) succeeded(account, address string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.failures, "pair "+Network(address)+" "+strings.ToLower(account))
}

// makeRoom forgets what is over when there are too many keys, and the older half of the rest
// when that is not enough: a scan for each failure of a great many would cost more than they.
func (t *throttle) makeRoom(now time.Time) {
	if t.failures == nil {
		t.failures = map[string]failures{}
	}
	if len(t.failures) < throttleKeysMax {
		return
	}
	maps.DeleteFunc(t.failures, func(_ string, f failures) bool { return now.Sub(f.since) >= throttleWindow })
	if len(t.failures) < throttleKeysMax/2 {
		return
	}
	begins := make([]time.Time, 0, len(t.failures))
	for _, f := range t.failures {
		begins = append(begins, f.since)
	}
	slices.SortFunc(begins, time.Time.Compare)
	middle := begins[len(begins)/2]
	maps.DeleteFunc(t.failures, func(_ string, f failures) bool { return !f.since.After(middle) })
}
