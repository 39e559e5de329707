package merge

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"firemode/crdt"

	"github.com/pocketbase/pocketbase/core"
)

func TestDeviceOperationsAreStoredAsTheyCame(t *testing.T) {
	t.Parallel()
	s, app := service(t, Config{})
	id := session(t, app)
	d := newTablet(t, s, id, "anna", "ipad")
	req := d.request(put("title", `"A"`), put("title", `"B"`, crdt.Dot{Actor: d.actor, Seq: 1}))
	ack, err := send(s, req)
	if err != nil || ack.Acked != 2 || ack.Chain != d.chain || ack.Added != 2 || ack.N != 2 || ack.More {
		t.Fatalf("got %+v (%v), want 2 added and the device's chain", ack, err)
	}
	// All of it again, and a part of it with something new.
	if ack, err = send(s, req); err != nil || ack.Duplicates != 2 || ack.Added != 0 || ack.Chain != d.chain {
		t.Errorf("sent again: got %+v (%v), want two duplicates", ack, err)
	}
	more := d.request(put("notes", `"C"`))
	both := SyncRequest{SessionID: id, UserID: "anna", Actor: d.actor, Prev: crdt.Chain(req.Prev, req.Lines[0]), Head: more.Head, Lines: [][]byte{req.Lines[1], more.Lines[0]}}
	if ack, err = send(s, both); err != nil || ack.Duplicates != 1 || ack.Added != 1 || ack.Acked != 3 {
		t.Errorf("overlapping: got %+v (%v), want one duplicate and one new", ack, err)
	}
	rows, err := s.Ops(context.Background(), id, 0, 0)
	if err != nil || len(rows) != 3 || !bytes.Equal(rows[0].Line, req.Lines[0]) || !bytes.Equal(rows[2].Line, more.Lines[0]) {
		t.Errorf("rows: got %+v (%v), want the device's bytes", rows, err)
	}
	sound(t, s, id)
}

func TestHistoriesThatDoNotFitAreRefused(t *testing.T) {
	t.Parallel()
	s, app := service(t, Config{})
	id := session(t, app)
	d := newTablet(t, s, id, "anna", "ipad")
	restored := *d
	if _, err := send(s, d.request(put("title", `"A"`), put("title", `"B"`))); err != nil {
		t.Fatal(err)
	}
	stored := *d

	skipped := stored
	skipped.request(put("title", `"never sent"`))
	var gap *crdt.GapError
	if _, err := send(s, skipped.request(put("title", `"D"`))); !errors.As(err, &gap) || gap.Want != 3 {
		t.Errorf("gap: got %v, want a GapError that wants 3", err)
	}
	// A tablet restored from a backup writes other operations under the same numbers.
	var fork *crdt.ForkError
	forked := restored
	if _, err := send(s, forked.request(put("title", `"other"`))); !errors.As(err, &fork) {
		t.Errorf("fork at the first operation: got %v, want a ForkError", err)
	}
	if _, err := send(s, forked.request(put("title", `"2"`))); !errors.As(err, &fork) {
		t.Errorf("fork seen by the chain before: got %v, want a ForkError", err)
	}
	if _, err := send(s, forked.request(put("title", `"3"`))); !errors.As(err, &fork) {
		t.Errorf("fork at the head: got %v, want a ForkError", err)
	}
	ahead := stored
	jump := ahead.request(put("title", `"E"`), put("title", `"F"`), put("title", `"G"`))
	jump.Lines = append(jump.Lines[:1], jump.Lines[2])
	if _, err := send(s, jump); !errors.As(err, &gap) || gap.Want != 4 {
		t.Errorf("a jump within the request: got %v, want a gap at 4", err)
	}
	var missing *crdt.MissingError
	ahead = stored
	if _, err := send(s, ahead.request(put("title", `"E"`, crdt.Dot{Actor: "unknown", Seq: 1}))); !errors.As(err, &missing) || strings.Contains(err.Error(), "internal") {
		t.Errorf("missing: got %v, want a MissingError before anything was done", err)
	}
	ahead = stored
	req := ahead.request(put("title", `"F"`))
	req.Head[0] ^= 1
	var chain *ChainError
	if _, err := send(s, req); !errors.As(err, &chain) || chain.Seq != 3 {
		t.Errorf("head: got %v, want a ChainError after 3", err)
	}
	ahead = stored
	req = ahead.request(put("title", `"G"`))
	req.Lines[0] = bytes.Replace(req.Lines[0], []byte(`"G"`), []byte(`"\u0047"`), 1)
	var invalid *InvalidError
	if _, err := send(s, req); !errors.As(err, &invalid) || !errors.Is(err, crdt.ErrFormat) {
		t.Errorf("line not canonical: got %v, want an InvalidError", err)
	}
	if r := sound(t, s, id); r.Ops != 2 {
		t.Errorf("operations: got %d, want the 2 that fit", r.Ops)
	}
}

