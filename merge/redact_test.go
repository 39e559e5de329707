package merge

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"firemode/collections"
	"firemode/crdt"

	"github.com/pocketbase/dbx"
	"github.com/pocketbase/pocketbase/core"
)

// secret is what nobody may find afterwards: long enough to spill into pages of its own.
var secret = strings.Repeat("Jane Citizen, unit 7. ", 300)

func redact(s *Service, req RedactRequest) error {
	return s.Do(context.Background(), func(b *Batch) error {
		_, err := b.Redact(req)
		return err
	})
}

// redactable is a session with a name in a remark, seen and replaced by another tablet, in
// quarantine, and in a snapshot.
func redactable(t *testing.T, s *Service, app core.App) (id string, dots []string) {
	t.Helper()
	s.snapEveryOps = 1
	id = session(t, app)
	d := newTablet(t, s, id, "anna", "ipad")
	first := d.request(put("items/A/remark", `"`+secret+`1"`), put("items/A/result", `"pass"`))
	if _, err := send(s, first); err != nil {
		t.Fatal(err)
	}
	other := newTablet(t, s, id, "ben", "phone")
	if _, err := send(s, other.request(put("items/A/remark", `"`+secret+`2"`, crdt.Dot{Actor: d.actor, Seq: 1}))); err != nil {
		t.Fatal(err)
	}
	if err := app.RunInTransaction(func(tx core.App) error { _, err := RevokeActor(tx, d.actor); return err }); err != nil {
		t.Fatal(err)
	}
	if _, err := send(s, d.request(put("items/B/remark", `"`+secret+`3"`))); err != nil {
		t.Fatal(err)
	}
	// The writer makes a snapshot when it has time, and in any case at the end.
	s.Stop()
	if err := s.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	var snapshots int
	if err := app.DB().NewQuery("SELECT count(*) FROM crdt_snaps").Row(&snapshots); err != nil || snapshots == 0 {
		t.Fatalf("got %d snapshots (%v), want the values in one", snapshots, err)
	}
	return id, []string{d.actor + ".1", other.actor + ".1", d.actor + ".3"}
}

// underHold is evidence of the session under legal hold.
func underHold(t *testing.T, app core.App, id string) *core.Record {
	t.Helper()
	return save(t, app, collections.Evidence, map[string]any{
		"session_id": id, "evidence_type": "photo", "checksum": strings.Repeat("a", 64), "size": 1, "media_type": "image/png", "legal_hold": true, "retain_until": "2040-01-01 00:00:00.000Z",
	})
}

// An erased value is nowhere in the database, and everything else holds: chains, digest,
// what a replica computes that had the value, and one that never had it.
func TestRedaction(t *testing.T) {
	t.Parallel()
	s, app := service(t, Config{})
	id, dots := redactable(t, s, app)
	before := replica(t, s, id)
	if !found(t, app, "Jane Citizen") {
		t.Fatal("the value is not found while it is there: the search finds nothing")
	}
	req := RedactRequest{SessionID: id, UserID: "olivia", Dots: dots, Reason: "a name, on request of its bearer"}
	if err := redact(s, req); err != nil {
		t.Fatal(err)
	}
	r := sound(t, s, id)
	if found(t, app, "Jane Citizen") {
		t.Error("the value is still in the database file")
	}
	if got := read(t, s, id); strings.Contains(string(got.Data), "Jane") || !strings.Contains(string(got.Data), `{"$redacted":"`) {
		t.Errorf("document: got %.300s", got.Data)
	}
	state, err := s.State(context.Background(), id)
	if err != nil || state.Digest != r.Digest || replica(t, s, id).Digest() != digestOf(t, state) {
		t.Errorf("a replica that never had the values differs from the server at %d (%v)", state.ServerSeq, err)
	}
	rows, err := s.Ops(context.Background(), id, int64(before.Ops()), 0)
	if err != nil || len(rows) != 1 {
		t.Fatalf("got %d rows (%v), want the redaction", len(rows), err)
	}
	op, err := crdt.ParseOp(rows[0].Line)
	if err != nil || apply(before, &op, 0) != nil || before.Redact(op.Seen...) != nil || before.Digest() != digestOf(t, state) {
		t.Errorf("a replica that had the values differs from the server (%v)", err)
	}
	history, err := s.History(context.Background(), id, "items/A/remark", 0, 0)
	if err != nil || len(history) != 2 || !history[0].Redacted || !history[0].Live || history[1].Live || history[0].UserID != "ben" {
		t.Errorf("history: got %+v (%v)", history, err)
	}
	var file bytes.Buffer
	if _, err := s.Export(context.Background(), id, &file); err != nil || strings.Contains(file.String(), "Jane") {
		t.Errorf("export: holds the value, or %v", err)
	}
	if err := ReadLogFile(bytes.NewReader(file.Bytes()), LogVisitor{}); err != nil {
		t.Errorf("the exported file: %v", err)
	}
	// A device that never heard of it sends again what it has sent: no fork.
	again := &tablet{session: id, user: "ben", actor: strings.TrimSuffix(dots[1], ".1")}
	again.chain = crdt.ChainStart(id, again.actor)
	d := again.request(put("items/A/remark", `"`+secret+`2"`, mustDot(t, dots[0])))
	if ack, err := send(s, d); err != nil || ack.Duplicates != 1 {
		t.Errorf("sent again: got %+v (%v), want a duplicate", ack, err)
	}
}

