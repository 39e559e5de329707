package pgsync

import (
	"context"
	"fmt"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/pocketbase/pocketbase/core"
)

// Rebuilt is what Rebuild has ordered.
type Rebuilt struct {
	Run      string   `json:"run"`
	Tables   []string `json:"tables"`
	Position int64    `json:"position"` // of the log, at whose passing the tables are marked
	Rows     int64    `json:"rows"`     // of the source, about
}

// Rebuild has the worker compare every table with SQLite, and with drop empty them first: all in one transaction, at one
// place of the log, so that nobody races with it. Only rows of this database go; the journal, the history and other
// databases' rows stay. Until a table is full again its line in fm_sync.collection says so.
func Rebuild(app core.App, src Source, drop bool) (r Rebuilt, err error) {
	r.Run = uuid.NewString()
	r.Tables, r.Position, err = markTables(app, src, resyncMark{Run: r.Run, Mode: ModeRebuild, Drop: drop})
	if err != nil {
		return r, err
	}
	for _, name := range r.Tables {
		var rows int64
		if err := app.DB().NewQuery("SELECT count(*) FROM " + quoteIdent(name)).Row(&rows); err != nil {
			return r, fmt.Errorf("count %s: %w", name, err)
		}
		r.Rows += rows
	}
	return r, nil
}

// empty takes the rows of this source out of a table. Where nobody else mirrors into this database, the foreign keys go
// with them and come back when all tables are full: until then a row may well arrive before the one it refers to.
func (x *txn) empty(ctx context.Context, t *Table) error {
	return x.longer(ctx, func(ctx context.Context) error {
		var alone bool
		err := x.s.conn.QueryRow(ctx, `SELECT NOT EXISTS (SELECT 1 FROM fm_sync.origin WHERE origin <> $1)`, x.s.origin).Scan(&alone)
		if err == nil && alone {
			err = x.dropKeys(ctx, t)
		}
		if err != nil {
			return err
		}
		// firemode.rebuild tells triggers on these tables that nothing has happened to the rows.
		for _, step := range []string{
			`SET LOCAL firemode.rebuild = 'on'`, "DELETE FROM " + t.pgName() + " WHERE _origin = " + fmt.Sprint(x.s.origin), `SET LOCAL firemode.rebuild = 'off'`,
		} {
			if _, err := x.s.conn.Exec(ctx, step); err != nil {
				return fmt.Errorf("empty %s: %w", t.Name, err)
			}
		}
		return nil
	})
}

// dropKeys drops the foreign keys of a table and those that lead to it.
func (x *txn) dropKeys(ctx context.Context, t *Table) error {
	// Checks that are still due would make ALTER TABLE fail.
	if _, err := x.s.conn.Exec(ctx, "SET CONSTRAINTS ALL IMMEDIATE"); err != nil {
		return err
	}
	keys, err := keysAround(ctx, x.s.conn, t)
	if err != nil {
		return err
	}
	for _, k := range keys {
		if !strings.HasPrefix(strings.Trim(k.Name, `"`), guardPrefix+"fk_") {
			continue // somebody else's
		}
		if _, err := x.s.conn.Exec(ctx, "ALTER TABLE "+k.Table+" DROP CONSTRAINT "+k.Name); err != nil {
			return fmt.Errorf("drop foreign key %s: %w", k.Name, err)
		}
	}
	x.s.guardsDue = true
	_, err = x.s.conn.Exec(ctx, "SET CONSTRAINTS ALL DEFERRED")
	return err
}

// aroundKey is a foreign key of a table or to it, both names quoted.
type aroundKey struct{ Table, Name string }

func keysAround(ctx context.Context, conn *pgx.Conn, t *Table) ([]aroundKey, error) {
	rows, err := conn.Query(ctx, `SELECT conrelid::regclass::text, quote_ident(conname) FROM pg_constraint
		WHERE contype = 'f' AND (confrelid = to_regclass($1) OR conrelid = to_regclass($1))`, t.pgName())
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[aroundKey])
}
