package evidence_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"firemode/collections"
	"firemode/evidence"
	"firemode/internal/testapp"

	"github.com/pocketbase/pocketbase/core"
)

// A process that dies after placing and before its commit leaves a staged file
// and a placed one. Both go; committed evidence of the same bytes stays.
func TestSweepRemovesWhatWasNeverCommitted(t *testing.T) {
	t.Parallel()
	app, content := testapp.New(t), picture(t)
	kept, err := evidence.Stage(app, bytes.NewReader(content), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	r := record(t, app)
	if err := app.RunInTransaction(func(tx core.App) error { return kept.Save(tx, r) }); err != nil {
		t.Fatal(err)
	}
	kept.Discard()
	dead, err := evidence.Stage(app, bytes.NewReader(content), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	c, err := app.FindCollectionByNameOrId(collections.Evidence)
	if err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(app.DataDir(), "storage", c.Id, "01930b5e-7a00-7000-8000-00000000dead")
	if err := os.Mkdir(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	staged, err := filepath.Glob(filepath.Join(app.DataDir(), "storage", ".evidence-staging", "*"))
	if err != nil || len(staged) != 1 {
		t.Fatalf("staged: got %v (%v), want the abandoned one", staged, err)
	}
	if err := os.Link(staged[0], filepath.Join(folder, dead.Name())); err != nil {
		t.Fatal(err)
	}
	// Equal bytes of another upload that waits for its commit are not touched.
	waiting := filepath.Join(app.DataDir(), "storage", c.Id, "01930b5e-7a00-7000-8000-00000000beef")
	if err := os.Mkdir(waiting, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(waiting, dead.Name()), content, 0o444); err != nil {
		t.Fatal(err)
	}
	if n, err := evidence.Sweep(t.Context(), app, time.Now()); err != nil || n != 0 {
		t.Errorf("a young upload: removed %d (%v), want none", n, err)
	}
	if n, err := evidence.Sweep(t.Context(), app, time.Now().Add(2*time.Hour)); err != nil || n != 1 {
		t.Errorf("an abandoned upload: removed %d (%v), want 1", n, err)
	}
	for _, want := range []string{filepath.Join(app.DataDir(), "storage", c.Id, r.Id), waiting} {
		if _, err := os.Stat(filepath.Join(want, dead.Name())); err != nil {
			t.Errorf("committed or waiting bytes are gone: %v", err)
		}
	}
	if got := files(t, app); len(got) != 2 {
		t.Errorf("files: got %v, want the committed and the waiting one", got)
	}
	if _, err := os.Stat(folder); !os.IsNotExist(err) {
		t.Errorf("the folder of the record that never was: %v", err)
	}
	if n, err := evidence.Sweep(t.Context(), app, time.Now().Add(2*time.Hour)); err != nil || n != 0 {
		t.Errorf("again: removed %d (%v), want none", n, err)
	}
}
