package crdt

import (
	"errors"
	"fmt"
	"testing"
)

// TestRestoredTablet tells the story R12 is for. A tablet counts heads and records results,
// loses its memory, is restored from an old backup and works on under the same actor: the
// server answers with a fork, the tablet takes a new actor and issues again what was not
// acknowledged, some of which had arrived after all.
func TestRestoredTablet(t *testing.T) {
	t.Parallel()
	server := New()
	apply := func(o Op) *Op {
		t.Helper()
		_, parsed, err := o.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if applied, err := server.Apply(&parsed); !applied || err != nil {
			t.Fatalf("%s: got %v, %v", o.Dot, applied, err)
		}
		return &parsed
	}
	arrived := apply(Op{Dot: Dot{"t1", 1}, Time: 1, Kind: Inc, Path: "heads", N: 12})
	lost := Op{Dot: Dot{"t1", 2}, Time: 2, Kind: Inc, Path: "heads", N: 5}
	afterRestore := apply(Op{Dot: Dot{"t1", 2}, Time: 3, Kind: Put, Path: "items/a/result", Val: `"fail"`})

	var fork *ForkError
	if applied, err := server.Apply(&lost); applied || !errors.As(err, &fork) || fork.Dot != lost.Dot {
		t.Fatalf("second use of a dot: got %v, %v; want a fork", applied, err)
	}
	var seq uint64
	reissue := func(o *Op) Op {
		t.Helper()
		seq++
		again, ok := o.Reissue(Dot{"t2", seq}, Time(10+seq), same(server.Has))
		if !ok {
			t.Fatalf("%s: nothing to issue again", o.Dot)
		}
		apply(again)
		return again
	}
	reissue(arrived)
	again := reissue(&lost)
	reissue(&again) // a second restore: the root is kept, so it is still one act
	if n, _ := server.Counter("heads"); n != 17 {
		t.Errorf("heads: got %d, want 17", n)
	}
	reissue(afterRestore)
	if got := server.Values("items/a/result"); len(got) != 1 || got[0].Dot != afterRestore.Dot {
		t.Errorf("result: got %v, want the original alone", got)
	}

	// The lost tablet turns up: its own operation, under a dot of its own, takes its place.
	found := Op{Dot: Dot{"t3", 1}, Time: 4, Kind: Inc, Path: "heads", N: 7}
	claim := Op{Dot: Dot{"t4", 1}, Time: 5, Kind: Inc, Path: "heads", N: 7, Origin: found.OriginHash()}
	apply(claim)
	if n, _ := server.Counter("heads"); n != 24 {
		t.Errorf("with the claim: got %d, want 24", n)
	}
	apply(found)
	if n, _ := server.Counter("heads"); n != 24 {
		t.Errorf("with claim and original: got %d, want 24", n)
	}
}

// TestClaimCannotSilence is the reason acts have to say the same: a stranger who has read the
// origin of another's operation claims it under a lesser dot.
func TestClaimCannotSilence(t *testing.T) {
	t.Parallel()
	lost := Op{Dot: Dot{"old", 1}, Kind: Put, Path: "items/a/result", Val: `"fail"`}
	honest, _ := lost.Reissue(Dot{"m", 1}, 1, same(func(Dot) bool { return true }))
	stranger := Op{Dot: Dot{"a", 1}, Kind: Put, Path: "items/a/result", Val: `"pass"`, Origin: honest.Origin}
	for _, order := range [][]*Op{{&honest, &stranger}, {&stranger, &honest}} {
		d := New()
		for _, o := range order {
			if _, err := d.Apply(o); err != nil {
				t.Fatal(err)
			}
		}
		v := MustTestSession().Resolve(d, "items/a/result")
		if v.Value != `"fail"` || !v.Conflict || len(v.Entries) != 2 {
			t.Errorf("got %+v, want the fail shown and both kept", v)
		}
	}
}

