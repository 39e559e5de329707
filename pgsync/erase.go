package pgsync

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"firemode/collections"

	"github.com/pocketbase/pocketbase/core"
)

// A value of the operation log that was erased in SQLite must not stay in an older image of its row or of the document
// made from it: neither in the log of changes, which may wait for PostgreSQL for days, nor in PostgreSQL's journal, nor in
// its history.

// flagErased is the flag in crdt_ops.q of an operation whose value was erased.
const flagErased = 32

// armErasure makes the triggers that erase older images in the log of changes, and the indexes that find them: of the
// operation its line becomes the one that is left, of the session its document becomes empty, once per redaction, until
// the image that follows in the same transaction. Both indexes are small: operations come in runs without images, and a
// session has an entry per commit. The tables MUST exist; a source without the operation log needs none.
func armErasure(app core.App, src Source) error {
	if !src.hasTable(collections.TableCRDTOps) || !src.hasCollection(collections.TestSessions) || !app.HasTable(collections.TableCRDTRedactions) {
		return nil
	}
	sessions, err := app.FindCollectionByNameOrId(collections.TestSessions)
	if err != nil {
		return fmt.Errorf("find %s: %w", collections.TestSessions, err)
	}
	// The statements hold the words of the indexes' conditions, without which SQLite does not use them.
	ofSession := "coll=" + quoteText(sessions.Id) + " AND img IS NOT NULL"
	ofOperation := "coll=" + quoteText(collections.TableCRDTOps) + " AND img IS NOT NULL"
	for _, o := range []object{
		{"INDEX", "_pgsync_log_sessions", "ON _pgsync_log (pk) WHERE " + ofSession},
		{"INDEX", "_pgsync_log_operations", "ON _pgsync_log (pk) WHERE " + ofOperation},
		{"TRIGGER", "_pgsync_erase_document", fmt.Sprintf(`AFTER INSERT ON %[1]s
			WHEN NOT EXISTS (SELECT 1 FROM %[1]s r WHERE r.doc=NEW.doc AND r.by_n=NEW.by_n AND r.n<>NEW.n)
			BEGIN UPDATE _pgsync_log SET img=json_set(img,'$.%[2]s','{}') WHERE %[3]s AND pk=(SELECT key FROM %[4]s WHERE id=NEW.doc); END`,
			collections.TableCRDTRedactions, collections.FieldSessionData, ofSession, collections.TableCRDTDocs)},
		{"TRIGGER", "_pgsync_erase_operation", fmt.Sprintf(`AFTER UPDATE OF line ON %s
			BEGIN UPDATE _pgsync_log SET img=json_set(img,'$.line',CAST(NEW.line AS TEXT)) WHERE %s AND pk=NEW.doc||'/'||NEW.n; END`,
			collections.TableCRDTOps, ofOperation)},
	} {
		if err := o.ensure(app); err != nil {
			return err
		}
	}
	return nil
}

// object is a trigger or an index and what follows its name.
type object struct{ kind, name, body string }

// ensure makes o, or makes it anew when it is another one.
func (o object) ensure(app core.App) error {
	want := "CREATE " + o.kind + " " + o.name + " " + o.body
	have, err := objectSQL(app, o.name)
	if err != nil || have == want {
		return err
	}
	for _, statement := range []string{"DROP " + o.kind + " IF EXISTS " + o.name, want} {
		if err := execute(app, statement, nil); err != nil {
			return fmt.Errorf("make %s: %w", o.name, err)
		}
	}
	return nil
}

// erasuresCarried is false for the comparison of a table whose log was not carried entry by entry: an erasure may have been
// among what was missed, and is done again. Elsewhere it would take with it what was recorded since.
func (s *session) erasuresCarried(ctx context.Context, t *Table) (bool, error) {
	if t.Coll != collections.TableCRDTOps {
		return true, nil
	}
	var mode string
	_, err := queryOne(ctx, s.conn, `SELECT mode FROM fm_sync.reconcile_run WHERE origin = $1 AND coll = $2 AND ended IS NULL`,
		[]any{s.origin, t.Coll}, &mode)
	if err != nil {
		return false, fmt.Errorf("read comparison: %w", err)
	}
	return mode != ModeSnapshot && mode != ModeAdopt, nil
}

// eraseJournal takes the values that rows have lost, and the documents they were in, out of older images.
func (x *txn) eraseJournal(t *Table, rows []*change) {
	if t.Coll != collections.TableCRDTOps {
		return
	}
	q := slices.IndexFunc(t.Columns, func(c Column) bool { return c.Name == "q" })
	var pks, docs []string
	var before int64
	for _, c := range rows {
		if q < 0 || c.cells[q] == nil {
			continue
		}
		if flags, err := strconv.ParseInt(*c.cells[q], 10, 64); err == nil && flags&flagErased != 0 {
			doc, _, _ := strings.Cut(c.pk, "/")
			pks, docs, before = append(pks, c.pk), append(docs, doc), max(before, c.seq)
		}
	}
	if len(pks) == 0 {
		return
	}
	x.batch.Queue(sqlEraseRows, x.s.origin, x.to.Epoch, before, t.Coll, pks)
	if sessions := x.sessions(); sessions != nil {
		x.batch.Queue(sqlEraseDocuments, x.s.origin, x.to.Epoch, before, sessions.Coll, docs)
	}
	x.erased.docs, x.erased.before = append(x.erased.docs, docs...), max(x.erased.before, before)
}

// erasure is what a transaction has to take out of the history.
type erasure struct {
	docs   []string
	before int64 // number of the log entry from which on the document is without the values
}

// sessions is the table whose documents are made from the operation log.
func (x *txn) sessions() *Table {
	for _, state := range x.reg {
		if state.table != nil && state.table.Name == collections.TestSessions {
			return state.table
		}
	}
	return nil
}

// uuidPattern is isUUID in SQL.
const uuidPattern = "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"

// eraseHistory empties the documents of superseded versions that held an erased value. It comes last in a transaction: the
// version that holds the value until then becomes one only when its row is written.
func (x *txn) eraseHistory() {
	past := x.sessions().history()
	if len(x.erased.docs) == 0 || past == nil || past.column(collections.FieldSessionData) == nil {
		return
	}
	x.batch.Queue(past.eraseDocuments(), x.s.origin, x.ver(x.erased.before), x.erased.docs)
}

// eraseDocuments empties the documents of versions from before $2 in a history of sessions.
func (t *Table) eraseDocuments() string {
	key := "d.key"
	if t.UUID { // only a UUID may be cast to one
		key = "CASE WHEN d.key ~ '" + uuidPattern + "' THEN d.key::uuid END"
	}
	return fmt.Sprintf(`UPDATE %s h SET %[2]s = NULL FROM fm_mirror.%s d
		WHERE d._origin = $1 AND d.id = ANY ($3::text[]) AND h._origin = $1 AND h.id = %s AND h._ver < $2 AND h.%[2]s IS NOT NULL`,
		t.pgName(), collections.FieldSessionData, collections.TableCRDTDocs, key)
}
