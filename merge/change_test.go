package merge

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"firemode/collections"
	"firemode/crdt"
)

func TestSetWithoutHavingSeenNeverReplaces(t *testing.T) {
	t.Parallel()
	s, app := service(t, Config{})
	id := session(t, app)
	a := change(t, s, ChangeRequest{SessionID: id, UserID: "anna", Changes: []Change{set("items/FE-1/result", `"fail"`)}})
	b := change(t, s, ChangeRequest{SessionID: id, UserID: "ben", Changes: []Change{set("items/FE-1/result", `"pass"`)}})
	if len(a.Conflicts) != 0 || len(b.Conflicts) != 1 || len(b.Conflicts[0].Entries) != 2 || string(b.Conflicts[0].Value) != `"fail"` {
		t.Fatalf("conflicts: got %+v then %+v, want none, then both values with fail shown", a.Conflicts, b.Conflicts)
	}
	if b.ServerSeq != 2 || len(b.Ops) != 1 || b.Late {
		t.Errorf("got %+v, want position 2 and one operation", b)
	}
	// Ben reads and decides: the clock he read with covers both values.
	clock := crdt.VersionVector{}
	if err := json.Unmarshal(read(t, s, id).VectorClock, &clock); err != nil {
		t.Fatal(err)
	}
	c := change(t, s, ChangeRequest{SessionID: id, UserID: "ben", Clock: clock, Changes: []Change{set("items/FE-1/result", `"na"`)}})
	if len(c.Conflicts) != 0 {
		t.Errorf("after the decision: got %+v, want no conflict", c.Conflicts)
	}
	if got := string(read(t, s, id).Data); !strings.Contains(got, `"$value":"na"`) || strings.Contains(got, "fail") {
		t.Errorf("document: got %s, want na alone", got)
	}
	sound(t, s, id)
}

// What comes back as the clock MUST NOT cover what the caller has not seen: sent again it
// would overwrite it.
func TestAnsweredClockCoversOnlyWhatTheCallerKnows(t *testing.T) {
	t.Parallel()
	s, app := service(t, Config{})
	id := session(t, app)
	first := change(t, s, ChangeRequest{SessionID: id, UserID: "anna", Changes: []Change{set("title", `"A"`)}})
	change(t, s, ChangeRequest{SessionID: id, UserID: "ben", Changes: []Change{set("title", `"B"`)}})
	second := change(t, s, ChangeRequest{SessionID: id, UserID: "anna", Clock: first.VectorClock, Changes: []Change{set("title", `"A2"`)}})
	if len(second.VectorClock) != 1 {
		t.Errorf("clock: got %v, want the caller's own operations alone", second.VectorClock)
	}
	if len(second.Conflicts) != 1 || second.Conflicts[0].Count != 2 {
		t.Fatalf("conflicts: got %+v, want A2 beside B", second.Conflicts)
	}
	// A caller that forgets its clock is not told that it covers its earlier operations.
	third := change(t, s, ChangeRequest{SessionID: id, UserID: "anna", Changes: []Change{set("title", `"A3"`)}})
	if len(third.VectorClock) != 0 {
		t.Errorf("clock without one sent: got %v, want an empty one", third.VectorClock)
	}
}

func TestChangeKinds(t *testing.T) {
	t.Parallel()
	s, app := service(t, Config{})
	id := session(t, app)
	r := change(t, s, ChangeRequest{SessionID: id, UserID: "anna", Device: "tablet 7", Changes: []Change{
		set("items/FE-1/value", `12.50`),
		set("items/FE-1/value", `12.5000`), // sees the one before it
		{Op: OpInc, Path: "counts/heads", Value: []byte(`3`)},
		{Op: OpInc, Path: "counts/heads", Value: []byte(`-1`)},
		{Op: OpAppend, Path: "notes", Value: []byte(`"first"`)},
		{Op: OpAppend, Path: "notes", Value: []byte(`"second"`)},
		{Op: OpAppend, Path: "steps", Value: []byte(`"one"`)},
		{Op: OpAppend, Path: "steps", Value: []byte(`"two"`)},
		set("/items/Exit sign/isolated", `true`),
	}})
	var doc map[string]json.RawMessage
	if err := json.Unmarshal(read(t, s, id).Data, &doc); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{"items": `"$value":12.5000,`, "counts": `{"heads":{"$count":2}}`, "notes": `"$value":["first","second"]`, "steps": `"one"`} {
		if !strings.Contains(string(doc[path]), want) {
			t.Errorf("%s: got %s, want %s in it", path, doc[path], want)
		}
	}
	if strings.Contains(string(doc["items"]), "12.50,") || !strings.Contains(string(doc["items"]), `"Exit@20sign"`) {
		t.Errorf("items: got %s, want the second value alone and the escaped name", doc["items"])
	}
	if one, two := strings.Index(string(doc["steps"]), "one"), strings.Index(string(doc["steps"]), "two"); one > two {
		t.Errorf("steps: got %s, want them in order", doc["steps"])
	}
	r = change(t, s, ChangeRequest{SessionID: id, UserID: "anna", Device: "tablet 7", Clock: r.VectorClock, Changes: []Change{
		{Op: OpRemove, Path: "steps"}, {Op: OpRemove, Path: "items/FE-1/value", Seen: []string{r.Ops[1]}},
	}})
	if got := string(read(t, s, id).Data); strings.Contains(got, "12.5") || strings.Contains(got, `"one"`) {
		t.Errorf("after the removals: got %s", got)
	}
	if r.ServerSeq != 11 {
		t.Errorf("position: got %d, want 11", r.ServerSeq)
	}
	sound(t, s, id)
}

