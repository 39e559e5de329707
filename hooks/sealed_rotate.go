package hooks

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"firemode/audit"
	"firemode/collections"
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
	// unreadableMax bounds the ids that are named; all are counted.
	unreadableMax = 20
)

// SealedCount says how the values of one sealed field are sealed.
type SealedCount struct {
	Collection, Field string
	ByKey             map[string]int // values by the id of their key
	Unreadable        int            // values that no key opens, or that belong elsewhere
	UnreadableIDs     []string       // the first 20 of their records
}

// CountSealed opens every sealed value and counts it by key. It changes nothing.
func CountSealed(ctx context.Context, app core.App, ring *sealed.Keyring) ([]SealedCount, error) {
	var counts []SealedCount
	err := eachSealedField(app, func(c *core.Collection, f *collections.EncryptedField) error {
		count := SealedCount{Collection: c.Name, Field: f.Name, ByKey: map[string]int{}}
		err := walkSealed(ctx, app, c, f, func(rows []sealedRow) error {
			for _, row := range rows {
				count.add(ring, row)
			}
			return nil
		})
		counts = append(counts, count)
		return err
	})
	return counts, err
}

func (c *SealedCount) add(ring *sealed.Keyring, row sealedRow) {
	key, err := ring.KeyID(row.Token)
	if err == nil {
		_, err = ring.Open(row.Token, row.binding)
	}
	if err == nil {
		c.ByKey[key]++
		return
	}
	c.Unreadable++
	if len(c.UnreadableIDs) < unreadableMax {
		c.UnreadableIDs = append(c.UnreadableIDs, row.ID)
	}
}

// ResealAll seals every value that is not sealed with the first key of ring
// anew, its blind index included, and returns how many it changed. It may run
// beside a serving process and be stopped and run again at any time: a value is
// replaced only when it is still the one that was read. Values that do not open
// stay as they are; [CountSealed] names them. progress, which may be nil, is
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
				n, err := resealRows(app, ring, c, f, rows)
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

// eachSealedField calls fn for each sealed field of every stored collection.
func eachSealedField(app core.App, fn func(*core.Collection, *collections.EncryptedField) error) error {
	all, err := app.FindAllCollections(core.CollectionTypeBase, core.CollectionTypeAuth)
	if err != nil {
		return fmt.Errorf("find collections: %w", err)
	}
	slices.SortFunc(all, func(a, b *core.Collection) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	for _, c := range all {
		for _, f := range collections.SealedFields(c) {
			if err := fn(c, f); err != nil {
				return err
			}
		}
	}
	return nil
}

type sealedRow struct {
	ID      string `db:"id"`
	Token   string `db:"token"`
	binding string
}

// walkSealed hands on every sealed value of a field in batches, by id.
func walkSealed(ctx context.Context, app core.App, c *core.Collection, f *collections.EncryptedField, fn func([]sealedRow) error) error {
	last := ""
	for {
		var rows []sealedRow
		err := app.ConcurrentDB().Select(collections.FieldID, "[["+f.Name+"]] AS token").From(c.Name).
			Where(dbx.NewExp("[[id]] > {:last} AND [["+f.Name+"]] != ''", dbx.Params{"last": last})).
			OrderBy(collections.FieldID).Limit(resealBatch).WithContext(ctx).All(&rows)
		if err != nil {
			return fmt.Errorf("read %s.%s: %w", c.Name, f.Name, err)
		}
		if len(rows) == 0 {
			return nil
		}
		for i := range rows {
			rows[i].binding = f.Scope + "." + rows[i].ID
		}
		if err := fn(rows); err != nil {
			return err
		}
		last = rows[len(rows)-1].ID
	}
}
