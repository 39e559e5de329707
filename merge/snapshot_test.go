package merge

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"firemode/internal/testapp"

	"github.com/pocketbase/pocketbase/core"
)

// snapshotAt returns the position of the session's only snapshot, 0 when there is none.
func snapshotAt(t *testing.T, app core.App) (n int64) {
	t.Helper()
	if err := app.DB().NewQuery("SELECT coalesce(max(n), 0) FROM crdt_snaps").Row(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestSnapshotsSaveReadingTheLog(t *testing.T) {
	t.Parallel()
	app := testapp.New(t)
	id := session(t, app)
	s := New(app, Config{})
	s.snapEveryOps = 3
	if err := s.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	for i := range 8 {
		change(t, s, ChangeRequest{SessionID: id, UserID: "anna", Changes: []Change{note(i)}})
	}
	s.Stop()
	if got := snapshotAt(t, app); got != 8 {
		t.Fatalf("snapshot: got position %d, want 8", got)
	}
	want := sound(t, s, id)
	load := func() (d *document) {
		t.Helper()
		ctx := context.Background()
		at, err := s.position(ctx, id)
		if err == nil {
			d, err = loadDocument(ctx, s, id, at)
		}
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	if err := s.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	change(t, s, ChangeRequest{SessionID: id, UserID: "ben", Changes: []Change{note(8)}})
	d := load()
	if d.snapped != 8 || d.n != 9 || !bytes.Equal(d.state.Materialise(s.schema), read(t, s, id).Data) {
		t.Errorf("loaded: got position %d from snapshot %d, want 9 from 8 and the same document", d.n, d.snapped)
	}
	// A damaged snapshot costs time, and Verify tells.
	if _, err := app.NonconcurrentDB().NewQuery("UPDATE crdt_snaps SET state = CAST(replace(CAST(state AS TEXT), 'note 3', 'note 4') AS BLOB)").Execute(); err != nil {
		t.Fatal(err)
	}
	if d = load(); d.snapped != 0 || d.n != 9 || !bytes.Equal(d.state.Materialise(s.schema), read(t, s, id).Data) {
		t.Errorf("loaded past a damaged snapshot: got position %d from snapshot %d, want 9 from none", d.n, d.snapped)
	}
	r, err := s.Verify(context.Background(), id)
	if err != nil || r.Finding == nil || r.Finding.N != 8 || !strings.Contains(r.Finding.Reason, "snapshot") {
		t.Errorf("verify: got %+v (%v), want the snapshot at 8", r.Finding, err)
	}
	if want.Ops != 8 {
		t.Errorf("operations: got %d, want 8", want.Ops)
	}
}

func loadDocument(ctx context.Context, s *Service, id string, at position) (*document, error) {
	return load(ctx, s.app.ConcurrentDB(), id, at)
}
