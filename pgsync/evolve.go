package pgsync

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
)

// evolve changes the mirror from prev (nil: never seen) to next inside the open transaction. What the source dropped is
// renamed to _dropped_<seq>_..., never destroyed. resync is true when rows must be compared anew because their values
// changed without passing through the log.
func evolve(ctx context.Context, conn *pgx.Conn, prev, next *Table, seq int64) (resync bool, err error) {
	// Pending deferred checks would make ALTER TABLE fail.
	if _, err := conn.Exec(ctx, "SET CONSTRAINTS ALL IMMEDIATE"); err != nil {
		return false, err
	}
	if resync, err = evolveTable(ctx, conn, prev, next, seq); err != nil {
		return false, err
	}
	if past := next.history(); past != nil {
		// What a history lacks is nowhere else, so there is nothing to compare it with.
		if _, err := evolveTable(ctx, conn, prev.history(), past, seq); err != nil {
			return false, err
		}
		if err := keepHistory(ctx, conn, next); err != nil {
			return false, err
		}
	}
	_, err = conn.Exec(ctx, "SET CONSTRAINTS ALL DEFERRED")
	return resync, err
}

// evolveTable changes one table of PostgreSQL, rows or history.
func evolveTable(ctx context.Context, conn *pgx.Conn, prev, next *Table, seq int64) (resync bool, err error) {
	if prev != nil && prev.Name != next.Name {
		if err := renameTable(ctx, conn, prev, next); err != nil {
			return false, err
		}
	}
	have, err := columnsOf(ctx, conn, next)
	if err != nil {
		return false, err
	}
	fresh := len(have) == 0
	if !fresh && (have["id"] != next.idType() || slices.ContainsFunc(next.systemColumns(), func(c string) bool { return have[c] == "" })) {
		// The keys of all rows change their type, or it is no table of ours: keep it aside and fill a new one.
		if err := setTableAside(ctx, conn, next, seq); err != nil {
			return false, err
		}
		fresh, have = true, nil
	}
	if fresh {
		if _, err := conn.Exec(ctx, next.createTable()); err != nil {
			return false, fmt.Errorf("create table %s: %w", next.Name, err)
		}
		// A table that should have been there is not: its rows are gone as well.
		resync = prev != nil
		have = map[string]string{}
		for _, name := range next.systemColumns() {
			have[name] = ""
		}
	}
	changed, err := evolveColumns(ctx, conn, prev, next, have, seq)
	if err != nil {
		return false, err
	}
	return resync || changed, evolveGuards(ctx, conn, next, fresh)
}

func renameTable(ctx context.Context, conn *pgx.Conn, prev, next *Table) error {
	from, err := columnsOf(ctx, conn, prev)
	if err != nil || len(from) == 0 {
		return err
	}
	to, err := columnsOf(ctx, conn, next)
	if err != nil || len(to) != 0 {
		return err
	}
	if _, err := conn.Exec(ctx, "ALTER TABLE "+prev.pgName()+" RENAME TO "+pgIdent(next.Name)); err != nil {
		return fmt.Errorf("rename table %s: %w", prev.Name, err)
	}
	return nil
}

// setTableAside keeps a dropped table under another name, without what would bind other tables to it.
func setTableAside(ctx context.Context, conn *pgx.Conn, t *Table, seq int64) error {
	if _, err := conn.Exec(ctx, `SET CONSTRAINTS ALL IMMEDIATE`); err != nil {
		return err
	}
	keys, err := keysAround(ctx, conn, t)
	if err != nil {
		return err
	}
	for _, k := range keys {
		if _, err := conn.Exec(ctx, "ALTER TABLE "+k.Table+" DROP CONSTRAINT "+k.Name); err != nil {
			return fmt.Errorf("drop foreign key %s: %w", k.Name, err)
		}
	}
	if err := dropKeepers(ctx, conn, t, ""); err != nil {
		return err
	}
	// Names of indexes are unique in the schema; the next table of this name needs them.
	guards, err := guardsOf(ctx, conn, t)
	if err != nil {
		return err
	}
	for name, constraint := range guards {
		if _, err := conn.Exec(ctx, guard{name: name, constraint: constraint}.drop(t)); err != nil {
			return fmt.Errorf("drop %s: %w", name, err)
		}
	}
	if _, err := conn.Exec(ctx, "ALTER TABLE IF EXISTS "+t.pgName()+" RENAME TO "+pgIdent(dropped(t.Name, seq))); err != nil {
		return fmt.Errorf("set table %s aside: %w", t.Name, err)
	}
	return nil
}

