package merge

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"

	"firemode/collections"
	"firemode/crdt"
	"firemode/pgsync"
)

// reissue is the operation of a line under another name, as a device makes it after a fork.
func reissue(t testing.TB, line []byte) crdt.Op {
	t.Helper()
	op, err := crdt.ParseOp(line)
	if err != nil {
		t.Fatal(err)
	}
	again, _ := op.Reissue(crdt.Dot{}, 0, func(x crdt.Dot) (crdt.Dot, bool) { return x, true })
	return again
}

// A value is erased under every name that its act has: those that the log knows with the
// redaction, those that a device gives it which has not heard, before it is stored.
func TestErasedValuesDoNotComeBack(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		before, after bool // the act is issued again
		reversed      bool // what was issued again is erased, not the original
		late          bool // and the original comes after that
		lapsed        bool // what arrives afterwards goes to quarantine
		hold          bool // and finds evidence under hold
	}{
		"again before":               {before: true},
		"again before, reversed":     {before: true, reversed: true},
		"again afterwards":           {after: true},
		"twice":                      {before: true, after: true},
		"the original afterwards":    {before: true, reversed: true, late: true},
		"afterwards, in quarantine":  {after: true, lapsed: true},
		"afterwards, under a hold":   {after: true, hold: true},
		"all of it, in whatever way": {before: true, reversed: true, late: true, after: true, lapsed: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, app := service(t, Config{})
			id := session(t, app)
			lost := newTablet(t, s, id, "anna", "ipad")
			first := lost.request(put("items/A/remark", `"Jane Citizen"`))
			heard := "" // by those who listen
			deliver := func(req SyncRequest) (ack Ack) {
				err := s.Do(context.Background(), func(b *Batch) (err error) {
					ack, err = b.Append(req)
					for _, r := range b.fresh[id] {
						heard += string(r.Line)
					}
					return err
				})
				if err != nil {
					t.Fatal(err)
				}
				return ack
			}
			// again is sent by a further device, which also says something of its own there.
			again := func(device string, lapsed bool) (dot string) {
				d := newTablet(t, s, id, "anna", device)
				other := reissue(t, first.Lines[0])
				other.Val = `"Stays as it is"`
				req := d.request(put("title", `"x"`), reissue(t, first.Lines[0]), other)
				req.Lapsed = lapsed
				if ack := deliver(req); ack.Added != 3 || ack.Chain != d.chain {
					t.Errorf("got %+v, want its three operations", ack)
				}
				return d.actor + ".2"
			}
			if !row.late {
				deliver(first)
			}
			target := lost.actor + ".1"
			if row.before {
				if dot := again("second", false); row.reversed {
					target = dot
				}
			}
			if err := redact(s, RedactRequest{SessionID: id, UserID: "olivia", Dots: []string{target}, Reason: "a name"}); err != nil {
				t.Fatal(err)
			}
			if found(t, app, "Jane") {
				t.Error("the redaction left the value under another name")
			}
			if row.hold {
				underHold(t, app, id)
			}
			heard = ""
			if row.late {
				deliver(first)
			}
			if row.after {
				again("third", row.lapsed)
			}
			// And once more to a service that has read the log anew.
			s.cache.drop(s.cache.get(id))
			again("fourth", false)
			if found(t, app, "Jane") || strings.Contains(heard, "Jane") {
				t.Errorf("the value is in the database again, or was sent to whoever listens: %s", heard)
			}
			if !found(t, app, "Stays as it is") || !strings.Contains(heard, "Stays as it is") {
				t.Error("another act was erased with it")
			}
			sound(t, s, id)
			if err := redact(s, RedactRequest{SessionID: id, UserID: "olivia", Dots: []string{target}, Reason: "a name"}); err == nil || !row.hold && !strings.Contains(err.Error(), "erased already") {
				t.Errorf("once more: got %v, want that it is done", err)
			}
		})
	}
}

