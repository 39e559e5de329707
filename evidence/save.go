package evidence

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"firemode/collections"

	"github.com/google/uuid"
	"github.com/pocketbase/pocketbase/core"
	"github.com/pocketbase/pocketbase/tools/filesystem"
)

// ErrNoTransaction reports Save outside of a transaction.
var ErrNoTransaction = errors.New("evidence is saved inside a transaction only")

// retentionYears is the least time maintenance records are kept (NSW and others
// ask for seven years).
const retentionYears = 7

// RetainUntil is the first moment at which evidence taken at t may be released:
// seven calendar years later, UTC. Days would fall short by the leap days.
func RetainUntil(t time.Time) time.Time { return t.UTC().AddDate(retentionYears, 0, 0) }

// Place puts the bytes where they will stay, under the id of record, which gets
// one unless it is set. It is optional: Save does it too, but then the writers
// of the whole database wait for the disk meanwhile. Bytes that were placed for
// a record which is never saved are removed by Discard. A media type outside of
// the allow-list is ErrMediaType.
func (s *Staged) Place(app core.App, record *core.Record) error {
	if err := s.CheckMediaType(); err != nil {
		return err
	}
	// Their folder is named after the record, before any hook could name it.
	if record.Id == "" {
		record.Id = uuid.Must(uuid.NewV7()).String()
	}
	remove, err := s.place(app, record)
	if err != nil {
		return fmt.Errorf("place evidence: %w", err)
	}
	s.placedFor, s.remove = record.Id, remove
	return nil
}

// Save fills id (unless set), checksum, size, media type and file of record, a
// new one of the evidence collection with all else set, places the bytes unless
// Place did, and saves it. tx MUST be a transaction; when it fails later on, the
// bytes are removed. A media type outside of the allow-list is ErrMediaType; a
// second copy of the same bytes in one session fails PocketBase's validation of
// the unique index.
func (s *Staged) Save(tx core.App, record *core.Record) error {
	info := tx.TxInfo()
	if info == nil {
		return ErrNoTransaction
	}
	if err := s.CheckMediaType(); err != nil {
		return err
	}
	record.Set(collections.FieldChecksum, s.SHA256)
	record.Set(collections.FieldSize, s.Size)
	record.Set(collections.FieldMediaType, s.MediaType)
	if record.Id == "" {
		record.Id = uuid.Must(uuid.NewV7()).String()
	}
	// Validated before the file is named: PocketBase takes a new name only
	// together with bytes that it copies itself.
	if err := tx.Validate(record); err != nil {
		return err
	}
	if s.placedFor != record.Id {
		if err := s.Place(tx, record); err != nil {
			return err
		}
	}
	// From here on the transaction decides: Discard may come before its end.
	remove := s.remove
	s.remove = nil
	info.OnComplete(func(txErr error) error {
		if txErr != nil {
			remove()
		}
		return nil
	})
	record.SetRaw(collections.FieldFile, s.Name())
	if err := tx.SaveNoValidate(record); err != nil {
		remove()
		return err
	}
	return nil
}

// removePlaced takes away placed bytes that belong to no record.
func (s *Staged) removePlaced() {
	if s.remove != nil {
		s.remove()
		s.remove = nil
	}
}

// place puts the bytes where PocketBase looks for the record's file, and
// returns how to take them away again.
func (s *Staged) place(app core.App, record *core.Record) (remove func(), err error) {
	if app.Settings().S3.Enabled {
		return s.upload(app, record)
	}
	dir := filepath.Join(app.DataDir(), core.LocalStorageDirName, filepath.FromSlash(record.BaseFilesPath()))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	path := filepath.Join(dir, s.Name())
	// A link never overwrites, and both names are one file until the staged one
	// is discarded: no second copy of the bytes is written.
	if err := os.Link(s.path, path); err != nil {
		return nil, err
	}
	remove = func() {
		_ = os.Remove(path)
		_ = os.Remove(dir) // stays when something else is in it
	}
	// The new name is durable only once its folder is, and that folder's name
	// once its parent is, up to the storage folder that stood before.
	for _, folder := range []string{dir, filepath.Dir(dir), filepath.Dir(filepath.Dir(dir))} {
		if err := syncDir(folder); err != nil {
			remove()
			return nil, err
		}
	}
	return remove, nil
}

func (s *Staged) upload(app core.App, record *core.Record) (func(), error) {
	fsys, err := app.NewFilesystem()
	if err != nil {
		return nil, err
	}
	defer fsys.Close()
	file, err := filesystem.NewFileFromPath(s.path)
	if err != nil {
		return nil, err
	}
	file.Name = s.Name()
	key := record.BaseFilesPath() + "/" + s.Name()
	if err := fsys.UploadFile(file, key); err != nil {
		return nil, err
	}
	return func() {
		if again, err := app.NewFilesystem(); err == nil {
			defer again.Close()
			_ = again.Delete(key)
		}
	}, nil
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