func dropped(name string, seq int64) string {
	name = droppedMark + strconv.FormatInt(seq, 10) + "_" + name
	return name[:min(len(name), identMax)]
}

// evolveColumns renames, sets aside and adds columns; have maps the existing ones to their types and is kept true.
func evolveColumns(ctx context.Context, conn *pgx.Conn, prev, next *Table, have map[string]string, seq int64) (resync bool, err error) {
	alter := func(format string, args ...any) error {
		change := fmt.Sprintf(format, args...)
		if _, err := conn.Exec(ctx, "ALTER TABLE "+next.pgName()+" "+change); err != nil {
			return fmt.Errorf("alter %s: %w", next.Name, err)
		}
		return nil
	}
	rename := func(from, to string) error {
		have[to] = have[from]
		delete(have, from)
		return alter("RENAME COLUMN %s TO %s", pgIdent(from), pgIdent(to))
	}
	// Two columns may have swapped names, so a renamed one first goes to a name of its own.
	moved := map[string]string{} // intermediate name -> final name
	known := map[string]bool{}   // fields that the mirror had before
	if prev != nil {
		for i := range prev.Columns {
			old := &prev.Columns[i]
			if _, exists := have[old.Name]; !exists {
				continue
			}
			at := slices.IndexFunc(next.Columns, func(c Column) bool { return c.Field == old.Field })
			if at >= 0 && next.Columns[at].pgType() == old.pgType() && next.Columns[at].Kind == old.Kind {
				known[old.Field] = true
				if next.Columns[at].Name != old.Name {
					tmp := fmt.Sprintf("_moving_%d", i)
					if err := rename(old.Name, tmp); err != nil {
						return false, err
					}
					moved[tmp] = next.Columns[at].Name
				}
				continue
			}
			if err := setColumnAside(ctx, conn, next, old.Name, seq); err != nil {
				return false, err
			}
			delete(have, old.Name)
			// The values of a changed type were rewritten by PocketBase while no trigger stood.
			resync = resync || at >= 0
		}
	}
	for from, to := range moved {
		if err := rename(from, to); err != nil {
			return false, err
		}
	}
	for i := range next.Columns {
		c := &next.Columns[i]
		typ, exists := have[c.Name]
		if exists && typ != c.pgType() {
			if err := setColumnAside(ctx, conn, next, c.Name, seq); err != nil {
				return false, err
			}
			exists, resync = false, true
		}
		if exists {
			continue
		}
		if err := alter("ADD COLUMN %s %s", pgIdent(c.Name), next.columnType(c)); err != nil {
			return false, err
		}
		have[c.Name] = c.pgType()
		// A column the mirror should have had lost its values; a new one has the same default on both sides.
		if prev != nil && slices.ContainsFunc(prev.Columns, func(p Column) bool { return p.Field == c.Field }) {
			resync = true
		}
	}
	return resync, nil
}

