package merge

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"firemode/internal/testapp"

	"github.com/pocketbase/pocketbase/core"

	"github.com/pocketbase/dbx"
)

// recordSeq is the position that the session's record shows.
func recordSeq(t *testing.T, app core.App, id string) (n int64) {
	t.Helper()
	if err := app.DB().NewQuery("SELECT server_seq FROM test_sessions WHERE id = {:id}").Bind(map[string]any{"id": id}).Row(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// large is a running service that takes every record for a large one.
func large(t *testing.T, app core.App, interval time.Duration) *Service {
	t.Helper()
	s := New(app, Config{})
	s.showInlineMax, s.showInterval = 1, interval
	if err := s.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return s
}

func note(i int) Change {
	return Change{Op: OpAppend, Path: "notes", Value: fmt.Appendf(nil, `"note %d"`, i)}
}

func TestLargeRecordsArePutOffAndReadsAreNot(t *testing.T) {
	t.Parallel()
	app := testapp.New(t)
	id := session(t, app)
	s := large(t, app, time.Hour)
	for i := range 5 {
		change(t, s, ChangeRequest{SessionID: id, UserID: "anna", Changes: []Change{note(i)}})
		d := read(t, s, id)
		if d.ServerSeq != int64(i+1) || !strings.Contains(string(d.Data), fmt.Sprintf(`"note %d"`, i)) || !strings.Contains(string(d.VectorClock), fmt.Sprint(i+1)) {
			t.Errorf("document after %d: got position %d, %s", i+1, d.ServerSeq, d.Data)
		}
		sound(t, s, id)
	}
	if got := recordSeq(t, app, id); got != 1 {
		t.Errorf("record: got position %d, want it put off at 1", got)
	}
	s.Stop()
	if got := recordSeq(t, app, id); got != 5 {
		t.Errorf("record after Stop: got position %d, want 5", got)
	}
	sound(t, s, id)
}

func TestPutOffRecordsCatchUp(t *testing.T) {
	t.Parallel()
	app := testapp.New(t)
	id := session(t, app)
	s := large(t, app, time.Hour)
	for i := range 3 {
		change(t, s, ChangeRequest{SessionID: id, UserID: "anna", Changes: []Change{note(i)}})
	}
	// As if the process had ended here: what was put off can not be written.
	exec := func(sql string) {
		t.Helper()
		if _, err := app.NonconcurrentDB().NewQuery(sql).Execute(); err != nil {
			t.Fatal(err)
		}
	}
	exec("CREATE TRIGGER no_room BEFORE UPDATE ON test_sessions BEGIN SELECT RAISE(ABORT, 'no room'); END")
	s.Stop()
	exec("DROP TRIGGER no_room")
	if got := recordSeq(t, app, id); got != 1 {
		t.Fatalf("record: got position %d, want 1", got)
	}
	again := large(t, app, 20*time.Millisecond)
	eventually(t, "the record to catch up", func() bool { return recordSeq(t, app, id) == 3 })
	// And while running, without a further write.
	for i := range 3 {
		change(t, again, ChangeRequest{SessionID: id, UserID: "anna", Changes: []Change{note(i)}})
	}
	eventually(t, "the record to catch up", func() bool { return recordSeq(t, app, id) == 6 })
	sound(t, again, id)
}

// A deleted session keeps its log and stops nobody.
func TestDeletedSessionDoesNotStopOthers(t *testing.T) {
	t.Parallel()
	app := testapp.New(t)
	id, other := session(t, app), session(t, app)
	s := large(t, app, 20*time.Millisecond)
	for i := range 3 {
		change(t, s, ChangeRequest{SessionID: id, UserID: "anna", Changes: []Change{note(i)}})
	}
	if _, err := app.NonconcurrentDB().NewQuery("DELETE FROM test_sessions WHERE id = {:id}").Bind(map[string]any{"id": id}).Execute(); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		change(t, s, ChangeRequest{SessionID: other, UserID: "anna", Changes: []Change{note(i)}})
	}
	eventually(t, "the other record to catch up", func() bool { return recordSeq(t, app, other) == 3 })
	if _, err := tryChange(s, ChangeRequest{SessionID: id, UserID: "anna", Changes: []Change{note(9)}}); err == nil {
		t.Error("a change of a deleted session succeeded")
	}
}

// The status stands in a row with the whole document; reading it MUST NOT touch the row.
func TestStatusIsReadFromItsIndex(t *testing.T) {
	t.Parallel()
	_, app := service(t, Config{})
	plan := func(sql string) string {
		var rows []struct {
			Detail string `db:"detail"`
		}
		if err := app.DB().NewQuery("EXPLAIN QUERY PLAN " + sql).Bind(dbx.Params{"id": "s"}).All(&rows); err != nil || len(rows) != 1 {
			t.Fatalf("explain: %v, %d steps", err, len(rows))
		}
		return rows[0].Detail
	}
	if got := plan(sqlStatus); !strings.Contains(got, "COVERING INDEX") {
		t.Errorf("plan of the status: got %q, want a covering index", got)
	}
	if got := plan(`SELECT status FROM test_sessions WHERE id = {:id}`); strings.Contains(got, "COVERING INDEX") {
		t.Errorf("the hint is not needed any more: %q", got)
	}
}