func TestActorsBelongToTheirUser(t *testing.T) {
	t.Parallel()
	s, app := service(t, Config{})
	id := session(t, app)
	d := newTablet(t, s, id, "anna", "ipad")
	again := newTablet(t, s, id, "anna", "ipad")
	if d.actor != again.actor || !crdt.ValidActor(d.actor) {
		t.Errorf("actors: got %q then %q, want the same valid one", d.actor, again.actor)
	}
	req := d.request(put("title", `"forged"`))
	req.UserID = "ben"
	if _, err := send(s, req); !errors.Is(err, ErrForeignActor) {
		t.Errorf("foreign actor: got %v, want ErrForeignActor", err)
	}
	other := newTablet(t, s, id, "ben", "ipad")
	mixed := other.request(put("title", `"forged"`))
	mixed.Lines = d.request(put("title", `"x"`)).Lines
	if _, err := send(s, mixed); !errors.Is(err, ErrForeignActor) {
		t.Errorf("line of a foreign actor: got %v, want ErrForeignActor", err)
	}
	var fresh string
	err := app.RunInTransaction(func(tx core.App) (err error) {
		fresh, err = NewActor(tx, "anna", "ipad")
		return err
	})
	if now := newTablet(t, s, id, "anna", "ipad"); err != nil || now.actor != fresh || fresh == d.actor {
		t.Errorf("after NewActor: got %q (%v), want the new one %q", now.actor, err, fresh)
	}
	for _, device := range []string{"", "results:ipad", "a\x00b"} {
		err := app.RunInTransaction(func(tx core.App) error { _, err := ActorFor(tx, "anna", device); return err })
		if !errors.Is(err, ErrInvalid) {
			t.Errorf("device %q: got %v, want ErrInvalid", device, err)
		}
	}
}

// What a lost tablet still sends is kept as evidence and has no effect.
func TestRevokedActorsAreQuarantined(t *testing.T) {
	t.Parallel()
	s, app := service(t, Config{})
	id := session(t, app)
	d := newTablet(t, s, id, "anna", "ipad")
	if _, err := send(s, d.request(put("title", `"A"`))); err != nil {
		t.Fatal(err)
	}
	err := app.RunInTransaction(func(tx core.App) error {
		was, err := RevokeActor(tx, d.actor)
		if !was {
			t.Error("revoke: got false, want true")
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	ack, err := send(s, d.request(put("title", `"B"`, crdt.Dot{Actor: d.actor, Seq: 1})))
	if err != nil || !ack.Quarantined || ack.Acked != 2 {
		t.Fatalf("got %+v (%v), want it quarantined and acknowledged", ack, err)
	}
	if got := string(read(t, s, id).Data); !bytes.Contains([]byte(got), []byte(`"$value":"A"`)) {
		t.Errorf("document: got %s, want A to stand", got)
	}
	rows, err := s.Ops(context.Background(), id, 1, 0)
	if err != nil || len(rows) != 1 || !rows[0].Quarantined {
		t.Errorf("rows: got %+v (%v), want one in quarantine", rows, err)
	}
	s.cache = newCache(1, 1)
	sound(t, s, id)
}
