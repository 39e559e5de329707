package merge

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"firemode/crdt"

	"github.com/pocketbase/dbx"
	"github.com/pocketbase/pocketbase/core"
)

func admit(s *Service, req AdmitRequest) error {
	return s.Do(context.Background(), func(b *Batch) error {
		_, err := b.Admit(req)
		return err
	})
}

// replica computes a document from rows alone, as a device does.
func replica(t testing.TB, s *Service, id string) *crdt.Doc {
	t.Helper()
	rows, err := s.Ops(context.Background(), id, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	doc := crdt.New()
	for _, r := range rows {
		op, err := crdt.ParseOp(r.Line)
		if r.Redacted != "" {
			sum, _ := hex.DecodeString(r.Redacted)
			op, err = crdt.ParseRedacted(r.Line, [32]byte(sum))
		}
		if err != nil {
			t.Fatal(err)
		}
		var flags int64
		if r.Quarantined {
			flags = flagQuarantined
		}
		if err := apply(doc, &op, flags); err != nil {
			t.Fatal(err)
		}
	}
	return doc
}

// revoked makes a tablet that wrote A, was revoked and wrote B having seen A, and C.
func revoked(t testing.TB, s *Service, app core.App, id string) *tablet {
	t.Helper()
	d := newTablet(t, s, id, "anna", "ipad")
	if _, err := send(s, d.request(put("title", `"A"`))); err != nil {
		t.Fatal(err)
	}
	if err := app.RunInTransaction(func(tx core.App) error { _, err := RevokeActor(tx, d.actor); return err }); err != nil {
		t.Fatal(err)
	}
	ack, err := send(s, d.request(put("title", `"B"`, crdt.Dot{Actor: d.actor, Seq: 1}), put("items/X/result", `"fail"`)))
	if err != nil || !ack.Quarantined {
		t.Fatalf("got %+v (%v), want it in quarantine", ack, err)
	}
	return d
}

// What was kept in quarantine takes effect when somebody else admits it, for every replica
// at the same position, after a restart and in the history.
func TestAdmission(t *testing.T) {
	t.Parallel()
	s, app := service(t, Config{})
	id := session(t, app)
	d := revoked(t, s, app, id)
	list, err := s.Quarantine(context.Background(), id, 0, 0)
	if err != nil || len(list) != 2 || list[0].Dot != d.actor+".2" || list[0].Causes[0] != "revoked_device" || string(list[0].Value) != `"B"` || list[0].Device != "ipad" {
		t.Fatalf("quarantine: got %+v (%v)", list, err)
	}
	good := AdmitRequest{SessionID: id, UserID: "olivia", Dots: []string{d.actor + ".2"}, Reason: "seen on the tablet"}
	for name, row := range map[string]struct {
		change func(*AdmitRequest)
		want   error
	}{
		"no reason":     {func(r *AdmitRequest) { r.Reason = " " }, ErrInvalid},
		"nothing":       {func(r *AdmitRequest) { r.Dots = nil }, ErrInvalid},
		"in effect":     {func(r *AdmitRequest) { r.Dots = []string{d.actor + ".1"} }, ErrInvalid},
		"unknown":       {func(r *AdmitRequest) { r.Dots = []string{"zzzzzzzzzzzz.1"} }, ErrInvalid},
		"no dot":        {func(r *AdmitRequest) { r.Dots = []string{"x"} }, ErrInvalid},
		"their own":     {func(r *AdmitRequest) { r.UserID = "anna" }, ErrOwnAdmission},
		"other session": {func(r *AdmitRequest) { r.SessionID = "0199a3f2-b1c4-7000-8000-000000000000" }, ErrNoSession},
	} {
		r := good
		row.change(&r)
		if err := admit(s, r); !errors.Is(err, row.want) {
			t.Errorf("%s: got %v, want %v", name, err, row.want)
		}
	}
	if err := admit(s, good); err != nil {
		t.Fatal(err)
	}
	if err := admit(s, good); !errors.Is(err, ErrInvalid) {
		t.Errorf("admitted twice: got %v", err)
	}
	got := read(t, s, id).Data
	if !bytes.Contains(got, []byte(`"$value":"B"`)) || bytes.Contains(got, []byte(`"fail"`)) {
		t.Errorf("document: got %s, want B to stand and the other still without effect", got)
	}
	if state, err := s.State(context.Background(), id); err != nil || replica(t, s, id).Digest() != digestOf(t, state) {
		t.Errorf("a replica at %d differs from the server (%v)", state.ServerSeq, err)
	}
	history, err := s.History(context.Background(), id, "title", 0, 0)
	if err != nil || !history[0].Admitted || history[0].Quarantined || !history[0].Live {
		t.Errorf("history: got %+v (%v)", history, err)
	}
	if list, err = s.Quarantine(context.Background(), id, 0, 0); err != nil || len(list) != 1 || list[0].Dot != d.actor+".3" {
		t.Errorf("quarantine afterwards: got %+v (%v)", list, err)
	}
	sound(t, s, id)
	s.cache = newCache(1, 1) // as after a restart
	sound(t, s, id)
	if again := read(t, s, id).Data; !bytes.Equal(got, again) {
		t.Errorf("after a restart: got %s", again)
	}
}

func digestOf(t testing.TB, state State) [32]byte {
	t.Helper()
	var sum [32]byte
	raw, err := hex.DecodeString(state.Digest)
	if err != nil || copy(sum[:], raw) != 32 {
		t.Fatalf("digest %q: %v", state.Digest, err)
	}
	return sum
}

// Snapshots carry what waits in quarantine and what was admitted.
func TestAdmissionAcrossASnapshot(t *testing.T) {
	t.Parallel()
	s, app := service(t, Config{})
	s.snapEveryOps = 2
	id := session(t, app)
	d := revoked(t, s, app, id)
	if err := admit(s, AdmitRequest{SessionID: id, UserID: "olivia", Dots: []string{d.actor + ".3"}, Reason: "seen"}); err != nil {
		t.Fatal(err)
	}
	s.Stop() // writes what is due
	if err := s.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	s.cache = newCache(1, 1)
	if err := admit(s, AdmitRequest{SessionID: id, UserID: "olivia", Dots: []string{d.actor + ".2"}, Reason: "seen too"}); err != nil {
		t.Fatal(err)
	}
	if got := read(t, s, id).Data; !bytes.Contains(got, []byte(`"$value":"B"`)) || !bytes.Contains(got, []byte(`"$value":"fail"`)) {
		t.Errorf("document: got %s", got)
	}
	sound(t, s, id)
}

// A device cannot admit itself, and simple changes cannot at all. The honest part of what
// it sends takes effect.
func TestAdmissionsByOthersHaveNoEffect(t *testing.T) {
	t.Parallel()
	s, app := service(t, Config{})
	id := session(t, app)
	d := revoked(t, s, app, id)
	x := newTablet(t, s, id, "ben", "phone")
	ack, err := send(s, x.request(put("items/Y/result", `"pass"`),
		put(AdmittedPath, `{"reason":"because"}`, crdt.Dot{Actor: d.actor, Seq: 2}), put("items/Z/result", `"pass"`)))
	if err != nil || !ack.Quarantined || ack.Acked != 3 {
		t.Fatalf("got %+v (%v)", ack, err)
	}
	got := read(t, s, id).Data
	if bytes.Contains(got, []byte(`"$value":"B"`)) || bytes.Contains(got, []byte("because")) || bytes.Count(got, []byte(`"$value":"pass"`)) != 2 {
		t.Errorf("document: got %s", got)
	}
	list, err := s.Quarantine(context.Background(), id, 0, 0)
	if err != nil || len(list) != 3 || list[2].Causes[0] != "reserved_path" {
		t.Errorf("quarantine: got %+v (%v)", list, err)
	}
	for _, c := range []Change{set(AdmittedPath, `1`), {Op: OpAppend, Path: AdmittedPath, Value: []byte(`1`)}, {Op: OpRemove, Path: AdmittedPath, Seen: []string{x.actor + ".2"}}} {
		if _, err := tryChange(s, ChangeRequest{SessionID: id, UserID: "ben", Changes: []Change{c}}); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s on %s: got %v, want it refused", c.Op, AdmittedPath, err)
		}
	}
	// A supervisor's device may.
	o := newTablet(t, s, id, "olivia", "laptop")
	req := o.request(put(AdmittedPath, `{"reason":"seen"}`, crdt.Dot{Actor: d.actor, Seq: 2}))
	req.Supervisor = true
	if ack, err := send(s, req); err != nil || ack.Quarantined {
		t.Fatalf("got %+v (%v)", ack, err)
	}
	if got := read(t, s, id).Data; !bytes.Contains(got, []byte(`"$value":"B"`)) {
		t.Errorf("document: got %s, want B", got)
	}
	sound(t, s, id)
}