// TestWithdrawnClaimRestores checks that what a claim replaced comes back when the original,
// which had replaced something else, turns up.
func TestWithdrawnClaimRestores(t *testing.T) {
	t.Parallel()
	a := Op{Dot: Dot{"a", 1}, Kind: Put, Path: "p", Val: "1"}
	b := Op{Dot: Dot{"b", 1}, Kind: Put, Path: "p", Val: "2"}
	original := Op{Dot: Dot{"c", 1}, Kind: Put, Path: "p", Val: "3", Seen: []Dot{a.Dot}}
	claim := Op{Dot: Dot{"d", 1}, Kind: Put, Path: "p", Val: "3", Seen: []Dot{b.Dot}, Origin: original.OriginHash()}
	d := New()
	for i, step := range []struct {
		op   Op
		want string
	}{
		{a, "[1]"}, {b, "[2 1]"}, {claim, "[3 1]"}, {original, "[3 2]"},
	} {
		if _, err := d.Apply(&step.op); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, e := range d.Values("p") {
			got = append(got, e.Val)
		}
		if fmt.Sprint(got) != step.want {
			t.Errorf("step %d: got %v, want %s", i, got, step.want)
		}
	}
}

// An element admitted late takes its place above what was inserted after it meanwhile.
func TestAdmittedElementAdopts(t *testing.T) {
	t.Parallel()
	first := Op{Dot: Dot{"a", 1}, Time: 1, Kind: Ins, Path: "steps", Val: "1"}
	second := Op{Dot: Dot{"a", 2}, Time: 2, Kind: Ins, Path: "steps", Val: "2", Ref: first.Dot}
	other := Op{Dot: Dot{"b", 1}, Time: 3, Kind: Ins, Path: "steps", Val: "3"}
	d := New()
	if _, err := d.ApplyQuarantined(&first); err != nil {
		t.Fatal(err)
	}
	for _, o := range []*Op{&second, &other} {
		if _, err := d.Apply(o); err != nil {
			t.Fatal(err)
		}
	}
	order := func() (vals string) {
		for _, e := range d.List("steps") {
			vals += e.Val
		}
		return vals
	}
	if got := order(); got != "32" {
		t.Errorf("in quarantine: got %s, want 32", got)
	}
	if _, err := d.Admit(first.Dot); err != nil || order() != "312" {
		t.Errorf("admitted: got %s (%v), want 312", order(), err)
	}
}

func TestQuarantine(t *testing.T) {
	t.Parallel()
	d := New()
	op := mustParse(t, goodLines[0])
	if applied, err := d.ApplyQuarantined(op); !applied || err != nil {
		t.Fatalf("got %v, %v", applied, err)
	}
	if applied, err := d.Apply(op); applied || err != nil || d.Live() != 0 {
		t.Errorf("told again without quarantine: got %v, %v, %d live", applied, err, d.Live())
	}
	next := &Op{Dot: Dot{"d1", 2}, Kind: Put, Path: "items/b", Val: "1"}
	if applied, err := d.Apply(next); !applied || err != nil {
		t.Errorf("the next operation of the actor: got %v, %v", applied, err)
	}
	if got := fmt.Sprint(d.Quarantined()); got != "[d1.1]" {
		t.Errorf("Quarantined: got %s", got)
	}
	if admitted, err := d.Admit(op.Dot); !admitted || err != nil || d.Live() != 2 {
		t.Errorf("Admit: got %v, %v, %d live", admitted, err, d.Live())
	}
	if admitted, err := d.Admit(op.Dot); admitted || err != nil {
		t.Errorf("Admit again: got %v, %v", admitted, err)
	}
	var missing *MissingError
	if _, err := d.Admit(Dot{"d1", 3}); !errors.As(err, &missing) {
		t.Errorf("Admit of what is not held: got %v", err)
	}
}

