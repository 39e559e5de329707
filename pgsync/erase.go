package pgsync

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"firemode/collections"

	"github.com/jackc/pgx/v5"
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

// erasure says from which version on the images of an operation, and of the document it is in, are without its value.
type erasure struct {
	document string // key
	ver      int64
}

// findErasures notes in changes which of them are operations without their value. The key of the document comes from SQLite:
// the mirror's table of documents may be empty at the time. A comparison may meet what was erased long ago, or an erasure that
// came without its image; either way it is the one update of the operation that the journal has, and what is younger stays.
func (x *txn) findErasures(ctx context.Context, changes []*change) error {
	var pks []string
	keys := map[string]string{}
	for _, c := range changes {
		if c.hidesValue() {
			doc, _, _ := strings.Cut(c.pk, "/")
			pks, keys[doc], c.erased = append(pks, c.pk), "", &erasure{doc, x.ver(c.seq)}
		}
	}
	if len(pks) == 0 {
		return nil
	}
	if err := x.s.src.documents(ctx, keys); err != nil {
		return err
	}
	found := map[string]int64{}
	if x.to.Seq == x.from.Seq { // a comparison, not the log
		var err error
		if found, err = x.s.erasures(ctx, pks); err != nil {
			return err
		}
	}
	for _, c := range changes {
		if c.erased == nil {
			continue
		}
		c.erased.document = keys[c.erased.document]
		if ver, ok := found[c.pk]; ok {
			c.erased.ver = ver
		}
	}
	return nil
}

// hidesValue says that the row is an operation whose value was erased.
func (c *change) hidesValue() bool {
	if c.table.Coll != collections.TableCRDTOps || c.op == opDelete || c.err != nil {
		return false
	}
	q := slices.IndexFunc(c.table.Columns, func(c Column) bool { return c.Name == "q" })
	if q < 0 || c.cells[q] == nil {
		return false
	}
	flags, err := strconv.ParseInt(*c.cells[q], 10, 64)
	return err == nil && flags&flagErased != 0
}

// documents fills in the keys of documents by their numbers.
func (s *source) documents(ctx context.Context, keys map[string]string) error {
	numbers, err := json.Marshal(slices.Collect(maps.Keys(keys)))
	if err != nil {
		return err
	}
	rows, err := s.db.QueryContext(ctx, "SELECT CAST(id AS TEXT), key FROM "+collections.TableCRDTDocs+
		" WHERE id IN (SELECT CAST(value AS INTEGER) FROM json_each(?))", string(numbers))
	if err != nil {
		return fmt.Errorf("%w: documents: %w", errSource, err)
	}
	defer rows.Close()
	for rows.Next() {
		var number, key string
		if err := rows.Scan(&number, &key); err != nil {
			return fmt.Errorf("%w: documents: %w", errSource, err)
		}
		keys[number] = key
	}
	return rows.Err()
}

// erasures are the versions at which the journal has an update of operations.
func (s *session) erasures(ctx context.Context, pks []string) (map[string]int64, error) {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	rows, err := s.conn.Query(ctx, sqlErasures, s.origin, collections.TableCRDTOps, pks, opUpdate, epochShift)
	if err != nil {
		return nil, err
	}
	found := map[string]int64{}
	var pk string
	var ver int64
	_, err = pgx.ForEachRow(rows, []any{&pk, &ver}, func() error {
		found[pk] = ver
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("find erasures: %w", err)
	}
	return found, nil
}

// eraseJournal takes the values that rows have lost, and the documents they were in, out of older images.
func (x *txn) eraseJournal(rows []*change) {
	var pks, documents []string
	var vers []int64
	for _, c := range rows {
		if c.erased != nil {
			pks, documents, vers = append(pks, c.pk), append(documents, c.erased.document), append(vers, c.erased.ver)
			x.erased = append(x.erased, *c.erased)
		}
	}
	if len(pks) == 0 {
		return
	}
	x.batch.Queue(sqlEraseRows, x.s.origin, collections.TableCRDTOps, pks, vers, epochShift)
	if sessions := x.sessions(); sessions != nil {
		x.batch.Queue(sqlEraseRows, x.s.origin, sessions.Coll, documents, vers, epochShift)
	}
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

// eraseHistory empties the documents of superseded versions that held an erased value, and of a version that stands only
// because the next one is in quarantine: it will be superseded with what it holds. Columns that were set aside are emptied
// whatever the version. It comes last in a transaction: the version that holds the value until then becomes a superseded one
// only when its row is written.
func (x *txn) eraseHistory(ctx context.Context) error {
	sessions := x.sessions()
	past := sessions.history()
	if len(x.erased) == 0 || past == nil || past.column(collections.FieldSessionData) == nil {
		return nil
	}
	var documents []string
	var vers []int64
	for _, e := range x.erased {
		documents, vers = append(documents, e.document), append(vers, e.ver)
	}
	field := pgIdent(collections.FieldSessionData)
	x.batch.Queue(past.eraseDocuments(field+" = NULL", "h._ver < e.ver AND h."+field+" IS NOT NULL"), x.s.origin, documents, vers)
	x.batch.Queue(sessions.eraseDocuments(field+" = DEFAULT", "h._ver < e.ver AND h._stale"), x.s.origin, documents, vers)
	for _, t := range []*Table{sessions, past} {
		columns, err := columnsOf(ctx, x.s.conn, t)
		if err != nil {
			return err
		}
		for name := range columns {
			if strings.HasPrefix(name, droppedMark) && strings.HasSuffix(name, "_"+collections.FieldSessionData) {
				x.batch.Queue(t.eraseDocuments(pgIdent(name)+" = NULL", "h."+pgIdent(name)+" IS NOT NULL"), x.s.origin, documents, vers)
			}
		}
	}
	return nil
}

// eraseDocuments sets something in the rows of the sessions $2, erased at the versions $3, that meet a condition.
func (t *Table) eraseDocuments(set, where string) string {
	key := "e.key"
	if t.UUID { // only a UUID may be cast to one
		key = "CASE WHEN e.key ~ '" + uuidPattern + "' THEN e.key::uuid END"
	}
	return fmt.Sprintf(`UPDATE %s h SET %s FROM unnest($2::text[], $3::bigint[]) AS e (key, ver)
		WHERE h._origin = $1 AND h.id = %s AND %s`, t.pgName(), set, key, where)
}
