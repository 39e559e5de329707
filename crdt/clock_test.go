package crdt

import (
	"encoding/json"
	"errors"
	"sync"
	"testing"
	"time"
)

func TestTimeText(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		time Time
		text string
	}{
		{0, "000000000000-0000"},
		{NewTime(0x0199a3f2b1c4, 1), "0199a3f2b1c4-0001"},
		{NewTime(1<<48-1, 0xffff), "ffffffffffff-ffff"},
	} {
		if got := tt.time.String(); got != tt.text {
			t.Errorf("String: got %s, want %s", got, tt.text)
		}
		if got, ok := ParseTime(tt.text); !ok || got != tt.time {
			t.Errorf("ParseTime(%s): got %v, %v", tt.text, got, ok)
		}
		raw, err := json.Marshal(tt.time)
		var back Time
		if err != nil || string(raw) != `"`+tt.text+`"` || json.Unmarshal(raw, &back) != nil || back != tt.time {
			t.Errorf("JSON: got %s, %v, back %v", raw, err, back)
		}
	}
	for _, text := range []string{"", "0199a3f2b1c4", "0199a3f2b1c4-000", "0199a3f2b1c4-00000", "0199A3F2B1C4-0001", "0199a3f2b1c4_0001", "0199a3f2b1c4-000g"} {
		if _, ok := ParseTime(text); ok {
			t.Errorf("ParseTime(%q): accepted", text)
		}
		if err := new(Time).UnmarshalText([]byte(text)); !errors.Is(err, ErrFormat) {
			t.Errorf("UnmarshalText(%q): got %v", text, err)
		}
	}
	if a, b := NewTime(1, 0xffff), NewTime(2, 0); a.Compare(b) != -1 || a.String() >= b.String() || a+1 != b {
		t.Error("the counter does not carry into the milliseconds")
	}
	if got, want := NewTime(1764000000123, 9).Wall(), time.UnixMilli(1764000000123).UTC(); !got.Equal(want) {
		t.Errorf("Wall: got %v, want %v", got, want)
	}
}

func TestClock(t *testing.T) {
	t.Parallel()
	now := time.UnixMilli(1_000_000)
	c := Clock{Now: func() time.Time { return now }}
	first := c.Next()
	if first != NewTime(1_000_000, 0) {
		t.Errorf("got %v", first)
	}
	if got := c.Next(); got != NewTime(1_000_000, 1) {
		t.Errorf("same millisecond: got %v", got)
	}
	now = now.Add(-time.Hour)
	if got := c.Next(); got != NewTime(1_000_000, 2) {
		t.Errorf("clock set back: got %v", got)
	}
	now = time.UnixMilli(1_000_001)
	if got := c.Next(); got != NewTime(1_000_001, 0) {
		t.Errorf("clock runs again: got %v", got)
	}

	limit := NewTime(uint64(now.Add(MaxSkewDefault).UnixMilli()), 0xffff)
	if c.Observe(limit + 1) {
		t.Error("a reading beyond the skew was adopted")
	}
	if got := c.Next(); got != NewTime(1_000_001, 1) {
		t.Errorf("after a refused reading: got %v", got)
	}
	if !c.Observe(limit) {
		t.Error("a reading at the skew was not adopted")
	}
	if got := c.Next(); got != limit+1 {
		t.Errorf("after an adopted reading: got %v, want %v", got, limit+1)
	}
	if !c.Observe(5) {
		t.Error("an old reading is no reason to object")
	}
	if got := c.Next(); got != limit+2 {
		t.Errorf("after an old reading: got %v", got)
	}

	strict := Clock{Now: func() time.Time { return now }, MaxSkew: time.Millisecond}
	if strict.Observe(NewTime(1_000_003, 0)) || !strict.Observe(NewTime(1_000_002, 0)) {
		t.Error("MaxSkew is not kept")
	}
	ancient := Clock{Now: func() time.Time { return time.UnixMilli(-5) }}
	var zero Clock
	if a, b := ancient.Next(), zero.Next(); a != 1 || b != 1 {
		t.Errorf("before 1970 and without Now: got %v, %v", a, b)
	}
}

func TestClockFromManyGoroutines(t *testing.T) {
	t.Parallel()
	c := Clock{Now: func() time.Time { return time.UnixMilli(1) }}
	seen := make([]Time, 8*500)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 500 {
				seen[g*500+i] = c.Next()
				c.Observe(NewTime(2, uint16(i)))
			}
		})
	}
	wg.Wait()
	unique := map[Time]bool{}
	for _, s := range seen {
		unique[s] = true
	}
	if len(unique) != len(seen) {
		t.Errorf("got %d different readings of %d", len(unique), len(seen))
	}
}
