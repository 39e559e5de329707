package merge

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"firemode/collections"

	"github.com/pocketbase/dbx"
	"github.com/pocketbase/pocketbase/core"
	"github.com/pocketbase/pocketbase/tools/hook"
)

// A database that comes back from a backup gives out positions again that devices have seen
// with other operations. So every answer names the epoch of the log, a random word that
// changes when the database is not the one that this directory last served: a device that
// meets another epoch forgets its cursor and sends again whatever the log lacks.
//
// The epoch is in the database, and beside it in a marker file together with the place of
// the database file. Backups leave the marker out, and a copied database lies elsewhere, so
// either way the two no longer agree. What cannot be seen is a database file overwritten in
// place; removing the marker makes a new epoch.
const (
	epochParam  = "merge.epoch"
	epochMarker = "merge.epoch"
)

// registerEpoch keeps the marker out of backups.
func registerEpoch(app core.App) {
	app.OnBackupCreate().Bind(&hook.Handler[*core.BackupEvent]{
		Id: "firemode.merge.epoch",
		Func: func(e *core.BackupEvent) error {
			e.Exclude = append(e.Exclude, epochMarker)
			return e.Next()
		},
	})
}

// openEpoch returns the epoch of the log, a new one when the database is not the one that
// the marker was written for.
func openEpoch(ctx context.Context, app core.App) (string, error) {
	var epoch string
	err := app.DB().Select("v").From(collections.TableParams).Where(dbx.HashExp{"k": epochParam}).WithContext(ctx).Row(&epoch)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return "", fmt.Errorf("read epoch: %w", err)
	}
	path, place := filepath.Join(app.DataDir(), epochMarker), databasePlace(app.DataDir())
	marker, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("read epoch: %w", err)
	}
	if epoch != "" && string(marker) == epoch+" "+place {
		return epoch, nil
	}
	epoch = strings.ToLower(rand.Text())
	_, err = app.NonconcurrentDB().NewQuery(`INSERT INTO _fm_params (k, v) VALUES ({:k}, {:v}) ON CONFLICT (k) DO UPDATE SET v = excluded.v`).
		WithContext(ctx).Bind(dbx.Params{"k": epochParam, "v": epoch}).Execute()
	if err != nil {
		return "", fmt.Errorf("write epoch: %w", err)
	}
	// After the database: a crash in between makes one epoch more, never one too few.
	if err := os.WriteFile(path, []byte(epoch+" "+place), 0o600); err != nil {
		return "", fmt.Errorf("write epoch: %w", err)
	}
	return epoch, nil
}

// Epoch returns the epoch of the log, "" before the first Start.
func (s *Service) Epoch() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.epoch
}

// Position returns the newest position of the session's log, 0 for an empty one. Errors:
// ErrNoSession.
func (s *Service) Position(ctx context.Context, sessionID string) (int64, error) {
	at, err := s.position(ctx, sessionID)
	return at.n, err
}