func TestInvalidChangesNameTheirPlaceAndStoreNothing(t *testing.T) {
	t.Parallel()
	s, app := service(t, Config{})
	id := session(t, app)
	good := set("title", `"x"`)
	for pointer, bad := range map[string]Change{
		"/changes/1/path":    set("", `1`),
		"/changes/1/path ":   set("a//b", `1`),
		"/changes/1/value":   {Op: OpSet, Path: "a"},
		"/changes/1/value ":  set("a", `{"x":1,"x":2}`),
		"/changes/1/value  ": {Op: OpInc, Path: "a", Value: []byte(`1.5`)},
		"/changes/1/op":      {Op: "replace", Path: "a", Value: []byte(`1`)},
		"/changes/1/seen":    {Op: OpRemove, Path: "a"},
		"/changes/1/seen/0":  set("a", `1`, "nonsense"),
		"/changes/1/seen/1":  {Op: OpSet, Path: "a", Value: []byte(`1`), Seen: []string{"", "x.1"}},
	} {
		_, err := tryChange(s, ChangeRequest{SessionID: id, UserID: "anna", Changes: []Change{good, bad}})
		var invalid *InvalidError
		if !errors.As(err, &invalid) || !errors.Is(err, ErrInvalid) {
			t.Errorf("%+v: got %v, want an InvalidError", bad, err)
			continue
		}
		want := strings.TrimSpace(pointer)
		if want == "/changes/1/seen/1" {
			want = "/changes/1/seen/0"
		}
		if invalid.Pointer != want || invalid.Index != 1 {
			t.Errorf("%+v: got %s at %d, want %s", bad, invalid.Pointer, invalid.Index, want)
		}
	}
	if got := read(t, s, id); got.ServerSeq != 0 {
		t.Errorf("position after refused changes: got %d, want 0", got.ServerSeq)
	}
	if _, err := tryChange(s, ChangeRequest{SessionID: "no such", UserID: "anna", Changes: []Change{good}}); !errors.Is(err, ErrNoSession) {
		t.Errorf("unknown session: got %v, want ErrNoSession", err)
	}
	var limit *LimitError
	if _, err := tryChange(s, ChangeRequest{SessionID: id, UserID: "anna", Changes: slices.Repeat([]Change{good}, changesMax+1)}); !errors.As(err, &limit) {
		t.Errorf("too many changes: got %v, want a LimitError", err)
	}
	sound(t, s, id)
}

func TestLockedSessionAcceptsLateOperations(t *testing.T) {
	t.Parallel()
	s, app := service(t, Config{})
	id := session(t, app)
	change(t, s, ChangeRequest{SessionID: id, UserID: "anna", Changes: []Change{set("title", `"before"`)}})
	if _, err := app.DB().NewQuery("UPDATE test_sessions SET status = 'locked'").Execute(); err != nil {
		t.Fatal(err)
	}
	r := change(t, s, ChangeRequest{SessionID: id, UserID: "anna", Changes: []Change{set("items/FE-1/result", `"fail"`)}})
	if !r.Late {
		t.Error("result: got late false, want true")
	}
	rows, err := s.Ops(context.Background(), id, 0, 0)
	if err != nil || len(rows) != 2 || rows[0].Late || !rows[1].Late {
		t.Errorf("rows: got %+v (%v), want the second one late", rows, err)
	}
	if got := read(t, s, id); got.Status != collections.SessionLocked || !strings.Contains(string(got.Data), `"fail"`) {
		t.Errorf("document: got %s %s, want the late result in it", got.Status, got.Data)
	}
	sound(t, s, id)
}

func TestConflictsAndHistoryTellWhoWhenAndHavingSeenWhat(t *testing.T) {
	t.Parallel()
	s, app := service(t, Config{})
	id := session(t, app)
	first := change(t, s, ChangeRequest{SessionID: id, UserID: "anna", Device: "ipad", Changes: []Change{set("items/FE-1/result", `"pass"`)}})
	change(t, s, ChangeRequest{SessionID: id, UserID: "ben", Changes: []Change{set("items/FE-1/result", `"fail"`, first.Ops[0])}})
	change(t, s, ChangeRequest{SessionID: id, UserID: "cleo", Changes: []Change{
		{Op: OpSet, Path: "items/FE-1/result", Value: []byte(`"na"`), Seen: []string{first.Ops[0]}},
		set("title", `{"p":"items/FE-1/result"}`),
	}})
	s.cache = newCache(1, 1) // a cold reader reads the log
	for range 2 {
		got, err := s.Conflicts(context.Background(), id)
		if err != nil || len(got) != 1 || len(got[0].Entries) != 2 {
			t.Fatalf("conflicts: got %+v (%v), want one with two values", got, err)
		}
		users := []string{got[0].Entries[0].UserID, got[0].Entries[1].UserID}
		slices.Sort(users)
		if !slices.Equal(users, []string{"ben", "cleo"}) || !slices.Equal(got[0].Entries[0].Seen, first.Ops) || got[0].Entries[0].Received == "" {
			t.Errorf("entries: got %+v, want ben and cleo, both having seen %v", got[0].Entries, first.Ops)
		}
	}
	h, err := s.History(context.Background(), id, "items/FE-1/result", 0, 0)
	if err != nil || len(h) != 3 {
		t.Fatalf("history: got %+v (%v), want three operations", h, err)
	}
	if last := h[2]; last.UserID != "anna" || last.Device != "ipad" || last.Live || string(last.Value) != `"pass"` || !h[0].Live || h[0].N != 3 {
		t.Errorf("history: got %+v, want anna's replaced value last", h)
	}
}