func TestReissueDropsWhatNeverArrived(t *testing.T) {
	t.Parallel()
	arrived := func(d Dot) bool { return d.Actor == "here" }
	o := Op{Dot: Dot{"a", 1}, Kind: Rem, Path: "p", Seen: []Dot{{"gone", 1}, {"here", 1}}}
	again, ok := o.Reissue(Dot{"b", 1}, 2, same(arrived))
	if !ok || fmt.Sprint(again.Seen) != "[here.1]" || again.Check() != nil {
		t.Errorf("got %+v, %v", again, ok)
	}
	o.Seen = o.Seen[:1]
	if _, ok := o.Reissue(Dot{"b", 1}, 2, same(arrived)); ok {
		t.Error("a rem with nothing left to remove was issued again")
	}
	renamed := func(d Dot) (Dot, bool) { return Dot{"b", d.Seq + 10}, d.Actor == "gone" }
	if again, ok := o.Reissue(Dot{"b", 1}, 2, renamed); !ok || fmt.Sprint(again.Seen) != "[b.11]" {
		t.Errorf("the author's own, issued again: got %+v, %v", again, ok)
	}
	ins := Op{Dot: Dot{"a", 1}, Kind: Ins, Path: "p", Val: "1", Ref: Dot{"gone", 1}}
	if again, ok := ins.Reissue(Dot{"b", 1}, 2, renamed); !ok || again.Ref != (Dot{"b", 11}) {
		t.Errorf("got %+v, %v; want the new name", again, ok)
	}
	if again, ok := ins.Reissue(Dot{"b", 1}, 2, same(arrived)); !ok || again.Ref != (Dot{}) {
		t.Errorf("got %+v, %v; want the head of the list", again, ok)
	}
}

// TestReissueKeepsTheRoot: the middle of a chain of restores never arrives, so only the root
// can tell that both ends are one act.
func TestReissueKeepsTheRoot(t *testing.T) {
	t.Parallel()
	all := func(Dot) bool { return true }
	root := Op{Dot: Dot{"a", 1}, Kind: Inc, Path: "heads", N: 4}
	middle, _ := root.Reissue(Dot{"b", 1}, 1, same(all))
	end, _ := middle.Reissue(Dot{"c", 1}, 2, same(all))
	d := New()
	for _, o := range []*Op{&end, &root} {
		if _, err := d.Apply(o); err != nil {
			t.Fatal(err)
		}
	}
	if n, _ := d.Counter("heads"); n != 4 {
		t.Errorf("got %d, want 4", n)
	}
}

// TestAdmittedOriginOutlivesItsClaim: a claim names the quarantined original it stands for,
// and is withdrawn when that is admitted, together with what it replaced.
func TestAdmittedOriginOutlivesItsClaim(t *testing.T) {
	t.Parallel()
	original := Op{Dot: Dot{"a", 1}, Kind: Put, Path: "p", Val: `"fail"`}
	claim := Op{Dot: Dot{"b", 1}, Kind: Put, Path: "p", Val: `"fail"`, Seen: []Dot{original.Dot}, Origin: original.OriginHash()}
	d := New()
	if _, err := d.ApplyQuarantined(&original); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Apply(&claim); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Admit(original.Dot); err != nil {
		t.Fatal(err)
	}
	if got := d.Values("p"); len(got) != 1 || got[0].Dot != original.Dot {
		t.Errorf("got %v, want the original", got)
	}
}

