package pgsync

import (
	"database/sql"
	"errors"
	"fmt"
	"slices"

	"github.com/google/uuid"
	"github.com/pocketbase/dbx"
	"github.com/pocketbase/pocketbase/core"
	"github.com/pocketbase/pocketbase/tools/hook"
)

// Names of the SQLite tables that the first migration creates.
const (
	logTable  = "_pgsync_log"
	metaTable = "_pgsync_meta"
)

// Keys of _pgsync_meta.
const (
	metaSourceID    = "source_id"
	metaAckedHint   = "acked"  // a late copy of the position
	metaArmedPrefix = "armed:" // + collection id: the table as its triggers capture it
)

// hookPriority is just outside PocketBase's own handler (99), which changes the table.
const hookPriority = 98

type capture struct{ src Source }

// Register keeps the capture triggers true through every later change of a collection: in the transaction of the
// change they are dropped, recreated from the new shape, and a barrier with that shape enters the log. Call it once,
// before migrations run. A database without the log table is left alone until Arm.
func Register(app core.App, src Source) {
	c := capture{src}
	app.OnCollectionCreateExecute().Bind(&hook.Handler[*core.CollectionEvent]{
		Id: "firemode.pgsync.create", Priority: hookPriority, Func: c.saved,
	})
	app.OnCollectionUpdateExecute().Bind(&hook.Handler[*core.CollectionEvent]{
		Id: "firemode.pgsync.update", Priority: hookPriority, Func: c.saved,
	})
	app.OnCollectionDeleteExecute().Bind(&hook.Handler[*core.CollectionEvent]{
		Id: "firemode.pgsync.delete", Priority: hookPriority, Func: c.deleted,
	})
}

// Arm makes sure that every table of src is captured, and gives the database its source id. It may be called at every
// start and MUST be called after the migrations and before the first write that the mirror must see. Tables whose
// changes may have been missed so far are marked for a full comparison.
func Arm(app core.App, src Source) error {
	return app.RunInTransaction(func(tx core.App) error {
		if err := ensureSourceID(tx); err != nil {
			return err
		}
		var tables []*Table
		for _, name := range src.Collections {
			c, err := tx.FindCollectionByNameOrId(name)
			if err != nil {
				return fmt.Errorf("find collection %s: %w", name, err)
			}
			t, err := tableOf(tx, c)
			if err != nil {
				return err
			}
			tables = append(tables, t)
		}
		for _, p := range src.Tables {
			tables = append(tables, p.table())
		}
		for _, t := range tables {
			if err := armTable(tx, t); err != nil {
				return fmt.Errorf("arm %s: %w", t.Name, err)
			}
		}
		return armErasure(tx, src)
	})
}

// LogEnd is the number of the newest log entry: what [Worker.WaitMirrored] takes after a commit.
func LogEnd(app core.App) (int64, error) {
	var seq int64
	err := app.DB().NewQuery("SELECT coalesce(max(seq),0) FROM _pgsync_log").Row(&seq)
	if err != nil {
		return 0, fmt.Errorf("read log end: %w", err)
	}
	return seq, nil
}

func ensureSourceID(app core.App) error {
	id, err := uuid.NewRandom()
	if err != nil {
		return fmt.Errorf("make source id: %w", err)
	}
	return execute(app, "INSERT INTO _pgsync_meta(k,v) VALUES({:k},{:v}) ON CONFLICT DO NOTHING",
		dbx.Params{"k": metaSourceID, "v": id.String()})
}

func armTable(app core.App, t *Table) error {
	armed, err := armedTable(app, t.Coll)
	if err != nil {
		return err
	}
	have, err := existingTriggers(app, t.Coll)
	if err != nil {
		return err
	}
	captured := armed != nil && slices.Equal(have, armed.triggers())
	if captured && armed.encode() == t.encode() {
		return nil
	}
	if err := checkBlobs(app, t); err != nil {
		return err
	}
	if err := installTriggers(app, t); err != nil {
		return err
	}
	if captured {
		return nil // every change up to here is in the log; only the shape is new
	}
	if armed == nil {
		var rows int
		if err := app.DB().NewQuery("SELECT EXISTS (SELECT 1 FROM " + quoteIdent(t.Name) + ")").Row(&rows); err != nil {
			return fmt.Errorf("look for rows: %w", err)
		}
		if rows == 0 {
			return nil
		}
	}
	return appendEntry(app, t.Coll, opResync, nil)
}

// checkBlobs refuses a collection with BLOB values in mirrored columns: its triggers would abort writes to those rows.
func checkBlobs(app core.App, t *Table) error {
	if t.plain() {
		return nil
	}
	for _, c := range t.Columns {
		var found int
		err := app.DB().NewQuery(fmt.Sprintf("SELECT EXISTS (SELECT 1 FROM %s WHERE typeof(%s)='blob')",
			quoteIdent(t.Name), quoteIdent(c.Name))).Row(&found)
		if err != nil {
			return fmt.Errorf("look for binary values: %w", err)
		}
		if found != 0 {
			return fmt.Errorf("column %s holds binary values, which a mirrored collection cannot", c.Name)
		}
	}
	return nil
}

