package evidence_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"image"
	"image/png"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"firemode/collections"
	"firemode/evidence"
	"firemode/internal/testapp"

	"github.com/google/uuid"
	"github.com/pocketbase/pocketbase/core"
)

func TestMain(m *testing.M) {
	code := m.Run()
	testapp.Cleanup()
	os.Exit(code)
}

func picture(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewGray(image.Rect(0, 0, 8, 8))); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// record is an unsaved evidence record of a new session.
func record(t *testing.T, app core.App) *core.Record {
	t.Helper()
	make := func(name string, values map[string]any) *core.Record {
		c, err := app.FindCollectionByNameOrId(name)
		if err != nil {
			t.Fatal(err)
		}
		r := core.NewRecord(c)
		values["id"] = uuid.Must(uuid.NewV7()).String()
		r.Load(values)
		return r
	}
	save := func(name string, values map[string]any) string {
		r := make(name, values)
		if err := app.Save(r); err != nil {
			t.Fatalf("save %s: %v", name, err)
		}
		return r.Id
	}
	org := save(collections.Organisations, map[string]any{"name": "Assured " + uuid.NewString(), "kind": "contractor"})
	building := save(collections.Buildings, map[string]any{"name": "Harbour Tower", "address": "1 Quay St", "building_type": "5", "organisation_id": org, "compliance_status": "pending"})
	session := save(collections.TestSessions, map[string]any{"building_id": building, "session_name": "Annual", "status": "active"})
	return make(collections.Evidence, map[string]any{"session_id": session, "evidence_type": "photo", "retain_until": evidence.RetainUntil(time.Now())})
}

// files lists everything below the storage folder, directories aside.
func files(t *testing.T, app core.App) (out []string) {
	t.Helper()
	_ = filepath.WalkDir(filepath.Join(app.DataDir(), "storage"), func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			out = append(out, path)
		}
		return nil
	})
	return out
}