func setColumnAside(ctx context.Context, conn *pgx.Conn, t *Table, column string, seq int64) error {
	// Whatever guards the column would refuse rows that no longer fill it.
	rows, err := conn.Query(ctx, `SELECT quote_ident(k.conname) FROM pg_constraint k
		JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attname = $2 AND a.attnum = ANY (k.conkey)
		WHERE k.conrelid = to_regclass($1)`, t.pgName(), column)
	if err != nil {
		return err
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	rows, err = conn.Query(ctx, `SELECT x.indexrelid::regclass::text FROM pg_index x
		JOIN pg_attribute a ON a.attrelid = x.indrelid AND a.attname = $2 AND a.attnum = ANY (x.indkey)
		WHERE x.indrelid = to_regclass($1) AND NOT EXISTS (SELECT 1 FROM pg_constraint k WHERE k.conindid = x.indexrelid)`,
		t.pgName(), column)
	if err != nil {
		return err
	}
	indexes, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	for _, name := range indexes {
		if _, err := conn.Exec(ctx, "DROP INDEX "+name); err != nil {
			return fmt.Errorf("drop index %s: %w", name, err)
		}
	}
	var changes []string
	for _, name := range names {
		changes = append(changes, "DROP CONSTRAINT "+name)
	}
	changes = append(changes, "ALTER COLUMN "+pgIdent(column)+" DROP NOT NULL", "ALTER COLUMN "+pgIdent(column)+" DROP DEFAULT")
	if _, err := conn.Exec(ctx, "ALTER TABLE "+t.pgName()+" "+strings.Join(changes, ", ")); err != nil {
		return fmt.Errorf("release column %s.%s: %w", t.Name, column, err)
	}
	_, err = conn.Exec(ctx, "ALTER TABLE "+t.pgName()+" RENAME COLUMN "+pgIdent(column)+" TO "+pgIdent(dropped(column, seq)))
	if err != nil {
		return fmt.Errorf("set column %s.%s aside: %w", t.Name, column, err)
	}
	return nil
}

// evolveGuards makes constraints and indexes what they should be; foreign keys are attachKeys' part.
func evolveGuards(ctx context.Context, conn *pgx.Conn, t *Table, fresh bool) error {
	have, err := guardsOf(ctx, conn, t)
	if err != nil {
		return err
	}
	want := map[string]bool{}
	for _, g := range t.guards() {
		want[g.name] = true
	}
	for name, constraint := range have {
		if want[name] || strings.HasPrefix(name, guardPrefix+"fk_") {
			continue
		}
		if _, err := conn.Exec(ctx, guard{name: name, constraint: constraint}.drop(t)); err != nil {
			return fmt.Errorf("drop %s: %w", name, err)
		}
	}
	for _, g := range t.guards() {
		if _, exists := have[g.name]; exists {
			continue
		}
		if err := tryStatement(ctx, conn, g.create(t, fresh)); err != nil {
			return fmt.Errorf("create %s: %w", g.name, err)
		}
	}
	return nil
}

// tryStatement runs one statement in a savepoint; rows that stand against it leave it undone without an error.
func tryStatement(ctx context.Context, conn *pgx.Conn, sql string) error {
	if _, err := conn.Exec(ctx, "SAVEPOINT guard"); err != nil {
		return err
	}
	_, err := conn.Exec(ctx, sql)
	if err != nil && classify(err) != classData {
		return err
	}
	if err != nil {
		_, err = conn.Exec(ctx, "ROLLBACK TO SAVEPOINT guard")
		return err
	}
	_, err = conn.Exec(ctx, "RELEASE SAVEPOINT guard")
	return err
}

func columnsOf(ctx context.Context, conn *pgx.Conn, t *Table) (map[string]string, error) {
	rows, err := conn.Query(ctx, sqlColumns, t.Name, t.schema())
	if err != nil {
		return nil, err
	}
	have := map[string]string{}
	var name, typ string
	_, err = pgx.ForEachRow(rows, []any{&name, &typ}, func() error {
		have[name] = typ
		return nil
	})
	return have, err
}

func guardsOf(ctx context.Context, conn *pgx.Conn, t *Table) (map[string]bool, error) {
	rows, err := conn.Query(ctx, sqlGuards, t.Name, t.schema())
	if err != nil {
		return nil, err
	}
	have := map[string]bool{}
	var name string
	var constraint bool
	_, err = pgx.ForEachRow(rows, []any{&name, &constraint}, func() error {
		have[name] = constraint
		return nil
	})
	return have, err
}
