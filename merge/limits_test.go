package merge

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"firemode/crdt"
)

// manyWriters is a session in which n people have recorded a value of their own in one field.
func manyWriters(t testing.TB, s *Service, id string, n int) (dots []string) {
	t.Helper()
	dots = make([]string, n)
	var wg sync.WaitGroup
	const lanes = 64 // share commits
	for lane := range lanes {
		wg.Go(func() {
			for i := lane; i < n; i += lanes {
				d := newTablet(t, s, id, fmt.Sprintf("user %04d", i), "tablet")
				if _, err := send(s, d.request(put("items/A/remark", fmt.Sprintf(`"%d"`, i)))); err != nil {
					t.Error(err)
					return
				}
				dots[i] = d.actor + ".1"
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
	return dots
}

// A document takes 5,000 authors with values in conflict and refuses one more without harm to
// the others; whoever decides still gets in. The short form has a lower limit.
func TestFiveThousandActors(t *testing.T) {
	t.Parallel()
	s, app := service(t, Config{})
	s.docActorsMax = 200
	if soak() {
		s.docActorsMax = docActorsMax
	}
	id := session(t, app)
	dots := manyWriters(t, s, id, s.docActorsMax)
	var limit *LimitError
	_, err := tryChange(s, ChangeRequest{SessionID: id, UserID: "one too many", Changes: []Change{set("title", `"x"`)}})
	if !errors.As(err, &limit) || limit.Max != s.docActorsMax {
		t.Fatalf("another author: got %v, want the limit", err)
	}
	// Who is in may go on, and the limit is the document's own.
	again := &tablet{session: id, user: "user 0007", actor: strings.TrimSuffix(dots[7], ".1"), seq: 1}
	again.chain = crdt.Chain(crdt.ChainStart(id, again.actor), (&tablet{session: id, actor: again.actor}).request(put("items/A/remark", `"7"`)).Lines[0])
	if _, err := send(s, again.request(put("title", `"x"`))); err != nil {
		t.Error(err)
	}
	change(t, s, ChangeRequest{SessionID: session(t, app), UserID: "one too many", Changes: []Change{set("title", `"x"`)}})
	if res, err := decide(s, id, dots[:min(len(dots), crdt.SeenMax)]); err != nil || (len(res.Conflicts) == 0) != (len(dots) <= crdt.SeenMax) {
		t.Errorf("a decision about %d values: got %+v (%v)", len(dots), res.Conflicts, err)
	}
	sound(t, s, id)
}

func decide(s *Service, id string, seen []string) (res Result, err error) {
	err = s.Do(context.Background(), func(b *Batch) (err error) {
		res, err = b.Resolve(ResolveRequest{SessionID: id, UserID: "olga", Path: "items/A/remark", Value: []byte(`"decided"`), Seen: seen, Reason: "counted"})
		return err
	})
	return res, err
}

// A decision over more values than one operation may name is made in two.
func TestDecisionOverManyValues(t *testing.T) {
	t.Parallel()
	s, app := service(t, Config{})
	id := session(t, app)
	d := newTablet(t, s, id, "anna", "ipad")
	var dots []string
	for len(dots) <= crdt.SeenMax+100 {
		ops := make([]crdt.Op, changesMax)
		for i := range ops {
			ops[i] = put("items/A/remark", fmt.Sprintf(`"%d"`, len(dots)))
			dots = append(dots, fmt.Sprintf("%s.%d", d.actor, len(dots)+1))
		}
		if _, err := send(s, d.request(ops...)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := decide(s, id, dots[:crdt.SeenMax+1]); !errors.Is(err, ErrInvalid) {
		t.Errorf("%d values at once: got %v, want refusal", crdt.SeenMax+1, err)
	}
	if res, err := decide(s, id, dots[:crdt.SeenMax]); err != nil || len(res.Conflicts) != 1 {
		t.Fatalf("%d values at once: got %v, want the rest still in conflict", crdt.SeenMax, err)
	}
	if res, err := decide(s, id, append(dots[crdt.SeenMax:], firstDecision(t, s, id))); err != nil || len(res.Conflicts) != 0 {
		t.Errorf("the rest: got %+v (%v), want none in conflict", res.Conflicts, err)
	}
	sound(t, s, id)
}

// firstDecision is the operation of the first decision, which stands beside the rest.
func firstDecision(t testing.TB, s *Service, id string) string {
	t.Helper()
	list, err := s.Conflicts(context.Background(), id)
	if err != nil || len(list) != 1 {
		t.Fatalf("got %+v (%v), want one conflict", list, err)
	}
	for _, e := range list[0].Entries {
		if string(e.Value) == `"decided"` {
			return e.Dot
		}
	}
	t.Fatal("the first decision does not stand")
	return ""
}

func soak() bool { return os.Getenv("FIREMODE_SOAK") != "" }

// A document takes a million operations and no more; what is refused changes nothing, and
// another document of the same server goes on. The short form has a lower limit.
func TestMillionOperations(t *testing.T) {
	t.Parallel()
	s, app := service(t, Config{})
	s.docOpsMax = 5_000
	if soak() {
		s.docOpsMax = docOpsMax
	}
	id := session(t, app)
	d := newTablet(t, s, id, "anna", "ipad")
	for n := 0; n < s.docOpsMax; n += changesMax {
		ops := make([]crdt.Op, changesMax)
		for i := range ops {
			ops[i] = put(fmt.Sprintf("items/%d/result", i), `"pass"`)
			if n > 0 {
				ops[i].Seen = []crdt.Dot{{Actor: d.actor, Seq: uint64(n - changesMax + i + 1)}}
			}
		}
		if _, err := send(s, d.request(ops...)); err != nil {
			t.Fatalf("after %d: %v", n, err)
		}
	}
	before := *d
	var limit *LimitError
	if _, err := send(s, d.request(put("title", `"x"`))); !errors.As(err, &limit) || limit.Max != s.docOpsMax {
		t.Fatalf("one more: got %v, want the limit", err)
	}
	*d = before
	if ack, err := send(s, d.request()); err != nil || ack.Acked != uint64(s.docOpsMax) {
		t.Errorf("afterwards: got %+v (%v)", ack, err)
	}
	change(t, s, ChangeRequest{SessionID: session(t, app), UserID: "anna", Changes: []Change{set("title", `"x"`)}})
	// Full as it is, it can be decided about.
	if err := redact(s, RedactRequest{SessionID: id, UserID: "olga", Dots: []string{d.actor + ".1"}, Reason: "a name"}); err != nil {
		t.Errorf("a redaction in a full document: %v", err)
	}
	if r := sound(t, s, id); r.Ops != int64(s.docOpsMax)+1 {
		t.Errorf("verify: got %d operations, want %d", r.Ops, s.docOpsMax+1)
	}
}