func TestSavePlacesTheBytes(t *testing.T) {
	t.Parallel()
	app, content := testapp.New(t), picture(t)
	staged, err := evidence.Stage(app, iotest.OneByteReader(bytes.NewReader(content)), int64(len(content)))
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(content)
	if want := hex.EncodeToString(sum[:]); staged.SHA256 != want || staged.Size != int64(len(content)) || staged.MediaType != "image/png" || staged.Name() != want+".png" {
		t.Fatalf("staged: got %+v named %s, want %s of %d bytes", staged, staged.Name(), want, len(content))
	}
	r := record(t, app)
	if err := app.RunInTransaction(func(tx core.App) error { return staged.Save(tx, r) }); err != nil {
		t.Fatal(err)
	}
	staged.Discard()
	stored, err := app.FindRecordById(collections.Evidence, r.Id)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(app.DataDir(), "storage", stored.BaseFilesPath(), stored.GetString("file"))
	got, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(got, content) {
		t.Errorf("stored bytes: got %d (%v), want %d", len(got), err, len(content))
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o444 {
		t.Errorf("mode: got %v (%v), want 0444", info.Mode(), err)
	}
	if got := files(t, app); len(got) != 1 {
		t.Errorf("files: got %v, want the placed one alone", got)
	}
	// PocketBase serves it as one of its own files.
	token, err := superuser(t, app).NewFileToken()
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.Get(testapp.Serve(t, app) + "/api/files/evidence/" + r.Id + "/" + stored.GetString("file") + "?token=" + token)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if served, _ := io.ReadAll(res.Body); res.StatusCode != http.StatusOK || !bytes.Equal(served, content) {
		t.Errorf("GET file: got %d with %d bytes, want 200 with %d", res.StatusCode, len(served), len(content))
	}
}

func superuser(t *testing.T, app core.App) *core.Record {
	t.Helper()
	c, err := app.FindCollectionByNameOrId(collections.Superusers)
	if err != nil {
		t.Fatal(err)
	}
	r := core.NewRecord(c)
	r.SetEmail("a@example.test")
	r.SetRaw("password", &core.PasswordFieldValue{Hash: "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$aGFzaA"})
	r.RefreshTokenKey()
	if err := app.SaveNoValidate(r); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestFailedTransactionLeavesNoBytes(t *testing.T) {
	t.Parallel()
	app := testapp.New(t)
	staged, err := evidence.Stage(app, bytes.NewReader(picture(t)), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	defer staged.Discard()
	r, boom := record(t, app), errors.New("boom")
	err = app.RunInTransaction(func(tx core.App) error { return errors.Join(staged.Save(tx, r), boom) })
	if !errors.Is(err, boom) {
		t.Fatalf("got %v, want %v", err, boom)
	}
	if n, _ := app.CountRecords(collections.Evidence); n != 0 {
		t.Errorf("records: got %d, want none", n)
	}
	staged.Discard()
	if got := files(t, app); len(got) != 0 {
		t.Errorf("files: got %v, want none", got)
	}
}

// Bytes placed ahead of the transaction belong to the record once it is saved,
// and to nobody before.
func TestPlaceAheadOfTheTransaction(t *testing.T) {
	t.Parallel()
	app, boom := testapp.New(t), errors.New("boom")
	for name, row := range map[string]struct {
		save  bool
		err   error
		files int
	}{"saved": {true, nil, 1}, "never saved": {false, nil, 0}, "failed": {true, boom, 0}} {
		staged, err := evidence.Stage(app, bytes.NewReader(picture(t)), 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		r := record(t, app)
		if err := staged.Place(app, r); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got := files(t, app); len(got) != 2 {
			t.Errorf("%s: files: got %v, want the staged and the placed one", name, got)
		}
		if row.save {
			err := app.RunInTransaction(func(tx core.App) error {
				defer staged.Discard() // as early as a caller may
				return errors.Join(staged.Save(tx, r), row.err)
			})
			if !errors.Is(err, row.err) {
				t.Fatalf("%s: got %v, want %v", name, err, row.err)
			}
		}
		staged.Discard()
		got := files(t, app)
		if len(got) != row.files {
			t.Errorf("%s: files: got %v, want %d", name, got, row.files)
		}
		for _, f := range got {
			if err := os.Remove(f); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestStageRefuses(t *testing.T) {
	t.Parallel()
	app, gone := testapp.New(t), errors.New("sender gone")
	for name, row := range map[string]struct {
		r    io.Reader
		want error
	}{
		"one byte above the limit": {strings.NewReader("12345"), evidence.ErrTooLarge},
		"nothing":                  {strings.NewReader(""), evidence.ErrEmpty},
		"aborted":                  {io.MultiReader(strings.NewReader("12"), iotest.ErrReader(gone)), gone},
	} {
		if _, err := evidence.Stage(app, row.r, 4); !errors.Is(err, row.want) {
			t.Errorf("%s: got %v, want %v", name, err, row.want)
		}
	}
	if got := files(t, app); len(got) != 0 {
		t.Errorf("files after refusals: got %v, want none", got)
	}
	staged, err := evidence.Stage(app, strings.NewReader("#!/bin/sh\n\x00\x01binary"), 100)
	if err != nil {
		t.Fatal(err)
	}
	defer staged.Discard()
	r := record(t, app)
	if err := app.RunInTransaction(func(tx core.App) error { return staged.Save(tx, r) }); !errors.Is(err, evidence.ErrMediaType) {
		t.Errorf("%s: got %v, want %v", staged.MediaType, err, evidence.ErrMediaType)
	}
	if err := staged.Save(app, r); !errors.Is(err, evidence.ErrNoTransaction) {
		t.Errorf("outside of a transaction: got %v", err)
	}
}

func TestRetentionCountsCalendarYears(t *testing.T) {
	t.Parallel()
	got := evidence.RetainUntil(time.Date(2026, 11, 23, 9, 0, 0, 0, time.FixedZone("AEDT", 11*3600)))
	if want := time.Date(2033, 11, 22, 22, 0, 0, 0, time.UTC); !got.Equal(want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