// A device's copy of a redaction is rubbish that an officer may erase; the redaction that it
// copies stays.
func TestCopiesDoNotTakeDecisionsWithThem(t *testing.T) {
	t.Parallel()
	s, app := service(t, Config{})
	id := session(t, app)
	anna := newTablet(t, s, id, "anna", "ipad")
	if _, err := send(s, anna.request(put("items/A/remark", `"Jane Citizen"`))); err != nil {
		t.Fatal(err)
	}
	if err := redact(s, RedactRequest{SessionID: id, UserID: "olivia", Dots: []string{anna.actor + ".1"}, Reason: "court order 77"}); err != nil {
		t.Fatal(err)
	}
	var line []byte
	if err := app.DB().NewQuery("SELECT line FROM crdt_ops WHERE n = 2").Row(&line); err != nil {
		t.Fatal(err)
	}
	copier := newTablet(t, s, id, "olivia", "phone") // her own device
	if ack, err := send(s, copier.request(reissue(t, line))); err != nil || !ack.Quarantined {
		t.Fatalf("got %+v (%v), want quarantine", ack, err)
	}
	if err := redact(s, RedactRequest{SessionID: id, UserID: "olivia", Dots: []string{copier.actor + ".1"}, Reason: "rubbish"}); err != nil {
		t.Fatal(err)
	}
	var after []byte
	if err := app.DB().NewQuery("SELECT line FROM crdt_ops WHERE n = 2").Row(&after); err != nil || !bytes.Equal(after, line) {
		t.Errorf("the redaction: got %s (%v), want %s", after, err, line)
	}
	// Nor does a real one that comes after its copy was erased lose its reason.
	if err := redact(s, RedactRequest{SessionID: id, UserID: "olivia", Dots: []string{anna.actor + ".1"}, Reason: "court order 77"}); err == nil {
		t.Error("erased twice")
	}
	sound(t, s, id)
}

// Somebody else's copy under the same origin is an act of theirs: erasing it takes nothing from
// the author, whether the copy comes first or last.
func TestCopiesTakeNoEvidenceWithThem(t *testing.T) {
	t.Parallel()
	for _, copyFirst := range []bool{false, true} {
		s, app := service(t, Config{})
		id := session(t, app)
		anna, mallory := newTablet(t, s, id, "anna", "ipad"), newTablet(t, s, id, "mallory", "phone")
		first := anna.request(put("items/A/result", `"fail"`))
		copied := mallory.request(reissue(t, first.Lines[0]))
		copied.Lapsed = true
		deliver := func(req SyncRequest) {
			if _, err := send(s, req); err != nil {
				t.Fatal(err)
			}
		}
		if !copyFirst {
			deliver(first)
		}
		deliver(copied)
		if err := redact(s, RedactRequest{SessionID: id, UserID: "olivia", Dots: []string{mallory.actor + ".1"}, Reason: "rubbish"}); err != nil {
			t.Fatal(err)
		}
		if copyFirst {
			deliver(first)
		}
		if got := replica(t, s, id).Values("items/A/result"); len(got) != 1 || got[0].Val != `"fail"` {
			t.Errorf("copy first: %t: got %+v, want anna's result", copyFirst, got)
		}
		sound(t, s, id)
	}
}

// However many names an act has, none keeps the value.
func TestManyNamesAreErased(t *testing.T) {
	t.Parallel()
	s, app := service(t, Config{})
	id := session(t, app)
	anna := newTablet(t, s, id, "anna", "ipad")
	first := anna.request(put("items/A/remark", `"Jane Citizen"`))
	if _, err := send(s, first); err != nil {
		t.Fatal(err)
	}
	spare := newTablet(t, s, id, "anna", "spare")
	names := 1
	for names <= 2*crdt.SeenMax {
		ops := make([]crdt.Op, changesMax)
		for i := range ops {
			ops[i] = reissue(t, first.Lines[0])
		}
		if _, err := send(s, spare.request(ops...)); err != nil {
			t.Fatal(err)
		}
		names += len(ops)
	}
	if err := redact(s, RedactRequest{SessionID: id, UserID: "olivia", Dots: []string{anna.actor + ".1"}, Reason: "a name"}); err != nil {
		t.Fatal(err)
	}
	if found(t, app, "Jane") {
		t.Error("a name kept the value")
	}
	var erased int
	if err := app.DB().NewQuery("SELECT new_values ->> 'erased' FROM audit_log WHERE action = 'redact'").Row(&erased); err != nil || erased != names {
		t.Errorf("the audit log says %d (%v), want %d", erased, err, names)
	}
	history, err := s.History(context.Background(), id, RedactedPath, 0, 0)
	if err != nil || len(history) != 3 {
		t.Fatalf("got %d redactions (%v), want three: so many names do not go into fewer", len(history), err)
	}
	for _, h := range history {
		if !strings.Contains(string(h.Value), "a name") {
			t.Errorf("redaction %s: got %s, want its reason kept", h.Dot, h.Value)
		}
	}
	sound(t, s, id)
}