// What somebody still sends whose right has ended is kept without effect, says why, and has its
// audit entry like everything else.
func TestLapsedRights(t *testing.T) {
	t.Parallel()
	s, app := service(t, Config{})
	id := session(t, app)
	d := newTablet(t, s, id, "anna", "ipad")
	req := d.request(put("title", `"A"`))
	req.Lapsed = true
	if ack, err := send(s, req); err != nil || !ack.Quarantined {
		t.Fatalf("got %+v (%v), want it in quarantine", ack, err)
	}
	if list, err := s.Quarantine(context.Background(), id, 0, 0); err != nil || len(list) != 1 || list[0].Causes[0] != "lapsed_right" {
		t.Errorf("quarantine: got %+v (%v)", list, err)
	}
	if got := string(read(t, s, id).Data); strings.Contains(got, `"title"`) {
		t.Errorf("document: got %s, want it without effect", got)
	}
	var entry string
	err := app.DB().NewQuery("SELECT new_values FROM audit_log WHERE action = 'merge' AND resource_id = {:id}").Bind(dbx.Params{"id": id}).Row(&entry)
	if err != nil || !strings.Contains(entry, d.actor+".1") || !strings.Contains(entry, `"quarantined":true`) {
		t.Errorf("audit entry: got %s (%v)", entry, err)
	}
}
