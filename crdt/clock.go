package crdt

import (
	"cmp"
	"sync"
	"time"
)

// A Time is a hybrid logical clock reading: 48 bits of Unix milliseconds above a 16-bit
// counter. Its text is "mmmmmmmmmmmm-cccc" in lower-case hexadecimal, so text order is time
// order. Times order concurrent values for the reader and decide nothing else.
type Time uint64

const timeTextLen = 17

// NewTime builds a Time. Bits of unixMilli above the 48th are dropped.
func NewTime(unixMilli uint64, counter uint16) Time { return Time(unixMilli<<16 | uint64(counter)) }

// UnixMilli returns the wall-clock part in milliseconds since 1970.
func (t Time) UnixMilli() uint64 { return uint64(t) >> 16 }

// Counter returns the logical part.
func (t Time) Counter() uint16 { return uint16(t) }

// Wall returns the wall-clock part in UTC.
func (t Time) Wall() time.Time { return time.UnixMilli(int64(t.UnixMilli())).UTC() }

// Compare orders by wall-clock part, then by counter.
func (t Time) Compare(u Time) int { return cmp.Compare(t, u) }

// String returns the text form.
func (t Time) String() string { return string(t.appendTo(make([]byte, 0, timeTextLen))) }

const lowerHex = "0123456789abcdef"

func (t Time) appendTo(b []byte) []byte {
	for shift := 60; shift >= 0; shift -= 4 {
		if shift == 12 {
			b = append(b, '-')
		}
		b = append(b, lowerHex[t>>shift&15])
	}
	return b
}

// ParseTime reads the form String writes and nothing else.
func ParseTime(s string) (Time, bool) {
	if len(s) != timeTextLen || s[12] != '-' {
		return 0, false
	}
	var t Time
	for i := range timeTextLen {
		if i == 12 {
			continue
		}
		h, ok := hexDigit(s[i])
		if !ok {
			return 0, false
		}
		t = t<<4 | Time(h)
	}
	return t, true
}

// hexDigit reads one lower-case hexadecimal digit.
func hexDigit(c byte) (byte, bool) {
	switch {
	case c >= '0' && c <= '9':
		return c - '0', true
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10, true
	}
	return 0, false
}

// MarshalText writes the text form.
func (t Time) MarshalText() ([]byte, error) { return t.appendTo(nil), nil }

// UnmarshalText reads the text form; other text is refused with ErrFormat.
func (t *Time) UnmarshalText(text []byte) error {
	u, ok := ParseTime(string(text))
	if !ok {
		return refuse("bad time")
	}
	*t = u
	return nil
}

// MaxSkewDefault is how far ahead of the own clock a remote reading may lie and still be
// adopted: drifting tablets stay below it, a clock set to another year does not.
const MaxSkewDefault = 5 * time.Minute

// A Clock issues readings that never repeat and never go back, whatever the wall clock
// does. Now MUST be set before the first call; with a nil Now the wall clock counts as
// 1970 and the Clock is a plain logical clock. MaxSkew zero means MaxSkewDefault. Safe for
// many goroutines.
type Clock struct {
	Now     func() time.Time
	MaxSkew time.Duration

	mu   sync.Mutex // guards last
	last Time
}

// Next returns a reading later than every one issued or adopted before.
func (c *Clock) Next() Time {
	now := c.wall()
	c.mu.Lock()
	defer c.mu.Unlock()
	// An overflowing counter carries into the milliseconds, which keeps the order.
	c.last = max(c.last+1, NewTime(now, 0))
	return c.last
}

// Observe adopts a remote reading, so that what is written next sorts after it, and reports
// true. A reading more than MaxSkew ahead of Now is not adopted and reports false: one
// tablet living in 2099 must not drag everyone there.
func (c *Clock) Observe(remote Time) bool {
	skew := c.MaxSkew
	if skew == 0 {
		skew = MaxSkewDefault
	}
	limit := c.wall() + uint64(max(0, skew.Milliseconds()))
	if remote.UnixMilli() > limit {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last = max(c.last, remote)
	return true
}

// wall returns Now in Unix milliseconds, clamped to what a Time can hold.
func (c *Clock) wall() uint64 {
	if c.Now == nil {
		return 0
	}
	return uint64(min(max(0, c.Now().UnixMilli()), 1<<48-1))
}
