package hooks

import (
	"context"
	"errors"
	"fmt"

	"firemode/audit"
	"firemode/collections"
	"firemode/internal/sqlite"
	"firemode/sealed"

	"github.com/pocketbase/dbx"
	"github.com/pocketbase/pocketbase/core"
)

const (
	// resealBatch bounds the rows of one transaction, which holds the only
	// writer: a few tens of milliseconds.
	resealBatch = 200
	// resealPasses bounds the walks over one field. A second one takes what a
	// server with the old order of keys wrote during the first.
	resealPasses = 3
)

// ResealAll seals every value that is not sealed with the first key of ring
// anew, its blind index included, and returns how many it changed. It may run
// beside a serving process and be stopped and run again at any time: a value is
// replaced only when it is still the one that was read. Values that do not open
// stay as they are; [VerifySealed] names them. progress, which may be nil, is
// called after each batch with the number of values changed so far.
func ResealAll(ctx context.Context, app core.App, ring *sealed.Keyring, progress func(changed int)) (int, error) {
	if len(ring.KeyIDs()) == 0 {
		return 0, sealed.ErrNoKeys
	}
	changed := 0
	err := eachSealedField(app, func(c *core.Collection, f *collections.EncryptedField) error {
		for range resealPasses {
			before := changed
			err := walkSealed(ctx, app, c, f, func(rows []sealedRow) error {
				n := 0
				err := sqlite.Patiently(ctx, func() (err error) {
					n, err = resealRows(app, ring, c, f, rows)
					return err
				})
				changed += n
				if progress != nil && n > 0 {
					progress(changed)
				}
				return err
			})
			if err != nil || changed == before {
				return err
			}
		}
		return nil
	})
	return changed, err
}

// resealRows replaces the tokens of one batch, in one transaction with its audit entry.
func resealRows(app core.App, ring *sealed.Keyring, c *core.Collection, f *collections.EncryptedField, rows []sealedRow) (changed int, err error) {
	type change struct {
		row    sealedRow
		values dbx.Params
	}
	var changes []change
	for _, row := range rows {
		token, renewed, err := ring.Reseal(row.Token, row.binding)
		if errors.Is(err, collections.ErrUnsealed) {
			continue
		}
		if err != nil {
			return 0, err
		}
		if !renewed {
			continue
		}
		values := dbx.Params{f.Name: token}
		if f.BlindIndex != "" {
			plain, err := ring.Open(token, row.binding)
			if err != nil {
				return 0, err
			}
			if values[f.BlindIndex], err = ring.BlindIndex(f.Scope, plain); err != nil {
				return 0, err
			}
		}
		changes = append(changes, change{row, values})
	}
	if len(changes) == 0 {
		return 0, nil
	}
	// By SQL: a save would run every hook, set updated_at and log an update of
	// the record, of which nothing changed.
	err = app.RunInTransaction(func(tx core.App) error {
		changed = 0
		for _, ch := range changes {
			result, err := tx.NonconcurrentDB().Update(c.Name, ch.values, dbx.HashExp{collections.FieldID: ch.row.ID, f.Name: ch.row.Token}).Execute()
			if err != nil {
				return fmt.Errorf("reseal %s.%s of %s: %w", c.Name, f.Name, ch.row.ID, err)
			}
			n, err := result.RowsAffected()
			if err != nil {
				return fmt.Errorf("reseal %s.%s of %s: %w", c.Name, f.Name, ch.row.ID, err)
			}
			changed += int(n)
		}
		if changed == 0 {
			return nil
		}
		_, err := audit.Append(tx, audit.Entry{Action: "reseal", ResourceType: c.Name, New: map[string]any{
			"field": f.Name, "values": changed, "key": ring.KeyIDs()[0],
		}})
		return err
	})
	if err != nil {
		return 0, err
	}
	return changed, nil
}