// TestClaimsTakenBack walks through withdrawals one event at a time. The claims b and c stand
// for the originals lostb and lostc, which do something else when they turn up.
func TestClaimsTakenBack(t *testing.T) {
	t.Parallel()
	value := &Op{Dot: Dot{"a", 1}, Kind: Put, Path: "p", Val: "1"}
	original := func(actor string) *Op {
		return &Op{Dot: Dot{"lost" + actor, 1}, Kind: Put, Path: "q", Val: fmt.Sprintf("%q", actor)}
	}
	claim := func(actor string, kind Kind, seen ...Dot) *Op {
		o := &Op{Dot: Dot{actor, 1}, Time: 1, Kind: kind, Path: "p", Seen: seen, Origin: original(actor).OriginHash()}
		if kind == Put {
			o.Val = fmt.Sprintf("%q", actor)
		}
		return o
	}
	firm := func(path string, seen ...Dot) *Op {
		return &Op{Dot: Dot{"f", 1}, Kind: Rem, Path: path, Seen: seen}
	}
	type step struct {
		event event
		want  string // values live at p
	}
	for name, steps := range map[string][]step{
		"two claims replace one value": {
			{event{op: value}, `[1]`},
			{event{op: claim("b", Rem, value.Dot)}, `[]`},
			{event{op: claim("c", Rem, value.Dot)}, `[]`},
			{event{op: original("b")}, `[]`},
			{event{op: original("c")}, `[1]`},
		},
		"a plain operation replaces it too": {
			{event{op: value}, `[1]`},
			{event{op: claim("b", Rem, value.Dot)}, `[]`},
			{event{op: firm("p", value.Dot)}, `[]`},
			{event{op: original("b")}, `[]`},
		},
		"a plain operation names it on another path": {
			{event{op: value}, `[1]`},
			{event{op: claim("b", Rem, value.Dot)}, `[]`},
			{event{op: firm("q", value.Dot)}, `[]`},
			{event{op: original("b")}, `[1]`},
		},
		"a claim replaces a claim": {
			{event{op: claim("b", Put)}, `["b"]`},
			{event{op: claim("c", Rem, Dot{"b", 1})}, `[]`},
			{event{op: original("b")}, `[]`},
			{event{op: original("c")}, `[]`},
		},
		"a claim replaces a claim, taken back the other way round": {
			{event{op: claim("b", Put)}, `["b"]`},
			{event{op: claim("c", Rem, Dot{"b", 1})}, `[]`},
			{event{op: original("c")}, `["b"]`},
			{event{op: original("b")}, `[]`},
		},
		"replaced in quarantine": {
			{event{op: value, quarantine: true}, `[]`},
			{event{op: claim("b", Rem, value.Dot)}, `[]`},
			{event{admit: value.Dot}, `[]`},
			{event{op: original("b")}, `[1]`},
		},
		"replaced in quarantine, taken back before": {
			{event{op: value, quarantine: true}, `[]`},
			{event{op: claim("b", Rem, value.Dot)}, `[]`},
			{event{op: original("b")}, `[]`},
			{event{admit: value.Dot}, `[1]`},
		},
		"replaced in quarantine for good": {
			{event{op: value, quarantine: true}, `[]`},
			{event{op: claim("b", Rem, value.Dot)}, `[]`},
			{event{op: firm("p", value.Dot)}, `[]`},
			{event{op: original("b")}, `[]`},
			{event{admit: value.Dot}, `[]`},
		},
	} {
		d := New()
		for i, s := range steps {
			if err := tell(d, s.event); err != nil {
				t.Fatalf("%s, step %d: %v", name, i, err)
			}
			if got := fmt.Sprint(values(d.Values("p"))); got != s.want {
				t.Errorf("%s, step %d: got %s, want %s", name, i, got, s.want)
			}
			if err := checkDoc(d); err != nil {
				t.Errorf("%s, step %d: %v", name, i, err)
			}
			d = reload(t, d)
		}
	}
}

// TestHiddenByAClaim is the same for a list element, across a snapshot.
func TestHiddenByAClaim(t *testing.T) {
	t.Parallel()
	element := &Op{Dot: Dot{"a", 1}, Kind: Ins, Path: "p", Val: "1"}
	original := &Op{Dot: Dot{"lost", 1}, Kind: Put, Path: "q", Val: "2"}
	claim := &Op{Dot: Dot{"b", 1}, Kind: Rem, Path: "p", Seen: []Dot{element.Dot}, Origin: original.OriginHash()}
	d := New()
	for i, o := range []*Op{element, claim, original} {
		if _, err := d.Apply(o); err != nil {
			t.Fatal(err)
		}
		d = reload(t, d)
		if got, want := len(d.List("p")), []int{1, 0, 1}[i]; got != want {
			t.Errorf("step %d: got %d elements, want %d", i, got, want)
		}
	}
}