func (c capture) saved(e *core.CollectionEvent) error {
	armed, err := c.mirrors(e)
	if err != nil {
		return err
	}
	if !armed {
		return e.Next()
	}
	return inTx(e, func(tx core.App) error {
		// An image trigger names columns, so PocketBase could not drop one while it stands.
		if err := dropTriggers(tx, e.Collection.Id); err != nil {
			return err
		}
		if err := e.Next(); err != nil {
			return err
		}
		t, err := tableOf(tx, e.Collection)
		if err != nil {
			return err
		}
		return installTriggers(tx, t)
	})
}

func (c capture) deleted(e *core.CollectionEvent) error {
	armed, err := c.mirrors(e)
	if err != nil {
		return err
	}
	if !armed {
		return e.Next()
	}
	return inTx(e, func(tx core.App) error {
		if err := e.Next(); err != nil {
			return err
		}
		if err := execute(tx, "DELETE FROM _pgsync_meta WHERE k={:k}", dbx.Params{"k": metaArmedPrefix + e.Collection.Id}); err != nil {
			return err
		}
		return appendEntry(tx, e.Collection.Id, opDropped, nil)
	})
}

// mirrors is true for a collection of the source and for one that is armed already, whatever it is called now.
func (c capture) mirrors(e *core.CollectionEvent) (bool, error) {
	if e.Collection.IsView() || !e.App.HasTable(logTable) || !e.App.HasTable(metaTable) {
		return false, nil
	}
	if c.src.hasCollection(e.Collection.Name) {
		return true, nil
	}
	armed, err := armedTable(e.App, e.Collection.Id)
	return armed != nil, err
}

// inTx runs fn with the event's app inside one transaction and puts the app back.
func inTx(e *core.CollectionEvent, fn func(tx core.App) error) error {
	outer := e.App
	defer func() { e.App = outer }()
	return outer.RunInTransaction(func(tx core.App) error {
		e.App = tx
		return fn(tx)
	})
}

// installTriggers captures t from now on and, when its shape is new, says so in the log.
func installTriggers(app core.App, t *Table) error {
	if err := dropTriggers(app, t.Coll); err != nil {
		return err
	}
	for _, tr := range t.triggers() {
		if err := execute(app, tr.sql, nil); err != nil {
			return fmt.Errorf("create trigger %s: %w", tr.name, err)
		}
	}
	armed, err := armedTable(app, t.Coll)
	if err != nil {
		return err
	}
	shape := t.encode()
	if armed != nil && armed.encode() == shape {
		return nil
	}
	if err := appendEntry(app, t.Coll, opBarrier, &shape); err != nil {
		return err
	}
	return execute(app, "INSERT INTO _pgsync_meta(k,v) VALUES({:k},{:v}) ON CONFLICT(k) DO UPDATE SET v=excluded.v",
		dbx.Params{"k": metaArmedPrefix + t.Coll, "v": shape})
}

func dropTriggers(app core.App, coll string) error {
	for _, name := range triggerNames(coll) {
		if err := execute(app, "DROP TRIGGER IF EXISTS "+quoteIdent(name), nil); err != nil {
			return fmt.Errorf("drop trigger %s: %w", name, err)
		}
	}
	return nil
}

func existingTriggers(app core.App, coll string) ([]trigger, error) {
	var found []trigger
	for _, name := range triggerNames(coll) {
		text, err := objectSQL(app, name)
		if err != nil {
			return nil, err
		}
		if text != "" {
			found = append(found, trigger{name, text})
		}
	}
	return found, nil
}

// objectSQL is the statement that made a trigger or an index, "" when there is none.
func objectSQL(app core.App, name string) (text string, err error) {
	err = app.DB().NewQuery("SELECT sql FROM sqlite_schema WHERE type IN ('trigger','index') AND name={:n}").Bind(dbx.Params{"n": name}).Row(&text)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return "", fmt.Errorf("read schema of %s: %w", name, err)
	}
	return text, nil
}

func armedTable(app core.App, coll string) (*Table, error) {
	var text string
	err := app.DB().NewQuery("SELECT v FROM _pgsync_meta WHERE k={:k}").
		Bind(dbx.Params{"k": metaArmedPrefix + coll}).Row(&text)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read armed table: %w", err)
	}
	return decodeTable(text)
}

func appendEntry(app core.App, coll string, op int, image *string) error {
	return execute(app, "INSERT INTO _pgsync_log(coll,pk,op,at,nonce,img) VALUES({:c},'',{:o},"+nowMillis+",random(),{:i})",
		dbx.Params{"c": coll, "o": op, "i": image})
}

func execute(app core.App, query string, params dbx.Params) error {
	_, err := app.DB().NewQuery(query).Bind(params).Execute()
	return err
}