// Who listens does not hear a value that is erased in the same transaction.
func TestErasedInOneRound(t *testing.T) {
	t.Parallel()
	s, app := service(t, Config{})
	id := session(t, app)
	anna := newTablet(t, s, id, "anna", "ipad")
	req := anna.request(put("items/A/remark", `"Jane Citizen"`))
	err := s.Do(context.Background(), func(b *Batch) error {
		if _, err := b.Append(req); err != nil {
			return err
		}
		_, err := b.Redact(RedactRequest{SessionID: id, UserID: "olivia", Dots: []string{anna.actor + ".1"}, Reason: "a name"})
		if rows := b.fresh[id]; len(rows) != 2 || rows[0].Redacted == "" || strings.Contains(string(rows[0].Line), "Jane") {
			t.Errorf("to be sent: got %+v", rows)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	sound(t, s, id)
}

// A change of the session right behind a redaction, in the same transaction, carries nothing of
// what was erased into the mirror's log.
func TestErasedValuesLeaveTheRecordAtOnce(t *testing.T) {
	t.Parallel()
	s, app := service(t, Config{})
	if err := pgsync.Arm(app, pgsync.Mirrored()); err != nil {
		t.Fatal(err)
	}
	id := session(t, app)
	anna := newTablet(t, s, id, "anna", "ipad")
	if _, err := send(s, anna.request(put("items/A/remark", `"Jane Citizen"`))); err != nil {
		t.Fatal(err)
	}
	err := s.Do(context.Background(), func(b *Batch) error {
		if _, err := b.Move(MoveRequest{SessionID: id, To: collections.SessionInReview}); err != nil {
			return err
		}
		if _, err := b.Redact(RedactRequest{SessionID: id, UserID: "olivia", Dots: []string{anna.actor + ".1"}, Reason: "a name"}); err != nil {
			return err
		}
		_, err := b.Move(MoveRequest{SessionID: id, To: collections.SessionActive})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	var images, all int
	err = app.DB().NewQuery("SELECT count(*) FILTER (WHERE img LIKE '%Jane%'), count(*) FROM _pgsync_log WHERE img IS NOT NULL").Row(&images, &all)
	if err != nil || images != 0 || all < 3 {
		t.Errorf("%d of %d images hold the value (%v)", images, all, err)
	}
	if got := string(read(t, s, id).Data); !strings.Contains(got, "$redacted") {
		t.Errorf("the record afterwards: %s", got)
	}
	sound(t, s, id)
}

// BenchmarkReissueErased is a request of a thousand operations that repeat an erased act, in a
// document of 100,000, beside one of a thousand ordinary ones.
func BenchmarkReissueErased(b *testing.B) {
	s, app := service(b, Config{})
	id := session(b, app)
	d := newTablet(b, s, id, "anna", "ipad")
	fill := func(n int, op func(i int) crdt.Op) {
		ops := make([]crdt.Op, n)
		for i := range ops {
			ops[i] = op(i)
		}
		if _, err := send(s, d.request(ops...)); err != nil {
			b.Fatal(err)
		}
	}
	first := d.request(put("items/A/remark", `"`+strings.Repeat("x", 1000)+`"`))
	if _, err := send(s, first); err != nil {
		b.Fatal(err)
	}
	for i := range 100 {
		fill(changesMax, func(j int) crdt.Op { return put(fmt.Sprintf("items/%d-%d/remark", i, j), `"fine"`) })
	}
	if err := redact(s, RedactRequest{SessionID: id, UserID: "olivia", Dots: []string{d.actor + ".1"}, Reason: "a name"}); err != nil {
		b.Fatal(err)
	}
	again := reissue(b, first.Lines[0])
	for name, op := range map[string]crdt.Op{"erased": again, "ordinary": put("items/B/remark", again.Val)} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				fill(changesMax, func(int) crdt.Op { return op })
			}
		})
	}
}
