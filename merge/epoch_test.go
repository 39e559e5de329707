package merge

import (
	"archive/zip"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"firemode/crdt"
	"firemode/internal/sqlite"

	"github.com/pocketbase/pocketbase/core"
)

// opened is a service on an existing data directory.
func opened(t *testing.T, dir string) *Service {
	t.Helper()
	app := core.NewBaseApp(core.BaseAppConfig{DataDir: dir, DBConnect: sqlite.Connect})
	Register(app)
	if err := app.Bootstrap(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = app.OnTerminate().Trigger(&core.TerminateEvent{App: app}, func(e *core.TerminateEvent) error { return e.App.ResetBootstrapState() })
	})
	s := New(app, Config{})
	if err := s.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return s
}

// copied is a backup of the app's directory as it lies on disk.
func copied(t *testing.T, app core.App) string {
	t.Helper()
	if _, err := app.NonconcurrentDB().NewQuery("PRAGMA wal_checkpoint(TRUNCATE)").Execute(); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "data")
	if err := os.CopyFS(dir, os.DirFS(app.DataDir())); err != nil {
		t.Fatal(err)
	}
	return dir
}

// The epoch outlives a restart, and changes when the database is a copy, came back without
// its marker, or the marker was removed.
func TestEpochChangesWithTheDatabase(t *testing.T) {
	t.Parallel()
	s, app := service(t, Config{})
	first := s.Epoch()
	again := func() string {
		t.Helper()
		s.Stop()
		if err := s.Start(context.Background()); err != nil {
			t.Fatal(err)
		}
		return s.Epoch()
	}
	if got := again(); first == "" || got != first {
		t.Errorf("after a restart: got %q, want %q", got, first)
	}
	if got := opened(t, copied(t, app)).Epoch(); got == "" || got == first {
		t.Errorf("of a copy: got %q, want another than %q", got, first)
	}
	if err := os.Remove(filepath.Join(app.DataDir(), epochMarker)); err != nil {
		t.Fatal(err)
	}
	second := again()
	if second == first {
		t.Error("without the marker: got the same epoch")
	}
	if got := again(); got != second {
		t.Errorf("after another restart: got %q, want %q", got, second)
	}
	if err := app.CreateBackup(context.Background(), "one.zip"); err != nil {
		t.Fatal(err)
	}
	archive, err := zip.OpenReader(filepath.Join(app.DataDir(), core.LocalBackupsDirName, "one.zip"))
	if err != nil {
		t.Fatal(err)
	}
	defer archive.Close()
	names := ""
	for _, f := range archive.File {
		names += f.Name + " "
	}
	if strings.Contains(names, epochMarker) || !strings.Contains(names, "data.db") {
		t.Errorf("backup holds %s", names)
	}
}

// Two devices fill a server that came back from a backup again, each with everything it
// has; nothing acknowledged is lost.
func TestDevicesRefillARestoredServer(t *testing.T) {
	t.Parallel()
	s, app := service(t, Config{})
	id := session(t, app)
	type device struct {
		*tablet
		lines [][]byte
	}
	var devices []*device
	write := func(d *device, ops ...crdt.Op) {
		t.Helper()
		req := d.request(ops...)
		if _, err := send(s, req); err != nil {
			t.Fatal(err)
		}
		d.lines = append(d.lines, req.Lines...)
	}
	for _, user := range []string{"anna", "ben"} {
		d := &device{tablet: newTablet(t, s, id, user, "ipad")}
		devices = append(devices, d)
		write(d, put("items/"+user+"/result", `"pass"`))
	}
	backup := copied(t, app)
	write(devices[1], put("title", `"B"`))
	write(devices[0], put("title", `"A"`, crdt.Dot{Actor: devices[1].actor, Seq: 2}), put("items/X/result", `"fail"`))
	want, err := s.State(context.Background(), id)
	if err != nil {
		t.Fatal(err)
	}

	back := opened(t, backup)
	if back.Epoch() == s.Epoch() {
		t.Fatal("the devices cannot tell the restored server from the one they know")
	}
	refill := func(d *device) error {
		_, err := send(back, SyncRequest{
			SessionID: id, UserID: d.user, Actor: d.actor, Prev: crdt.ChainStart(id, d.actor), Head: d.chain, Lines: d.lines,
		})
		return err
	}
	// The first has seen something of the second's that the log lacks: it asks, and comes again.
	if err := refill(devices[0]); err == nil {
		t.Error("an operation was taken without what it has seen")
	}
	for _, d := range []*device{devices[1], devices[0]} {
		if err := refill(d); err != nil {
			t.Fatal(err)
		}
	}
	got, err := back.State(context.Background(), id)
	if err != nil || got.Digest != want.Digest {
		t.Errorf("refilled: got %+v (%v), want %+v", got, err, want)
	}
	sound(t, back, id)
}