func mustDot(t testing.TB, text string) crdt.Dot {
	t.Helper()
	dot, ok := crdt.ParseDot(text)
	if !ok {
		t.Fatalf("%s is no dot", text)
	}
	return dot
}

// found looks for text in the bytes of the database file, once its log is empty.
func found(t testing.TB, app core.App, text string) bool {
	t.Helper()
	if _, err := app.NonconcurrentDB().NewQuery("PRAGMA wal_checkpoint(TRUNCATE)").Execute(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"data.db", "data.db-wal"} {
		raw, err := os.ReadFile(filepath.Join(app.DataDir(), name))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		if bytes.Contains(raw, []byte(text)) {
			return true
		}
	}
	return false
}

func TestRedactionIsRefused(t *testing.T) {
	t.Parallel()
	s, app := service(t, Config{})
	id, dots := redactable(t, s, app)
	res := change(t, s, ChangeRequest{SessionID: id, UserID: "olivia", Changes: []Change{
		{Op: OpInc, Path: "count", Value: []byte("2")}, set("impairment", "true"), {Op: OpAppend, Path: "signoffs/officer", Value: []byte(`{"statement":"all well"}`)},
	}})
	good := RedactRequest{SessionID: id, UserID: "olivia", Dots: dots[:1], Reason: "a name"}
	for name, row := range map[string]struct {
		change func(*RedactRequest)
		want   string
	}{
		"no reason":     {func(r *RedactRequest) { r.Reason = " " }, "/reason"},
		"long reason":   {func(r *RedactRequest) { r.Reason = strings.Repeat("x", ReasonMaxBytes+1) }, "/reason"},
		"nothing":       {func(r *RedactRequest) { r.Dots = nil }, "/dots"},
		"unknown":       {func(r *RedactRequest) { r.Dots = []string{"zzzzzzzzzzzz.1"} }, "no such operation"},
		"no dot":        {func(r *RedactRequest) { r.Dots = []string{dots[0], "x"} }, "/dots/1"},
		"a count":       {func(r *RedactRequest) { r.Dots = res.Ops[:1] }, "no value"},
		"a sign-off":    {func(r *RedactRequest) { r.Dots = res.Ops[2:] }, "a sign-off"},
		"a hazard":      {func(r *RedactRequest) { r.Dots = res.Ops[1:2] }, "decides how its field is read"},
		"many":          {func(r *RedactRequest) { r.Dots = make([]string, redactMax+1) }, "more than 100"},
		"other session": {func(r *RedactRequest) { r.SessionID = "0199a3f2-b1c4-7000-8000-000000000000" }, "no such test session"},
	} {
		r := good
		row.change(&r)
		if err := redact(s, r); err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: got %v, want %q", name, err, row.want)
		}
	}
	if _, err := tryChange(s, ChangeRequest{SessionID: id, UserID: "olivia", Changes: []Change{set(RedactedPath, `"x"`, dots[0])}}); !errors.Is(err, ErrInvalid) {
		t.Errorf("a simple change at %s: got %v, want refusal", RedactedPath, err)
	}
	// One that a device made by itself is kept without effect, whoever sends it.
	d := newTablet(t, s, id, "olivia", "laptop")
	own := d.request(put(RedactedPath, `"x"`, mustDot(t, dots[0])))
	own.Supervisor = true
	if ack, err := send(s, own); err != nil || !ack.Quarantined {
		t.Errorf("a device's own: got %+v (%v), want quarantine", ack, err)
	}
	if err := admit(s, AdmitRequest{SessionID: id, UserID: "boss", Dots: []string{d.actor + ".1"}, Reason: "seen"}); !errors.Is(err, ErrInvalid) {
		t.Errorf("admitted: got %v, want refusal: it would erase nothing", err)
	}
	// So is a removal there: it would hide that something was erased.
	hides := d.request(crdt.Op{Kind: crdt.Rem, Path: RedactedPath, Seen: []crdt.Dot{{Actor: d.actor, Seq: 1}}})
	hides.Supervisor = true
	if ack, err := send(s, hides); err != nil || !ack.Quarantined {
		t.Errorf("a device's removal: got %+v (%v), want quarantine", ack, err)
	}
	if !strings.Contains(string(read(t, s, id).Data), "Jane") {
		t.Error("a refused redaction has erased something")
	}
	hold := underHold(t, app, id)
	if err := redact(s, good); !errors.Is(err, ErrLegalHold) {
		t.Errorf("under legal hold: got %v, want %v", err, ErrLegalHold)
	}
	hold.Set("legal_hold", false)
	if err := app.Save(hold); err != nil {
		t.Fatal(err)
	}
	if err := redact(s, good); err != nil {
		t.Errorf("after the hold: %v", err)
	}
	if err := redact(s, good); err == nil || !strings.Contains(err.Error(), "erased already") {
		t.Errorf("twice: got %v", err)
	}
	sound(t, s, id)
}

