package pgsync

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"firemode/collections"

	"github.com/pocketbase/pocketbase/core"
)

// A value of the operation log that was erased in SQLite must not stay in an older image of its row or of the document
// made from it: neither in the log of changes, which may wait for PostgreSQL for days, nor in PostgreSQL's journal.

// flagErased is the flag in crdt_ops.q of an operation whose value was erased.
const flagErased = 32

// eraseTriggers are the names of the triggers that armErasure makes.
var eraseTriggers = []string{"_pgsync_erase_document", "_pgsync_erase_operation"}

// armErasure makes the triggers that erase older images in the log of changes: of the operation its line becomes the one
// that is left, of the session its document becomes empty until the image that follows in the same transaction. A log
// without an index on rows is walked once per erased value; that is rare and the log mostly short. The tables MUST exist;
// a source without the operation log needs none.
func armErasure(app core.App, src Source) error {
	if !src.hasTable(collections.TableCRDTOps) || !src.hasCollection(collections.TestSessions) || !app.HasTable(collections.TableCRDTRedactions) {
		return nil
	}
	sessions, err := app.FindCollectionByNameOrId(collections.TestSessions)
	if err != nil {
		return fmt.Errorf("find %s: %w", collections.TestSessions, err)
	}
	bodies := []string{
		fmt.Sprintf(`AFTER INSERT ON %s BEGIN UPDATE _pgsync_log SET img=json_set(img,'$.%s','{}')
			WHERE coll=%s AND img IS NOT NULL AND pk=(SELECT key FROM %s WHERE id=NEW.doc); END`,
			collections.TableCRDTRedactions, collections.FieldSessionData, quoteText(sessions.Id), collections.TableCRDTDocs),
		fmt.Sprintf(`AFTER UPDATE OF line ON %s BEGIN UPDATE _pgsync_log SET img=json_set(img,'$.line',CAST(NEW.line AS TEXT))
			WHERE coll=%s AND img IS NOT NULL AND pk=NEW.doc||'/'||NEW.n; END`,
			collections.TableCRDTOps, quoteText(collections.TableCRDTOps)),
	}
	for i, name := range eraseTriggers {
		want := "CREATE TRIGGER " + name + " " + bodies[i]
		have, err := triggerSQL(app, name)
		if err != nil {
			return err
		}
		if have == want {
			continue
		}
		for _, statement := range []string{"DROP TRIGGER IF EXISTS " + name, want} {
			if err := execute(app, statement, nil); err != nil {
				return fmt.Errorf("make trigger %s: %w", name, err)
			}
		}
	}
	return nil
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
	sessions := ""
	for coll, state := range x.reg {
		if state.table != nil && state.table.Name == collections.TestSessions {
			sessions = coll
		}
	}
	if len(pks) > 0 {
		x.batch.Queue(sqlErase, x.s.origin, x.to.Epoch, before, t.Coll, pks, sessions, docs)
	}
}
