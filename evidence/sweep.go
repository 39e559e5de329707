package evidence

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"firemode/collections"

	"github.com/pocketbase/dbx"
	"github.com/pocketbase/pocketbase/core"
)

// leftoverAfter is how long a staged file is left alone: its upload, or a
// command of another process, may still be at work.
const leftoverAfter = time.Hour

// Sweep removes staged files that were abandoned at least an hour before now,
// as by a process that died, together with bytes that were placed from them for
// a record that was never committed. It returns how many staged files it removed.
func Sweep(ctx context.Context, app core.App, now time.Time) (removed int, err error) {
	dir := filepath.Join(app.DataDir(), core.LocalStorageDirName, stagingDir)
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("sweep staged evidence: %w", err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || now.Sub(info.ModTime()) < leftoverAfter {
			continue // gone meanwhile, or not abandoned
		}
		path := filepath.Join(dir, e.Name())
		if err := removeOrphans(ctx, app, path); err != nil {
			return removed, fmt.Errorf("sweep staged evidence: %w", err)
		}
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return removed, fmt.Errorf("sweep staged evidence: %w", err)
		}
		removed++
	}
	return removed, nil
}

// removeOrphans removes placed bytes equal to those staged at path whose record
// does not exist. The staged file is what is left of the intent to place them,
// so no other bytes are looked at.
func removeOrphans(ctx context.Context, app core.App, path string) error {
	sum, err := hashFile(path)
	if err != nil {
		return err
	}
	collection, err := app.FindCachedCollectionByNameOrId(collections.Evidence)
	if err != nil {
		return err
	}
	placed, err := filepath.Glob(filepath.Join(app.DataDir(), core.LocalStorageDirName, collection.Id, "*", sum+"*"))
	if err != nil {
		return err
	}
	staged, err := os.Stat(path)
	if err != nil {
		return err
	}
	for _, file := range placed {
		// The two names of one upload are hard links. Equal bytes of another
		// upload, which may be waiting for its commit, are not the same file.
		if found, err := os.Stat(file); err != nil || !os.SameFile(staged, found) {
			continue
		}
		folder := filepath.Dir(file)
		var n int
		err := app.DB().Select("count(*)").From(collections.Evidence).
			Where(dbx.HashExp{collections.FieldID: filepath.Base(folder)}).WithContext(ctx).Row(&n)
		if err != nil {
			return err
		}
		if n > 0 {
			continue
		}
		if err := os.Remove(file); err != nil {
			return err
		}
		_ = os.Remove(folder) // stays when something else is in it
	}
	return nil
}

func hashFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