// The database refuses every other change of a row, and verify finds what got past it.
func TestRedactionOnlyThroughTheLog(t *testing.T) {
	t.Parallel()
	s, app := service(t, Config{})
	id, dots := redactable(t, s, app)
	if err := redact(s, RedactRequest{SessionID: id, UserID: "olivia", Dots: dots[:1], Reason: "a name"}); err != nil {
		t.Fatal(err)
	}
	exec := func(sql string) error {
		_, err := app.NonconcurrentDB().NewQuery(sql).Execute()
		return err
	}
	for _, sql := range []string{
		"UPDATE crdt_ops SET q = q | 32, line = x'00' WHERE n = 3", "UPDATE crdt_ops SET q = 0 WHERE n = 1", "UPDATE crdt_ops SET line = x'00' WHERE n = 1",
		"UPDATE crdt_redactions SET by_n = 1", "DELETE FROM crdt_redactions",
	} {
		if err := exec(sql); err == nil {
			t.Errorf("%s: done, want it refused", sql)
		}
	}
	sound(t, s, id)
	// What somebody erases by hand, having noted it, is no operation of the log.
	if err := exec("INSERT INTO crdt_redactions (doc, n, by_n) SELECT doc, 3, 5 FROM crdt_redactions"); err != nil {
		t.Fatal(err)
	}
	var line []byte
	if err := app.DB().NewQuery("SELECT line FROM crdt_ops WHERE n = 3").Row(&line); err != nil {
		t.Fatal(err)
	}
	op, err := crdt.ParseOp(line)
	if err != nil {
		t.Fatal(err)
	}
	stub, _ := op.Redact()
	if _, err := app.NonconcurrentDB().NewQuery("UPDATE crdt_ops SET q = q | 32, line = {:line} WHERE n = 3").Bind(dbx.Params{"line": stub}).Execute(); err != nil {
		t.Fatal(err)
	}
	r, err := s.Verify(context.Background(), id)
	if err != nil || r.Finding == nil || !strings.Contains(r.Finding.Reason, "no operation erases it") {
		t.Errorf("got %+v (%v), want the value found missing", r.Finding, err)
	}
	if err := exec("DROP TRIGGER crdt_ops_no_update"); err != nil {
		t.Fatal(err)
	}
	// And a value put back is found as well.
	if _, err := app.NonconcurrentDB().NewQuery("UPDATE crdt_ops SET q = q & ~32, line = {:line} WHERE n = 3").Bind(dbx.Params{"line": line}).Execute(); err != nil {
		t.Fatal(err)
	}
	sound(t, s, id)
	if err := exec("UPDATE crdt_ops SET q = q & ~32, hash = zeroblob(32) WHERE n = 1"); err != nil {
		t.Fatal(err)
	}
	if r, err := s.Verify(context.Background(), id); err != nil || r.Finding == nil || r.Finding.N != 1 {
		t.Errorf("got %+v (%v), want the first operation", r.Finding, err)
	}
}

