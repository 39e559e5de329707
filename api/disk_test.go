package api_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"firemode/collections"

	"github.com/pocketbase/pocketbase/core"
)

// A disk that fills up while the bytes arrive answers 507 and keeps nothing.
// The small file system is a real one where the test may mount it.
func TestEvidenceOnAFullDisk(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	storage := filepath.Join(w.app.DataDir(), "storage")
	if err := os.MkdirAll(storage, 0o755); err != nil {
		t.Fatal(err)
	}
	if unmount, err := mountSmall(storage); err != nil {
		t.Logf("no small file system here (%v); the write error is injected", err)
		w.failEvidence(syscall.ENOSPC)
	} else {
		t.Cleanup(func() {
			if err := unmount(); err != nil {
				t.Errorf("unmount: %v", err)
			}
		})
	}
	a := w.upload("inspector", "full-0001", pngOf(t, 1)+strings.Repeat("x", 1<<20)).want(507)
	if a.member("retryable") != true {
		t.Errorf("got %s, want it retryable", a.body)
	}
	w.nothingStored()
}

// The disk may also be full when the record is written.
func TestEvidenceWhenTheWriteFails(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		err    error
		status int
	}{
		"no space": {syscall.ENOSPC, 507},
		"quota":    {syscall.EDQUOT, 507},
		"damage":   {syscall.EIO, 500},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.failEvidence(fmt.Errorf("write %s/data.db: %w", w.app.DataDir(), row.err))
			w.upload("inspector", "fail-0001", pngOf(t, 1)).want(row.status)
			w.nothingStored()
		})
	}
}

// failEvidence makes the commit of every evidence record fail.
func (w *world) failEvidence(failure error) {
	w.app.OnRecordCreateExecute(collections.Evidence).BindFunc(func(e *core.RecordEvent) error {
		if err := e.Next(); err != nil {
			return err
		}
		return failure
	})
}

func (w *world) nothingStored() {
	w.t.Helper()
	if got := w.stored(); len(got) != 0 {
		w.t.Errorf("files: got %v, want none", got)
	}
	for _, name := range []string{collections.Evidence, collections.IdempotencyKeys} {
		if n, err := w.app.CountRecords(name); err != nil || n != 0 {
			w.t.Errorf("%s: got %d records (%v), want none", name, n, err)
		}
	}
}

// A database that cannot grow refuses writes with 507, keeps answering reads and
// takes writes again once there is room.
func TestResultsOnAFullDisk(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	pragma := func(text string) {
		if _, err := w.app.NonconcurrentDB().NewQuery("PRAGMA " + text).Execute(); err != nil {
			t.Fatal(err)
		}
	}
	big := map[string]any{"changes": []any{set("/items/FE-001/remark", strings.Repeat("x", 10_000))}}
	pragma("max_page_count = 1") // SQLite takes the present size as the least
	status := 0
	for i := 0; i < 20 && status != 507; i++ { // the first ones fit into free pages
		status = w.results("inspector", fmt.Sprintf("disk-%04d", i), big).status
	}
	if status != 507 {
		t.Fatalf("a database that cannot grow: got %d, want 507", status)
	}
	w.do(request{method: "GET", path: "/v1/tests/sessions/" + w.session, as: "inspector"}).want(200)
	pragma("max_page_count = 1000000")
	w.results("inspector", "disk-again", big).want(200)
}
