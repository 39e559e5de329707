package merge

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"firemode/crdt"

	"github.com/pocketbase/dbx"
)

// The list of conflicts, crdt_conflicts, has a row for every field that was ever in conflict,
// over all documents. It changes in the transaction of the operations that open or resolve a
// conflict. Looking at the fields that a round has touched is enough, but for operations that
// bring others into effect or take them back: then all of the document's are compared.

const (
	// listedParam says that the list holds every document's conflicts: documents from before
	// it are entered after the first start.
	listedParam = "conflicts_listed"
	// listBatch bounds the documents entered in one transaction.
	listBatch = 10
)

const (
	sqlOpenConflict = `INSERT INTO crdt_conflicts (doc, path, policy, value_count, opened_at, changed_at) VALUES ({:doc}, {:path}, {:policy}, {:values}, {:at}, {:at})
		ON CONFLICT (doc, path) DO UPDATE SET policy = excluded.policy, value_count = excluded.value_count, changed_at = excluded.changed_at,
			opened_at = iif(resolved_at = 0, opened_at, excluded.opened_at), resolved_at = 0`
	sqlListed          = `INSERT INTO _fm_params (k, v) VALUES ({:k}, '1') ON CONFLICT (k) DO NOTHING`
	sqlResolveConflict = `UPDATE crdt_conflicts SET value_count = {:values}, changed_at = {:at}, resolved_at = {:at} WHERE doc = {:doc} AND path = {:path}`
)

// touched are the fields of a document that a job or a round has written to.
type touched struct {
	all   bool // any field may have changed
	paths map[string]struct{}
}

// note adds what e may change.
func (t *touched) note(d *document, e *entry) {
	for i := range e.ops {
		op := &e.ops[i]
		switch {
		case admits(op), redacts(op), op.Origin != "", d.state.Claimed():
			t.all = true
		case op.Kind == crdt.Put || op.Kind == crdt.Rem:
			t.paths[op.Path] = struct{}{}
		}
	}
}

func (t *touched) merge(other *touched) {
	t.all = t.all || other.all
	maps.Copy(t.paths, other.paths)
}

// listConflicts brings the rows of d up to date.
func (r *round) listConflicts(d *document, t *touched) error {
	if d.id == 0 {
		return nil
	}
	if d.open == nil {
		open, err := r.openConflicts(d.id)
		if err != nil {
			return err
		}
		d.open = open
	}
	paths := t.paths
	if t.all {
		paths = map[string]struct{}{}
		for path := range d.open {
			paths[path] = struct{}{}
		}
		for _, path := range d.state.Conflicts() {
			paths[path] = struct{}{}
		}
	}
	at := r.s.config.Now().UnixMilli()
	for _, path := range slices.Sorted(maps.Keys(paths)) {
		policy, values, conflict := r.s.schema.Contention(d.state, path)
		params := dbx.Params{"doc": d.id, "path": path, "policy": string(policy), "values": values, "at": at}
		before, listed := d.open[path]
		var err error
		switch {
		case conflict && before != values:
			err = r.exec(sqlOpenConflict, params)
			d.open[path] = values
		case !conflict && listed:
			delete(params, "policy")
			err = r.exec(sqlResolveConflict, params)
			delete(d.open, path)
		}
		if err != nil {
			return fmt.Errorf("list conflict: %w", err)
		}
	}
	return nil
}

// openConflicts reads the rows of a document that are not resolved: path and values.
func (r *round) openConflicts(doc int64) (map[string]int, error) {
	rows, err := r.stmt(`SELECT path, value_count FROM crdt_conflicts WHERE doc = {:doc} AND resolved_at = 0`, dbx.Params{"doc": doc}).Rows()
	if err != nil {
		return nil, fmt.Errorf("read conflicts: %w", err)
	}
	defer rows.Close()
	open := map[string]int{}
	for rows.Next() {
		var path string
		var values int
		if err := rows.Scan(&path, &values); err != nil {
			return nil, fmt.Errorf("read conflicts: %w", err)
		}
		open[path] = values
	}
	return open, rows.Err()
}

// findUnlisted notes the documents whose conflicts are not in the list yet: those from before
// there was one.
func (s *Service) findUnlisted(ctx context.Context) error {
	var listed bool
	db := s.app.ConcurrentDB()
	err := db.NewQuery(`SELECT EXISTS (SELECT 1 FROM _fm_params WHERE k = {:k})`).WithContext(ctx).Bind(dbx.Params{"k": listedParam}).Row(&listed)
	s.unlisted = nil
	if err == nil && !listed {
		err = db.NewQuery(`SELECT d.key FROM crdt_docs d JOIN test_sessions s ON s.id = d.key
			WHERE instr(s.session_data, '"$conflict":true') > 0 OR s.server_seq < d.n ORDER BY d.key`).WithContext(ctx).Column(&s.unlisted)
	}
	if err == nil && !listed && len(s.unlisted) == 0 {
		_, err = s.app.NonconcurrentDB().NewQuery(sqlListed).WithContext(ctx).Bind(dbx.Params{"k": listedParam}).Execute()
	}
	if err != nil {
		return fmt.Errorf("find conflicts to list: %w", err)
	}
	return nil
}

// listUnlisted is a job of the writer itself: it enters some of the documents that findUnlisted
// found and, after the last one, notes that the list is complete. A document that cannot be
// read is left to verify.
func (s *Service) listUnlisted(b *Batch) error {
	n := min(listBatch, len(s.unlisted))
	for _, id := range s.unlisted[:n] {
		d, err := b.r.document(id)
		if errors.Is(err, ErrLogDamaged) {
			continue
		}
		if err != nil {
			return err
		}
		b.change(d) // what is noted in memory goes with the job
		if err := b.r.listConflicts(d, &touched{all: true}); err != nil {
			return err
		}
	}
	if n == len(s.unlisted) {
		if err := b.r.exec(sqlListed, dbx.Params{"k": listedParam}); err != nil {
			return fmt.Errorf("note that conflicts are listed: %w", err)
		}
	}
	return nil
}