// A log with erased values moves to another server as it is, and erases them there too where
// they came before.
func TestRedactionIsImported(t *testing.T) {
	t.Parallel()
	s, app := service(t, Config{})
	id, dots := redactable(t, s, app)
	older := export(t, s, id)
	if err := redact(s, RedactRequest{SessionID: id, UserID: "olivia", Dots: dots, Reason: "a name"}); err != nil {
		t.Fatal(err)
	}
	newer, want := export(t, s, id), sound(t, s, id)
	for name, files := range map[string][][]byte{"erased only": {newer}, "first the values": {older, newer}, "afterwards the values": {newer, older}} {
		other, otherApp := service(t, Config{})
		here := session(t, otherApp)
		if _, err := otherApp.NonconcurrentDB().Update(collections.TestSessions, dbx.Params{"id": id}, dbx.HashExp{"id": here}).Execute(); err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if _, err := other.CheckImport(context.Background(), bytes.NewReader(file)); err != nil {
				t.Fatalf("%s: check: %v", name, err)
			}
			if _, err := other.Import(context.Background(), bytes.NewReader(file), nil); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		if got := sound(t, other, id); got.Digest != want.Digest || found(t, otherApp, "Jane") {
			t.Errorf("%s: got digest %s, want %s, and no value", name, got.Digest, want.Digest)
		}
	}
}

// Under legal hold a file that erases a value here is refused before anything of it is stored;
// one whose values were erased before they came is not.
func TestImportKeepsTheHold(t *testing.T) {
	t.Parallel()
	s, app := service(t, Config{})
	id, dots := redactable(t, s, app)
	older := export(t, s, id)
	if err := redact(s, RedactRequest{SessionID: id, UserID: "olivia", Dots: dots, Reason: "a name"}); err != nil {
		t.Fatal(err)
	}
	newer := export(t, s, id)
	for name, held := range map[string]bool{"the values are here": true, "nothing is here": false} {
		other, otherApp := service(t, Config{})
		if _, err := otherApp.NonconcurrentDB().Update(collections.TestSessions, dbx.Params{"id": id}, dbx.HashExp{"id": session(t, otherApp)}).Execute(); err != nil {
			t.Fatal(err)
		}
		if held {
			if _, err := other.Import(context.Background(), bytes.NewReader(older), nil); err != nil {
				t.Fatal(err)
			}
		}
		underHold(t, otherApp, id)
		_, err := other.CheckImport(context.Background(), bytes.NewReader(newer))
		if errors.Is(err, ErrLegalHold) != held {
			t.Errorf("%s: check: got %v, held: %t", name, err, held)
		}
		// A hold that comes after the check is kept too.
		if _, err := other.Import(context.Background(), bytes.NewReader(newer), nil); errors.Is(err, ErrLegalHold) != held {
			t.Errorf("%s: import: got %v, held: %t", name, err, held)
		}
		if r := sound(t, other, id); held != found(t, otherApp, "Jane") || r.Ops == 0 {
			t.Errorf("%s: the values are here: %t, want %t (%d operations)", name, !held, held, r.Ops)
		}
	}
}
