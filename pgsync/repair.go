package pgsync

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/pocketbase/pocketbase/core"
)

// Reconcile has the worker that runs, or the next one, compare tables row by row with SQLite and repair what differs in
// PostgreSQL: rows that somebody changed there by hand, rows in quarantine whose reason is gone, a table that was emptied.
// It writes to the log only, so it is done in turn with every other change, and returns the tables and the position of the
// log at whose passing they are marked. Without names, all tables. An unknown name is an error.
func Reconcile(app core.App, src Source, names ...string) (tables []string, end int64, err error) {
	return markTables(app, src, resyncMark{Run: uuid.NewString(), Mode: ModeRepair}, names...)
}

// markTables has tables compared: all of them in one transaction, thus by the worker in one as well.
func markTables(app core.App, src Source, mark resyncMark, names ...string) (tables []string, end int64, err error) {
	for _, name := range names {
		if !src.hasCollection(name) && !src.hasTable(name) {
			return nil, 0, fmt.Errorf("%q is not mirrored; mirrored are %s", name, strings.Join(src.names(), ", "))
		}
	}
	err = app.RunInTransaction(func(tx core.App) error {
		for _, name := range src.names() {
			if len(names) > 0 && !slices.Contains(names, name) {
				continue
			}
			coll := name
			if src.hasCollection(name) {
				c, err := tx.FindCollectionByNameOrId(name)
				if err != nil {
					return fmt.Errorf("find collection %s: %w", name, err)
				}
				coll = c.Id
			}
			armed, err := armedTable(tx, coll)
			if err != nil {
				return err
			}
			if armed == nil {
				continue // the first server that starts compares it anyway
			}
			if err := appendEntry(tx, coll, opResync, ptr(mark.encode())); err != nil {
				return fmt.Errorf("mark %s: %w", name, err)
			}
			tables = append(tables, name)
		}
		end, err = LogEnd(tx)
		return err
	})
	return tables, end, err
}

// names are those of all mirrored tables.
func (s Source) names() []string {
	list := slices.Clone(s.Collections)
	for _, t := range s.Tables {
		list = append(list, t.Name)
	}
	return list
}

// A Refused row is in quarantine: PostgreSQL did not take it. It holds no value of the row.
type Refused struct {
	Table      string    `json:"table"`
	ID         string    `json:"id"`
	SQLState   string    `json:"sqlstate"`
	Constraint string    `json:"constraint,omitempty"`
	Message    string    `json:"message"`
	Tries      int       `json:"tries"`
	FirstAt    time.Time `json:"first_at"`
	LastAt     time.Time `json:"last_at"`
}

// Quarantine returns the rows of this database that PostgreSQL did not take, the longest waiting first.
func Quarantine(ctx context.Context, app core.App, dsn string) ([]Refused, error) {
	src, conn, sourceID, err := openBoth(ctx, app, dsn)
	if err != nil {
		return nil, err
	}
	defer src.close()
	defer conn.Close(context.WithoutCancel(ctx))
	rows, err := conn.Query(ctx, sqlListQuarantine, sourceID)
	if err == nil {
		var list []Refused
		if list, err = pgx.CollectRows(rows, pgx.RowToStructByPos[Refused]); err == nil {
			return list, nil
		}
	}
	if classify(err) == classDrift {
		return nil, nil // nothing was ever mirrored
	}
	return nil, fmt.Errorf("read quarantine: %s", publicText(err))
}
