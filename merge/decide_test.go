package merge

import (
	"context"
	"errors"
	"testing"

	"firemode/collections"
)

func sign(s *Service, req SignRequest) error {
	return s.Do(context.Background(), func(b *Batch) error {
		_, err := b.Sign(req)
		return err
	})
}

func move(s *Service, session, to string) error {
	return s.Do(context.Background(), func(b *Batch) error {
		_, err := b.Move(MoveRequest{SessionID: session, To: to})
		return err
	})
}

// What a device signed offline stands beside what the server checked; text that is no
// sign-off is passed over. Every path to a lock but the right one is refused.
func TestLockNeedsASignOffOfThePresentState(t *testing.T) {
	t.Parallel()
	s, app := service(t, Config{})
	id := session(t, app)
	var bad *MoveError
	if err := move(s, id, collections.SessionLocked); !errors.As(err, &bad) || bad.From != collections.SessionActive {
		t.Errorf("lock an active session: got %v", err)
	}
	if err := move(s, id, collections.SessionInReview); err != nil {
		t.Fatal(err)
	}
	if err := move(s, id, collections.SessionLocked); !errors.Is(err, ErrNotSigned) {
		t.Errorf("lock an empty session: got %v", err)
	}
	change(t, s, ChangeRequest{SessionID: id, UserID: "anna", Changes: []Change{
		set("items/A/result", `"pass"`), {Op: OpAppend, Path: "signoffs/inspector", Value: []byte(`"not a sign-off"`)},
	}})
	if list, err := s.SignOffs(context.Background(), id); err != nil || len(list) != 0 {
		t.Errorf("sign-offs: got %+v (%v), want none", list, err)
	}
	state, err := s.State(context.Background(), id)
	if err != nil {
		t.Fatal(err)
	}
	req := SignRequest{SessionID: id, UserID: "anna", Role: "inspector", Statement: "as recorded", Upto: state.ServerSeq, Digest: state.Digest}
	for name, wrong := range map[string]func(*SignRequest){
		"another digest":   func(r *SignRequest) { r.Digest = r.Digest[1:] + "0" },
		"another position": func(r *SignRequest) { r.Upto-- },
	} {
		r := req
		wrong(&r)
		var at *StateError
		if err := sign(s, r); !errors.As(err, &at) || at.Now.Digest != state.Digest {
			t.Errorf("%s: got %v", name, err)
		}
	}
	for name, wrong := range map[string]func(*SignRequest){
		"role of two segments": func(r *SignRequest) { r.Role = "a/b" },
		"no role":              func(r *SignRequest) { r.Role = "" },
		"no statement":         func(r *SignRequest) { r.Statement = " " },
	} {
		r := req
		wrong(&r)
		if err := sign(s, r); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if err := sign(s, req); err != nil {
		t.Fatal(err)
	}
	// A reason is no addendum, a result is one.
	change(t, s, ChangeRequest{SessionID: id, UserID: "ben", Changes: []Change{set("items/B/result", `"pass"`)}, Reason: "forgotten"})
	if err := move(s, id, collections.SessionLocked); !errors.Is(err, ErrNotSigned) {
		t.Errorf("lock after an addendum: got %v", err)
	}
	if state, err = s.State(context.Background(), id); err != nil {
		t.Fatal(err)
	}
	req.Upto, req.Digest = state.ServerSeq, state.Digest
	if err := sign(s, req); err != nil {
		t.Fatal(err)
	}
	if err := move(s, id, collections.SessionLocked); err != nil {
		t.Errorf("lock a signed session: got %v", err)
	}
	if err := move(s, "0199a3f2-b1c4-7000-8000-000000000000", collections.SessionLocked); !errors.Is(err, ErrNoSession) {
		t.Errorf("unknown session: got %v", err)
	}
	sound(t, s, id)
}

// A note about operations of somebody else tells nothing.
func TestReasonsAreTheAuthorsOwn(t *testing.T) {
	t.Parallel()
	s, app := service(t, Config{})
	id := session(t, app)
	first := change(t, s, ChangeRequest{SessionID: id, UserID: "anna", Changes: []Change{set("title", `"A"`)}})
	change(t, s, ChangeRequest{SessionID: id, UserID: "ben", Changes: []Change{
		{Op: OpAppend, Path: ReasonsPath, Value: []byte(`{"first":"` + first.Ops[0] + `","last":"` + first.Ops[0] + `","reason":"forged"}`)},
		{Op: OpAppend, Path: ReasonsPath, Value: []byte(`[1]`)},
	}})
	change(t, s, ChangeRequest{SessionID: id, UserID: "anna", Changes: []Change{set("title", `"B"`), set("title", `"C"`)}, Reason: "spelling"})
	history, err := s.History(context.Background(), id, "title", 0, 0)
	if err != nil || len(history) != 3 || history[0].Reason != "spelling" || history[1].Reason != "spelling" || history[2].Reason != "" {
		t.Errorf("history: got %+v (%v)", history, err)
	}
}

// A decision needs a reason, values to decide about, and one outcome; once nothing of them
// stands it comes too late.
func TestResolveRefusals(t *testing.T) {
	t.Parallel()
	s, app := service(t, Config{})
	id := session(t, app)
	const path = "items/A/result"
	one := change(t, s, ChangeRequest{SessionID: id, UserID: "anna", Changes: []Change{set(path, `"pass"`)}}).Ops[0]
	two := change(t, s, ChangeRequest{SessionID: id, UserID: "ben", Changes: []Change{set(path, `"fail"`)}}).Ops[0]
	good := ResolveRequest{SessionID: id, UserID: "olga", Path: path, Choose: two, Seen: []string{one, two}, Reason: "read again"}
	resolve := func(req ResolveRequest) error {
		return s.Do(context.Background(), func(b *Batch) error { _, err := b.Resolve(req); return err })
	}
	for name, wrong := range map[string]func(*ResolveRequest){
		"no reason":        func(r *ResolveRequest) { r.Reason = " " },
		"nothing seen":     func(r *ResolveRequest) { r.Seen = nil },
		"no outcome":       func(r *ResolveRequest) { r.Choose = "" },
		"two outcomes":     func(r *ResolveRequest) { r.Value = []byte(`"na"`) },
		"another's choice": func(r *ResolveRequest) { r.Choose = "nobody.1" },
		"unknown dots":     func(r *ResolveRequest) { r.Seen = []string{"nobody.1"} },
		"no path":          func(r *ResolveRequest) { r.Path = "//" },
	} {
		req := good
		wrong(&req)
		if err := resolve(req); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: got %v, want it refused", name, err)
		}
	}
	if err := resolve(good); err != nil {
		t.Fatal(err)
	}
	if err := resolve(good); !errors.Is(err, ErrSettled) {
		t.Errorf("decided twice: got %v, want %v", err, ErrSettled)
	}
	if h, err := s.History(context.Background(), id, path, 0, 0); err != nil || len(h) != 3 || h[0].Reason != "read again" {
		t.Errorf("history: got %+v (%v), want one decision", h, err)
	}
}
