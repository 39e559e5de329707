package crdt

import (
	"errors"
	"fmt"
	"testing"
)

// findDifference runs the checker over seeded histories until it objects.
func findDifference(fault func(*spec), fresh func() replica) error {
	for seed := range uint64(300) {
		h := play(seeded(seed), 30)
		s := h.spec()
		if fault != nil {
			fault(s)
		}
		if err := checkHistory(h, s.text(), 2, seeded(seed+1e6), fresh); err != nil {
			return err
		}
	}
	return nil
}

// TestCheckerCatchesFaultySpec is the negative control of the property tests: for every rule
// a spec with that rule broken, which the checker has to tell from the document.
func TestCheckerCatchesFaultySpec(t *testing.T) {
	t.Parallel()
	if err := findDifference(nil, newDoc); err != nil {
		t.Fatalf("without a fault: %v", err)
	}
	for name, fault := range map[string]func(*spec){
		"last writer wins":       func(s *spec) { s.lastWriterWins = true },
		"seen ignored":           func(s *spec) { s.seenIgnored = true },
		"seen across paths":      func(s *spec) { s.seenAcrossPaths = true },
		"rem leaves list":        func(s *spec) { s.remLeavesList = true },
		"put hides element":      func(s *spec) { s.putHidesElement = true },
		"children hide":          func(s *spec) { s.childrenHide = true },
		"list flat":              func(s *spec) { s.listFlat = true },
		"earlier first":          func(s *spec) { s.earlierFirst = true },
		"smaller actor first":    func(s *spec) { s.smallerActorFirst = true },
		"kinds share cells":      func(s *spec) { s.kindsShareCells = true },
		"quarantine ignored":     func(s *spec) { s.quarantineIgnored = true },
		"quarantined replace":    func(s *spec) { s.quarantinedReplace = true },
		"claims all count":       func(s *spec) { s.claimsAllCount = true },
		"claims beside original": func(s *spec) { s.claimOverOriginal = true },
		"greatest claim":         func(s *spec) { s.greatestClaim = true },
		"acts ignored":           func(s *spec) { s.actsIgnored = true },
		"redacted values stay":   func(s *spec) { s.valuesStay = true },
		"redacted ops vanish":    func(s *spec) { s.redactedVanish = true },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := findDifference(fault, newDoc); err == nil {
				t.Error("the checker did not notice")
			}
		})
	}
}

// The replicas below are wrong merges that systems in the field do use.

// lastArrival keeps the value that arrived last, as SELECT, change and UPDATE does.
type lastArrival struct{ *Doc }

func (r lastArrival) Apply(o *Op) (bool, error) {
	applied, err := r.Doc.Apply(o)
	if c := r.cells[o.Path]; applied && o.Kind == Put && c != nil {
		c.live = append(c.live[:0], c.live[len(c.live)-1])
	}
	return applied, err
}

// hoarding keeps what it was told to erase.
type hoarding struct{ *Doc }

func (r hoarding) Redact(dots ...Dot) error {
	for _, dot := range dots {
		if !r.Has(dot) {
			return &MissingError{Dots: []Dot{dot}}
		}
	}
	return nil
}

// doubling counts a repeated increment again.
type doubling struct{ *Doc }

func (r doubling) Apply(o *Op) (bool, error) {
	applied, err := r.Doc.Apply(o)
	if !applied && err == nil && o.Kind == Inc && r.counters[o.Path] != nil {
		r.counters[o.Path].sum += o.N
	}
	return applied, err
}

// dropping takes an operation ahead of its turn for one it can forget.
type dropping struct{ *Doc }

func (r dropping) Apply(o *Op) (bool, error) {
	applied, err := r.Doc.Apply(o)
	var missing *MissingError
	if errors.As(err, &missing) {
		return false, nil
	}
	return applied, err
}

func TestCheckerCatchesWrongMerge(t *testing.T) {
	t.Parallel()
	for name, fresh := range map[string]func() replica{
		"keeps the last arrival":  func() replica { return lastArrival{New()} },
		"counts repeats":          func() replica { return doubling{New()} },
		"keeps redacted values":   func() replica { return hoarding{New()} },
		"forgets what came early": func() replica { return dropping{New()} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := findDifference(nil, fresh); err == nil {
				t.Error("the checker did not notice")
			}
		})
	}
}

// TestThousandWriters is the load the original merge answers 1000 times with "processed" and
// keeps 84 of. Ours keeps all; the merge that keeps the last writer is caught losing.
func TestThousandWriters(t *testing.T) {
	t.Parallel()
	const writers = 1000
	kept := func(r replica, d *Doc) int {
		for i := range writers {
			o := &Op{Dot: Dot{fmt.Sprintf("w%04d", i), 1}, Time: NewTime(uint64(i%7), 0), Kind: Put,
				Path: []string{"test_result", "inspector_notes", "equipment_status"}[i%3], Val: fmt.Sprint(i)}
			if applied, err := r.Apply(o); !applied || err != nil {
				t.Fatalf("Apply: got %v, %v", applied, err)
			}
		}
		n := 0
		for path := range d.Paths("") {
			n += len(d.Values(path))
		}
		return n
	}
	d := New()
	if got := kept(d, d); got != writers {
		t.Errorf("kept %d values of %d", got, writers)
	}
	if bad := (lastArrival{New()}); kept(bad, bad.Doc) == writers {
		t.Error("the control lost nothing")
	}
}

// TestHistoriesReachEverything fails when made-up histories stop containing what the rules
// are about; the property tests would pass all the same.
func TestHistoriesReachEverything(t *testing.T) {
	t.Parallel()
	reached := map[string]int{}
	note := func(what string, yes bool) {
		if yes {
			reached[what]++
		} else {
			reached[what] += 0
		}
	}
	for seed := range uint64(150) {
		h := play(seeded(seed), 40)
		d := New()
		for _, e := range h.events {
			if err := tell(d, e); err != nil {
				t.Fatal(err)
			}
			if e.op != nil {
				for kind := Put; kind <= Ins; kind++ {
					note(kind.String(), e.op.Kind == kind)
				}
				note("reissued", e.op.Origin != "")
			}
			note("quarantined", e.quarantine)
			note("admitted", e.admit.Seq > 0)
			note("redacted", e.redact.Seq > 0)
			note("in conflict", len(d.Conflicts()) > 0)
			for _, q := range d.quarantined {
				note("replaced in quarantine", q.replaced)
				note("redacted in quarantine", IsRedacted(q.op.Val))
				note("replaced in quarantine by a claim", len(q.replacers) > 0)
			}
			for _, l := range d.lists {
				for el := range l.all() {
					note("hidden", el.hidden)
					note("hidden by a claim", len(el.hiders) > 0)
					note("below a hidden element", el.parent.hidden)
					note("away from its reference", el.ref.Seq != 0 && el.parent == &l.root)
				}
			}
			if d.claims != nil {
				for _, s := range d.claims.shadows {
					note("shadow", true)
					note("redacted shadow", IsRedacted(s.entry.Val))
					note("shadow of two claims", len(s.replacers) > 1 && s.replacers[0] != s.replacers[1])
				}
				for _, counted := range d.claims.counted {
					note("two acts of one origin", len(counted) > 1)
					for _, o := range counted {
						note("redacted claim", IsRedacted(o.Val))
					}
				}
			}
		}
	}
	if len(reached) != 21 {
		t.Errorf("got %d situations, want 21: %v", len(reached), reached)
	}
	for what, n := range reached {
		if n < 5 {
			t.Errorf("%s: reached %d times, want 5 or more", what, n)
		}
	}
	t.Log(reached)
}
