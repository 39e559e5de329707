package seed

import (
	"context"
	"fmt"
	"slices"
	"time"

	"firemode/audit"
	"firemode/collections"

	"github.com/pocketbase/dbx"
	"github.com/pocketbase/pocketbase/core"
	"github.com/pocketbase/pocketbase/tools/types"
)

// Limits of one transaction: a running server's writers wait behind it, so it
// stays far below their patience of ten seconds.
const (
	rowsPerTransaction = 50
	// Rows that take several statements or synced files each.
	longRowsPerTransaction = 10
	// A password hash takes a tenth of a second inside the transaction.
	passwordsPerTransaction = 4
)

// row is one record to be.
type row struct {
	collection string
	id         string
	at         time.Time // when it came to be; zero is now
	password   string    // of an account
	values     map[string]any
}

// writer saves rows that are not stored yet and counts what it did.
type writer struct {
	ctx      context.Context
	app      core.App
	command  string // for the audit log
	progress func(n int)
	added    map[string]int
}

// actor is who the audit log names for everything seeded.
func (w *writer) actor() audit.Actor {
	return audit.Actor{Role: audit.SystemRole, UserAgent: "firemode " + w.command}
}

// inTx runs fn in one transaction on the account of the system.
func (w *writer) inTx(fn func(tx core.App) error) error {
	if err := w.ctx.Err(); err != nil {
		return err
	}
	return w.app.RunInTransaction(func(tx core.App) error {
		defer audit.Attribute(tx, w.actor())()
		return fn(tx)
	})
}

// write saves the rows of one step. Those stored already are left alone.
func (w *writer) write(rows []row) error {
	size := rowsPerTransaction
	if len(rows) > 0 && rows[0].password != "" {
		size = passwordsPerTransaction
	}
	for chunk := range slices.Chunk(rows, size) {
		missing, err := w.missing(chunk)
		if err != nil {
			return err
		}
		if len(missing) > 0 {
			if err := w.inTx(func(tx core.App) error { return saveAll(tx, missing) }); err != nil {
				return err
			}
		}
		for _, r := range missing {
			w.added[r.collection]++
		}
		w.progress(len(chunk))
	}
	return nil
}

// missing returns the rows of one collection whose id is not stored.
func (w *writer) missing(rows []row) ([]row, error) {
	ids := make([]any, len(rows))
	for i, r := range rows {
		ids[i] = r.id
	}
	var stored []string
	err := w.app.DB().Select(collections.FieldID).From(rows[0].collection).
		Where(dbx.In(collections.FieldID, ids...)).Column(&stored)
	if err != nil {
		return nil, fmt.Errorf("look for %s: %w", rows[0].collection, err)
	}
	return slices.DeleteFunc(slices.Clone(rows), func(r row) bool { return slices.Contains(stored, r.id) }), nil
}

func saveAll(tx core.App, rows []row) error {
	for _, r := range rows {
		record, err := r.record(tx)
		if err != nil {
			return err
		}
		if err := tx.Save(record); err != nil {
			return fmt.Errorf("save %s %s: %w", r.collection, r.id, err)
		}
	}
	return nil
}

// record makes the unsaved record of a row.
func (r row) record(tx core.App) (*core.Record, error) {
	c, err := tx.FindCachedCollectionByNameOrId(r.collection)
	if err != nil {
		return nil, fmt.Errorf("find collection %s: %w", r.collection, err)
	}
	record := core.NewRecord(c)
	record.Id = r.id
	record.Load(r.values)
	if r.password != "" {
		record.SetPassword(r.password)
	}
	if at, err := types.ParseDateTime(r.at); err == nil && !r.at.IsZero() {
		// Set would be ignored: PocketBase keeps these dates itself unless told otherwise.
		for _, name := range []string{collections.FieldCreatedAt, collections.FieldUpdatedAt} {
			if c.Fields.GetByName(name) != nil {
				record.SetRaw(name, at)
			}
		}
	}
	return record, nil
}

// A Count says how many rows of a collection were added and are there now.
type Count struct {
	Collection string `json:"collection"`
	Added      int    `json:"added"`
	Total      int    `json:"total"`
}

// counts is the table at the end of a run, in the order of the schema.
func (w *writer) counts() ([]Count, error) {
	var out []Count
	names := []string{collections.Superusers}
	for _, c := range collections.All() {
		if c.Name != collections.IdempotencyKeys {
			names = append(names, c.Name)
		}
	}
	for _, name := range append(names, collections.TableCRDTOps) {
		c := Count{Collection: name, Added: w.added[name]}
		if err := w.app.DB().Select("count(*)").From(name).Row(&c.Total); err != nil {
			return nil, fmt.Errorf("count %s: %w", name, err)
		}
		out = append(out, c)
	}
	return out, nil
}

// auditEntries counts the log: its entries are written by hooks.
func (w *writer) auditEntries() (n int, err error) {
	err = w.app.DB().Select("count(*)").From(collections.AuditLog).Row(&n)
	return n, err
}
