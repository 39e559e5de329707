package api

import (
	"fmt"
	"testing"
	"time"
)

// What one account and one address may write, at once and for long.
func TestWriteRate(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 27, 9, 0, 0, 0, time.UTC)
	w := newWriteRate(2)
	burst := func(account, address string) (n int, wait time.Duration) {
		for n = 0; n < 10_000; n++ {
			if wait = w.take(account, address, now); wait > 0 {
				return n, wait
			}
		}
		return n, 0
	}
	if n, wait := burst("anna", "192.0.2.1"); n != 2*writeBurst || wait != time.Second/2 {
		t.Errorf("one account: got %d and then to wait %s, want 20 and 500ms", n, wait)
	}
	now = now.Add(time.Second / 2)
	if n, _ := burst("anna", "192.0.2.1"); n != 1 {
		t.Errorf("half a second later: got %d, want 1", n)
	}
	if n, _ := burst("ben", "127.0.0.1"); n != 2*writeBurst {
		t.Errorf("another account: got %d, want 20", n)
	}
	// Of an address ten times as many, whoever it is; the network of one IPv6 customer is one.
	total := 0
	for i := range 100 {
		n, _ := burst(fmt.Sprint("user", i), fmt.Sprintf("2001:db8::%x", i))
		total += n
	}
	if want := 2 * writeBurst * addressShare; total != want {
		t.Errorf("100 accounts of one address: got %d, want %d", total, want)
	}
	if n, _ := burst("user100", "2001:db8:0:1::1"); n != 2*writeBurst {
		t.Errorf("the next customer: got %d, want 20", n)
	}
	// Guests take nothing from those who signed in, nor the other way round.
	if n, _ := burst("", "2001:db8::1"); n != 2*writeBurst*addressShare {
		t.Errorf("guests of that address: got %d, want their own share", n)
	}
	if n, _ := burst("", "192.0.2.9"); n != 2*writeBurst*addressShare {
		t.Errorf("guests: got %d", n)
	}
	if n, _ := burst("cleo", "192.0.2.9"); n != 2*writeBurst {
		t.Errorf("a user behind the guests' address: got %d, want 20", n)
	}
	// What is refused is not counted anywhere: no queue builds up that nobody waits in.
	now = now.Add(time.Second / 2)
	if n, _ := burst("anna", "192.0.2.1"); n != 1 {
		t.Errorf("after refusals: got %d, want 1", n)
	}
}

func TestWriteRateTakesBoundedMemory(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 27, 9, 0, 0, 0, time.UTC)
	w := newWriteRate(2)
	for i := range 3 * writersMax {
		w.take(fmt.Sprint("user", i), "127.0.0.1", now)
		now = now.Add(time.Millisecond)
		if len(w.writers) > writersMax {
			t.Fatalf("%d limits are kept, want at most %d", len(w.writers), writersMax)
		}
	}
	// A flood does not lift the limit of somebody who is at it.
	for range 2 * writeBurst {
		w.take("anna", "127.0.0.1", now)
	}
	for i := range writersMax {
		w.take(fmt.Sprint("later", i), "127.0.0.1", now)
	}
	if w.take("anna", "127.0.0.1", now) == 0 {
		t.Error("forgotten while it was used up")
	}
}
