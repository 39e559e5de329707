package merge

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"firemode/crdt"

	"github.com/pocketbase/pocketbase/core"
)

// imported imports file with s, checked before as the command does.
func imported(t testing.TB, s *Service, file []byte) ImportReport {
	t.Helper()
	want, err := s.CheckImport(context.Background(), bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.Import(context.Background(), bytes.NewReader(file), nil)
	if err != nil || got != want {
		t.Fatalf("import: got %+v (%v), want the %+v of the check", got, err, want)
	}
	return got
}

// The rows of a log with everything that import has to keep.
func logRows(t testing.TB, app core.App) (rows []string) {
	t.Helper()
	err := app.DB().NewQuery(`SELECT o.n || ' ' || a.key || ' ' || a.user || ' ' || a.device || ' ' || a.revoked || ' ' || o.recv || ' ' || o.q || ' ' || CAST(o.line AS TEXT)
		FROM crdt_ops o JOIN crdt_actors a ON a.id = o.actor ORDER BY o.doc, o.n`).Column(&rows)
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

func importEntries(t testing.TB, app core.App) (roles []string, values string) {
	t.Helper()
	var list []string
	if err := app.DB().NewQuery(`SELECT user_role FROM audit_log WHERE action = 'import'`).Column(&roles); err != nil {
		t.Fatal(err)
	}
	if err := app.DB().NewQuery(`SELECT new_values FROM audit_log WHERE action = 'import'`).Column(&list); err != nil {
		t.Fatal(err)
	}
	return roles, strings.Join(list, "\n")
}

// A server that came back from a backup gets what it lacks while another process serves the
// same database from a warm cache: the server sees it at once and goes on behind it. The
// revocation of a lost tablet comes back too, and the act is the system's in the audit log.
func TestImportBesideAServer(t *testing.T) {
	t.Parallel()
	s, app := service(t, Config{})
	id := session(t, app)
	d := newTablet(t, s, id, "anna", "ipad")
	if _, err := send(s, d.request(put("items/A/result", `"pass"`))); err != nil {
		t.Fatal(err)
	}
	backup := copied(t, app)
	if _, err := send(s, d.request(put("items/B/result", `"fail"`), put("items/B/note", `"rust"`))); err != nil {
		t.Fatal(err)
	}
	if err := app.RunInTransaction(func(tx core.App) error { _, err := RevokeActor(tx, d.actor); return err }); err != nil {
		t.Fatal(err)
	}
	if _, err := send(s, d.request(put("title", `"stolen"`))); err != nil {
		t.Fatal(err)
	}
	file := export(t, s, id)

	server := opened(t, backup)
	if n, err := server.Position(context.Background(), id); err != nil || n != 1 {
		t.Fatalf("the backup: got position %d (%v), want 1", n, err)
	}
	change(t, server, ChangeRequest{SessionID: id, UserID: "ben", Device: "phone", Changes: []Change{set("items/C/result", `"pass"`)}})
	command := opened(t, backup)
	if got, want := imported(t, command, file), (ImportReport{Sessions: 1, Ops: 4, Added: 3, Revoked: 1}); got != want {
		t.Errorf("import: got %+v, want %+v", got, want)
	}
	if data := read(t, server, id).Data; !bytes.Contains(data, []byte("rust")) || bytes.Contains(data, []byte("stolen")) {
		t.Errorf("the server after the import: got %s", data)
	}
	if r := change(t, server, ChangeRequest{SessionID: id, UserID: "ben", Device: "phone", Changes: []Change{set("items/D/result", `"pass"`)}}); r.ServerSeq != 6 {
		t.Errorf("the server's next position: got %d, want 6", r.ServerSeq)
	}
	if ack, err := send(server, d.request(put("title", `"again"`))); err != nil || !ack.Quarantined {
		t.Errorf("the revoked tablet: got %+v (%v), want it in quarantine", ack, err)
	}
	if got := imported(t, command, file); got.Added+int64(got.Revoked) != 0 {
		t.Errorf("a second time: got %+v, want nothing to do", got)
	}
	for _, service := range []*Service{server, command} {
		sound(t, service, id)
	}
	roles, values := importEntries(t, server.app)
	if len(roles) != 1 || roles[0] != "system" || !strings.Contains(values, d.actor) {
		t.Errorf("audit: got %q, %s, want one entry of the system that names %s", roles, values, d.actor)
	}
}

// An import that was stopped between two transactions goes on when it is repeated; the log
// is then the source's, row for row.
func TestImportGoesOnWhereItStopped(t *testing.T) {
	t.Parallel()
	s, app := service(t, Config{})
	id := session(t, app)
	backup := copied(t, app)
	for i := range 3 {
		var changes []Change
		for j := range 700 {
			changes = append(changes, note(i*700+j))
		}
		change(t, s, ChangeRequest{SessionID: id, UserID: fmt.Sprint("user", i), Changes: changes})
	}
	file := export(t, s, id)
	back := opened(t, backup)
	ctx, stop := context.WithCancel(context.Background())
	part, err := back.Import(ctx, bytes.NewReader(file), func(ImportReport) { stop() })
	if !errors.Is(err, context.Canceled) || part.Added != importChunk {
		t.Fatalf("stopped: got %+v (%v), want %d operations added", part, err, importChunk)
	}
	sound(t, back, id)
	if got := imported(t, back, file); got.Added != 2100-importChunk {
		t.Errorf("repeated: got %+v, want %d added", got, 2100-importChunk)
	}
	if got, want := sound(t, back, id), sound(t, s, id); got != want {
		t.Errorf("verify: got %+v, want %+v", got, want)
	}
	got, want := logRows(t, back.app), logRows(t, app)
	if len(got) != len(want) {
		t.Fatalf("rows: got %d, want %d", len(got), len(want))
	}
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("row %d: got %s, want %s", i, got[i], want[i])
		}
	}
	if again := export(t, back, id); !bytes.Equal(again, file) {
		t.Error("exported again: got other bytes")
	}
}

