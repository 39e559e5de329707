package crdt

import (
	"flag"
	"fmt"
	"slices"
	"testing"
)

// every4th thins the histories of four operations; 1 checks them all, in some ten minutes.
// The default is a prime, so that the sample does not follow the enumeration.
var every4th = flag.Int("crdt.every", 1499, "check one of so many small histories of four operations")

// TestEverySmallHistory builds every history of up to three operations over two actors
// and one path, with every seen list, reference, reissue and standing, and delivers each in
// every order. Of histories of four it takes one in every4th.
func TestEverySmallHistory(t *testing.T) {
	t.Parallel()
	histories, orders := 0, 0
	enumerate(nil, func(events []event) {
		if len(events) == 4 {
			if histories++; histories%*every4th != 0 {
				return
			}
		}
		h := &history{events: events}
		want := h.spec().text()
		permute(slices.Clone(events), 0, func(order []event) {
			orders++
			d := New()
			if err := deliver(d, order); err != nil {
				t.Fatalf("%s: %v", describe(order), err)
			}
			if got := string(d.Text()); got != want {
				t.Fatalf("%s\ngot\n%swant\n%s", describe(order), got, want)
			}
		})
	})
	t.Logf("%d orders", orders)
	if orders < 10_000 {
		t.Errorf("got %d orders, want many more: the enumeration is broken", orders)
	}
}

// enumerate calls yield with every extension of events up to four operations.
func enumerate(events []event, yield func([]event)) {
	if len(events) > 0 {
		yield(events)
	}
	if len(events) == 4 {
		return
	}
	var dots []Dot
	held := map[string]uint64{}
	for _, e := range events {
		dots = append(dots, e.op.Dot)
		held[e.op.Actor]++
	}
	n := len(events)
	for _, actor := range []string{"a", "b"} {
		base := Op{Dot: Dot{actor, held[actor] + 1}, Time: NewTime(uint64(3-n), 0), Path: "p", Val: fmt.Sprint(n % 2)}
		add := func(o Op) {
			enumerate(append(slices.Clip(events), event{op: &o}), yield)
			if o.Kind != Inc { // the standing of an increment adds nothing to that of a put
				enumerate(append(slices.Clip(events), event{op: &o, quarantine: true}), yield)
			}
		}
		for set := range 1 << n {
			o := base
			for i, dot := range dots {
				if set>>i&1 == 1 {
					o.Seen = append(o.Seen, dot)
				}
			}
			o.Kind = Put
			add(o)
			if set != 0 {
				o.Kind, o.Val = Rem, ""
				add(o)
			}
		}
		for i := range n + 1 {
			o := base
			o.Kind = Ins
			if i < n {
				o.Ref = dots[i]
			}
			add(o)
		}
		o := base
		o.Kind, o.Val, o.N = Inc, "", 1
		add(o)
		if n == 0 {
			continue
		}
		// Issued again: one that arrived, and one that never does.
		if again, ok := events[0].op.Reissue(base.Dot, base.Time, same(func(d Dot) bool { return slices.Contains(dots, d) })); ok {
			add(again)
		}
		lost := Op{Dot: Dot{"z", 1}, Kind: Put, Path: "p", Val: "5", Seen: dots[:1]}
		again, _ := lost.Reissue(base.Dot, base.Time, same(func(Dot) bool { return true }))
		add(again)
	}
}

func permute(events []event, k int, yield func([]event)) {
	if k == len(events) {
		yield(events)
	}
	for i := k; i < len(events); i++ {
		events[k], events[i] = events[i], events[k]
		permute(events, k+1, yield)
		events[k], events[i] = events[i], events[k]
	}
}

func describe(events []event) string {
	s := ""
	for _, e := range events {
		s += fmt.Sprintf("%s quarantine=%v\n", e.op.AppendJSON(nil), e.quarantine)
	}
	return s
}
