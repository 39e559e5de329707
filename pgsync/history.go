package pgsync

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Triggers on a mirrored table keep what it no longer holds: a row that was replaced or deleted goes to the table of the
// same name in fm_hist, with the positions and the time between which it stood. They run in the transaction of the batch,
// so rows and history are one state. Nothing here ever drops or empties a history.

// history is the table of t's superseded versions. A table whose rows are only ever appended has none: the one change of
// such a row is the erasure of its value, which must not be kept.
func (t *Table) history() *Table {
	if t == nil || t.Appended != nil {
		return nil
	}
	return &Table{Coll: t.Coll, Name: t.Name, UUID: t.UUID, Key: t.Key, Columns: t.Columns, Unique: t.Unique, past: true}
}

// historyGuards are the indexes of a history: by row, and by time. Nothing is unique or excluded: a row that was taken out
// and came back within one position has two versions of that number, and a clock that was set back makes two versions
// overlap. Neither may keep the batch from being written.
func (t *Table) historyGuards() []guard {
	return []guard{
		newGuard(t, "ix", false, []string{"id"}, "(_origin, id, _ver)"),
		newGuard(t, "brin", false, []string{"valid"}, "USING brin (_valid)"), // versions come in the order of their end
	}
}

// columnType is what follows a column's name. A history refuses nothing, not even what somebody wrote by hand.
func (t *Table) columnType(c *Column) string {
	if t.past {
		return strings.Replace(c.pgColumn(), " NOT NULL", "", 1)
	}
	return c.pgColumn()
}

// keeper is the function that both triggers of a table call. Its name changes with its text.
type keeper struct{ name, body string }

// newKeeper keeps the named data columns of t.
func newKeeper(t *Table, columns []string) keeper {
	into, from := "", ""
	for _, name := range columns {
		into += ", " + pgIdent(name)
		from += ", OLD." + pgIdent(name)
	}
	// A deleted row ends where the transaction ends, whose position was written before anything else.
	body := fmt.Sprintf(`DECLARE
  ends bigint; until timestamptz; op smallint := %d;
BEGIN
  IF TG_OP = 'DELETE' THEN
    op := %d;
    SELECT o.epoch << %d | o.seq, o.cut_at INTO ends, until FROM fm_sync.origin o WHERE o.origin = OLD._origin;
  ELSE
    ends := NEW._ver; until := NEW._at;
  END IF;
  INSERT INTO %s (_origin, id, _ver, _ver_to, _op, _valid%s)
  VALUES (OLD._origin, OLD.id, OLD._ver, greatest(ends, OLD._ver), op, tstzrange(OLD._at, greatest(until, OLD._at))%s);
  RETURN NULL;
END`, opUpdate, opDelete, epochShift, t.history().pgName(), into, from)
	return keeper{t.nameFor("keep", nil, body), body}
}

func (k keeper) function() string { return pgx.Identifier{schemaHistory, k.name}.Sanitize() + "()" }

// create makes function and triggers. An update that leaves the version as it is has changed no value, or is somebody's
// by hand, which is no version; nor has a row that a rebuild takes out gone. The function may be left over from a table that somebody dropped.
func (k keeper) create(t *Table) string {
	return fmt.Sprintf(`CREATE OR REPLACE FUNCTION %[1]s RETURNS trigger LANGUAGE plpgsql AS %[2]s;
CREATE TRIGGER fm_keep_updated AFTER UPDATE ON %[3]s FOR EACH ROW WHEN (NEW._ver > OLD._ver) EXECUTE FUNCTION %[1]s;
CREATE TRIGGER fm_keep_deleted AFTER DELETE ON %[3]s FOR EACH ROW
  WHEN (current_setting('firemode.rebuild', true) IS DISTINCT FROM 'on') EXECUTE FUNCTION %[1]s`, k.function(), quoteText(k.body), t.pgName())
}

// keeperOf is the keeper that a table with these columns should have. Columns that were set aside still hold values of the
// row's time with them, so they are kept too; missing lists those that the history has no place for yet.
func keeperOf(t *Table, rows, past map[string]string) (k keeper, missing []string) {
	var columns []string
	for i := range t.Columns {
		columns = append(columns, t.Columns[i].Name)
	}
	for name, typ := range rows {
		if !strings.HasPrefix(name, droppedMark) {
			continue
		}
		if past[name] == "" {
			missing = append(missing, name)
		}
		if past[name] == "" || past[name] == typ {
			columns = append(columns, name)
		}
	}
	slices.Sort(columns)
	return newKeeper(t, columns), missing
}

// keepHistory makes the triggers of t what they should be; t and its history have all their columns already.
func keepHistory(ctx context.Context, conn *pgx.Conn, t *Table) error {
	rows, err := columnsOf(ctx, conn, t)
	if err != nil {
		return err
	}
	past, err := columnsOf(ctx, conn, t.history())
	if err != nil {
		return err
	}
	k, missing := keeperOf(t, rows, past)
	for _, name := range missing {
		if _, err := conn.Exec(ctx, "ALTER TABLE "+t.history().pgName()+" ADD COLUMN "+pgIdent(name)+" "+rows[name]); err != nil {
			return fmt.Errorf("add column %s to the history of %s: %w", name, t.Name, err)
		}
	}
	have, err := keepersOf(ctx, conn, t)
	if err != nil {
		return err
	}
	if err := dropKeepers(ctx, conn, t, choose(have[k.name], k.name, "")); err != nil || have[k.name] {
		return err
	}
	if _, err := conn.Exec(ctx, k.create(t)); err != nil {
		return fmt.Errorf("keep the history of %s: %w", t.Name, err)
	}
	return nil
}

// historyKept says whether the history of t, whose columns are rows, can take and gets every superseded version.
func historyKept(ctx context.Context, conn *pgx.Conn, t *Table, rows map[string]string) (bool, error) {
	past := t.history()
	if past == nil {
		return true, nil
	}
	columns, err := columnsOf(ctx, conn, past)
	if err != nil {
		return false, err
	}
	k, missing := keeperOf(t, rows, columns)
	have, err := keepersOf(ctx, conn, t)
	return past.shapedLike(columns) && len(missing) == 0 && len(have) == 1 && have[k.name], err
}

// keepersOf lists the keepers that triggers of t call, and whether both do.
func keepersOf(ctx context.Context, conn *pgx.Conn, t *Table) (map[string]bool, error) {
	rows, err := conn.Query(ctx, sqlKeepers, t.pgName())
	if err != nil {
		return nil, err
	}
	have := map[string]bool{}
	var name string
	var whole bool
	_, err = pgx.ForEachRow(rows, []any{&name, &whole}, func() error {
		have[name] = whole
		return nil
	})
	return have, err
}

// dropKeepers takes every keeper but one from t, with its triggers.
func dropKeepers(ctx context.Context, conn *pgx.Conn, t *Table, but string) error {
	have, err := keepersOf(ctx, conn, t)
	if err != nil {
		return err
	}
	for name := range have {
		if name == but {
			continue
		}
		if _, err := conn.Exec(ctx, "DROP FUNCTION "+keeper{name: name}.function()+" CASCADE"); err != nil {
			return fmt.Errorf("drop the keeper of %s: %w", t.Name, err)
		}
	}
	return nil
}