// Quarantine and admissions survive: the imported document is the source's.
func TestImportKeepsQuarantine(t *testing.T) {
	t.Parallel()
	s, app := service(t, Config{})
	id := session(t, app)
	backup := copied(t, app)
	d := revoked(t, s, app, id)
	err := s.Do(context.Background(), func(b *Batch) error {
		_, err := b.Admit(AdmitRequest{SessionID: id, UserID: "mia", Device: "desk", Dots: []string{d.actor + ".3"}, Reason: "seen on site"})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	back := opened(t, backup)
	imported(t, back, export(t, s, id))
	want, err := s.Quarantine(context.Background(), id, 0, 0)
	if err != nil || len(want) != 1 {
		t.Fatalf("quarantine: got %+v (%v), want one operation", want, err)
	}
	if got, err := back.Quarantine(context.Background(), id, 0, 0); err != nil || len(got) != 1 || got[0].Dot != want[0].Dot || got[0].N != want[0].N {
		t.Errorf("quarantine: got %+v (%v), want %+v", got, err, want)
	}
	if got, want := sound(t, back, id), sound(t, s, id); got != want {
		t.Errorf("verify: got %+v, want %+v", got, want)
	}
}

// A restored server that goes on, and the log of the one that was lost, come together: nobody
// writes to both under one actor, and the lost server's results are added.
func TestImportAfterARestore(t *testing.T) {
	t.Parallel()
	s, app := service(t, Config{})
	id := session(t, app)
	write := func(s *Service, value string) {
		change(t, s, ChangeRequest{SessionID: id, UserID: "anna", Device: "desk", Changes: []Change{{Op: OpAppend, Path: "notes/log", Value: []byte(value)}}})
	}
	write(s, `"before"`)
	backup := copied(t, app)
	write(s, `"lost"`)
	file := export(t, s, id)
	back := opened(t, backup)
	write(back, `"after"`)
	if _, err := back.CheckImport(context.Background(), bytes.NewReader(file)); err != nil {
		t.Fatal(err)
	}
	if report, err := back.Import(context.Background(), bytes.NewReader(file), nil); err != nil || report.Added != 1 {
		t.Errorf("import: got %+v (%v), want one operation added", report, err)
	}
	write(back, `"later"`)
	for _, value := range []string{"before", "lost", "after", "later"} {
		if data := string(read(t, back, id).Data); !strings.Contains(data, value) {
			t.Errorf("%s is missing in %s", value, data)
		}
	}
	list, err := back.History(context.Background(), id, "notes/log", 0, 0)
	if err != nil || len(list) != 4 || list[0].Device != "desk" || list[3].Device != "desk" {
		t.Errorf("history: got %+v (%v), want four of the desk", list, err)
	}
	sound(t, back, id)
}

// A tablet that was restored and went on under the same author, on a server that was: the log
// holds another operation of the same number. The fork is named, and nothing of the file is
// written, sessions included that have none.
func TestImportRefusesAFork(t *testing.T) {
	t.Parallel()
	s, app := service(t, Config{})
	good, forked := session(t, app), session(t, app)
	tab := newTablet(t, s, forked, "anna", "ipad")
	if _, err := send(s, tab.request(put("title", `"A"`))); err != nil {
		t.Fatal(err)
	}
	self := *tab
	backup := copied(t, app)
	if _, err := send(s, tab.request(put("title", `"B"`))); err != nil {
		t.Fatal(err)
	}
	change(t, s, ChangeRequest{SessionID: good, UserID: "ben", Changes: []Change{set("title", `"fine"`)}})
	file := append(export(t, s, good), export(t, s, forked)...)
	back := opened(t, backup)
	if _, err := send(back, self.request(put("title", `"C"`))); err != nil {
		t.Fatal(err)
	}
	before := logRows(t, back.app)
	var fork *crdt.ForkError
	if _, err := back.CheckImport(context.Background(), bytes.NewReader(file)); !errors.As(err, &fork) || fork.Dot.Seq != 2 {
		t.Errorf("check: got %v, want a fork at the second operation", err)
	}
	// Past the check, as when the fork comes about in between: that session is left alone.
	fork = nil
	if _, err := back.Import(context.Background(), bytes.NewReader(export(t, s, forked)), nil); !errors.As(err, &fork) || fork.Dot.Seq != 2 {
		t.Errorf("import: got %v, want a fork at the second operation", err)
	}
	if after := logRows(t, back.app); strings.Join(after, "\n") != strings.Join(before, "\n") {
		t.Errorf("log: got %q, want %q", after, before)
	}
	sound(t, back, forked)
}
