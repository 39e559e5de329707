package crdt

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// checkHistory delivers h to fresh replicas in several orders and compares each with the
// spec. It returns the first difference.
func checkHistory(h *history, want string, orders int, choose chooser, fresh func() replica) error {
	for i := range orders {
		r := fresh()
		events := h.events
		if i > 0 {
			events = shuffled(h.events, choose)
		}
		if err := deliver(r, events); err != nil {
			return fmt.Errorf("order %d: %w", i, err)
		}
		if got := string(r.Text()); got != want {
			return fmt.Errorf("order %d\ngot\n%swant\n%s", i, got, want)
		}
		if d, ok := r.(*Doc); ok {
			if err := checkDoc(d); err != nil {
				return fmt.Errorf("order %d: %w", i, err)
			}
		}
	}
	return nil
}

// checkDoc compares what a document keeps ready with what can be counted.
func checkDoc(d *Doc) error {
	live, conflicts := 0, []string{}
	for path := range d.Paths("") {
		values := d.Values(path)
		live += len(values)
		v := MustTestSession().Resolve(d, path)
		if policy, n, conflict := MustTestSession().Contention(d, path); policy != v.Policy || n != len(v.Entries) || conflict != v.Conflict {
			return fmt.Errorf("%s: Contention: got %s, %d, %t, want as in %+v", path, policy, n, conflict, v)
		}
		seen := map[string]bool{}
		for _, e := range values {
			seen[Redacted(e.Val)] = true
		}
		if len(seen) > 1 {
			conflicts = append(conflicts, path)
		}
	}
	for path, c := range d.cells {
		if _, contested := d.contested[path]; contested != (len(c.live) > 1) {
			return fmt.Errorf("%s: contested is %v with %d live values", path, contested, len(c.live))
		}
	}
	if live != d.Live() {
		return fmt.Errorf("Live: got %d, want %d", d.Live(), live)
	}
	if got := d.Conflicts(); !slices.Equal(got, conflicts) {
		return fmt.Errorf("Conflicts: got %v, want %v", got, conflicts)
	}
	ops := 0
	for _, n := range d.Version() {
		ops += int(n)
	}
	if ops != d.Ops() {
		return fmt.Errorf("Ops: got %d, want %d", d.Ops(), ops)
	}
	out := d.Materialise(MustTestSession())
	if !json.Valid(out) {
		return fmt.Errorf("Materialise: invalid JSON %s", out)
	}
	return nil
}

func newDoc() replica { return New() }

func TestAnyOrderGivesTheSpec(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		choose := func(n int) int { return rapid.IntRange(0, n-1).Draw(t, "choice") }
		h := play(choose, rapid.IntRange(0, 40).Draw(t, "steps"))
		shuffle := seeded(rapid.Uint64().Draw(t, "shuffle"))
		if err := checkHistory(h, h.spec().text(), 4, shuffle, newDoc); err != nil {
			t.Fatal(err)
		}
	})
}

// TestSeededHistories reaches longer histories than shrinking allows; a failure prints the
// seed.
func TestSeededHistories(t *testing.T) {
	t.Parallel()
	for seed := range uint64(250) {
		h := play(seeded(seed), 80)
		if err := checkHistory(h, h.spec().text(), 3, seeded(seed+1e6), newDoc); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}

func TestEqualSetsGiveEqualBytes(t *testing.T) {
	t.Parallel()
	schema := MustTestSession()
	for seed := range uint64(100) {
		h := play(seeded(seed), 50)
		a, b := New(), New()
		if err := errors.Join(deliver(a, h.events), deliver(b, shuffled(h.events, seeded(seed+7)))); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if a.Digest() != b.Digest() {
			t.Fatalf("seed %d: digests differ:\n%s\n%s", seed, a.Text(), b.Text())
		}
		if got, want := b.Materialise(schema), a.Materialise(schema); !bytes.Equal(got, want) {
			t.Fatalf("seed %d: documents differ:\n%s\n%s", seed, got, want)
		}
	}
}

// TestErrorsChangeNothing tells a document the same events twice, once with refused ones
// between: early, forked and missing.
func TestErrorsChangeNothing(t *testing.T) {
	t.Parallel()
	for seed := range uint64(100) {
		choose := seeded(seed)
		h := play(choose, 40)
		d := New()
		for _, e := range h.events {
			if e.op != nil {
				before := d.Digest()
				far := *e.op
				far.Seq += 1000
				var gap *GapError
				if applied, err := d.Apply(&far); applied || !errors.As(err, &gap) || gap.Want != d.Held(far.Actor)+1 {
					t.Fatalf("seed %d: gap: got %v, %v", seed, applied, err)
				}
				lacking := Op{Dot: Dot{e.op.Actor, d.Held(e.op.Actor) + 1}, Kind: Rem, Path: "a", Seen: []Dot{{"nobody", 1}}}
				var missing *MissingError
				if applied, err := d.Apply(&lacking); applied || !errors.As(err, &missing) || missing.Dots[0] != lacking.Seen[0] {
					t.Fatalf("seed %d: missing: got %v, %v", seed, applied, err)
				}
				if d.Digest() != before {
					t.Fatalf("seed %d: a refused operation changed the document", seed)
				}
			}
			if err := tell(d, e); err != nil && !early(err) {
				t.Fatalf("seed %d: %v", seed, err)
			}
			if e.op != nil && d.Has(e.op.Dot) {
				before := d.Digest()
				other := *e.op
				other.Time++
				var fork *ForkError
				if applied, err := d.Apply(&other); applied || !errors.As(err, &fork) || fork.Dot != other.Dot {
					t.Fatalf("seed %d: fork: got %v, %v", seed, applied, err)
				}
				if applied, err := d.Apply(e.op); applied || err != nil {
					t.Fatalf("seed %d: duplicate: got %v, %v", seed, applied, err)
				}
				if d.Digest() != before {
					t.Fatalf("seed %d: a duplicate or fork changed the document", seed)
				}
			}
		}
	}
}

// TestLargeResolve reaches the way without that is taken for many dots, twice with dots that
// live elsewhere: a seen list has effect on its own path only, and only once.
func TestLargeResolve(t *testing.T) {
	t.Parallel()
	d := New()
	seen := map[string][]Dot{}
	for i := range 200 {
		path := []string{"p", "q"}[i%2]
		o := &Op{Dot: Dot{fmt.Sprintf("a%d", i), 1}, Kind: Put, Path: path, Val: fmt.Sprint(i)}
		if _, err := d.Apply(o); err != nil {
			t.Fatal(err)
		}
		seen[path] = append(seen[path], o.Dot)
	}
	for i, step := range []struct {
		path   string
		seen   []Dot
		pq, qq int
	}{
		{"p", seen["q"], 101, 100},
		{"q", seen["q"][:50], 101, 51},
		{"p", seen["p"][50:], 52, 51},
		{"q", slices.Concat(seen["q"], seen["p"]), 52, 2},
	} {
		o := &Op{Dot: Dot{"z", uint64(i + 1)}, Kind: Put, Path: step.path, Val: "1", Seen: step.seen}
		if _, err := d.Apply(o); err != nil {
			t.Fatal(err)
		}
		if p, q := len(d.Values("p")), len(d.Values("q")); p != step.pq || q != step.qq {
			t.Errorf("step %d: got %d and %d values, want %d and %d", i, p, q, step.pq, step.qq)
		}
	}
	if err := checkDoc(d); err != nil {
		t.Error(err)
	}
}
