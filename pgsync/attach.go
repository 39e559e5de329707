package pgsync

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// attach adds the foreign keys that are missing, once every table is complete. Rows that refer to nothing, which
// PocketBase allows, go to quarantine first, and so do the rows that then refer to those.
func (s *session) attach(ctx context.Context) error {
	missing, outdated, err := s.guardDiff(ctx)
	if err != nil {
		return err
	}
	if len(missing)+len(outdated) == 0 {
		s.guardsDue = false
		return nil
	}
	err = s.attempt(ctx, s.pos, 0, false, func(x *txn) error {
		if err := x.flush(ctx); err != nil {
			return err
		}
		return x.longer(ctx, func(ctx context.Context) error { return x.attach(ctx, missing, outdated) })
	})
	if err == nil {
		s.guardsDue = false
	}
	return err
}

func (x *txn) attach(ctx context.Context, missing, outdated []tableGuard) error {
	if err := x.quarantineDangling(ctx); err != nil {
		return err
	}
	if _, err := x.s.conn.Exec(ctx, "SET CONSTRAINTS ALL IMMEDIATE"); err != nil {
		return err
	}
	for _, o := range outdated {
		if _, err := x.s.conn.Exec(ctx, o.guard.drop(o.table)); err != nil {
			return fmt.Errorf("drop %s: %w", o.guard.name, err)
		}
	}
	for _, m := range missing {
		if err := tryStatement(ctx, x.s.conn, m.guard.create(m.table, false)); err != nil {
			return fmt.Errorf("create %s: %w", m.guard.name, err)
		}
	}
	return nil
}

type tableGuard struct {
	table *Table
	guard guard
}

// guardDiff lists constraints and indexes of every kind that should exist and do not, and foreign keys that should not
// exist any more.
func (s *session) guardDiff(ctx context.Context) (missing, outdated []tableGuard, err error) {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	for _, coll := range s.reg.order() {
		t := s.reg.table(coll)
		have, err := guardsOf(ctx, s.conn, t)
		if err != nil {
			return nil, nil, err
		}
		wanted := t.guards()
		for _, fk := range t.foreignKeys(s.reg) {
			wanted = append(wanted, fk.guard)
		}
		for _, g := range wanted {
			if _, exists := have[g.name]; !exists {
				missing = append(missing, tableGuard{t, g})
			}
			delete(have, g.name)
		}
		for name := range have {
			if strings.HasPrefix(name, guardPrefix+"fk_") {
				outdated = append(outdated, tableGuard{t, guard{name: name, constraint: true}})
			}
		}
	}
	return missing, outdated, nil
}

// quarantineDangling takes rows out whose relation leads nowhere, until none is left: each round may orphan others.
func (x *txn) quarantineDangling(ctx context.Context) error {
	for _, coll := range x.reg.order() {
		// Statistics of freshly filled tables are missing, and without them the joins may be planned as nested loops.
		if _, err := x.s.conn.Exec(ctx, "ANALYZE "+x.reg.table(coll).pgName()); err != nil {
			return err
		}
	}
	for again := true; again; {
		again = false
		for _, coll := range x.reg.order() {
			t := x.reg.table(coll)
			for _, fk := range t.foreignKeys(x.reg) {
				n, err := x.quarantineOrphans(ctx, t, fk)
				if err != nil {
					return err
				}
				again = again || n > 0
			}
		}
	}
	return nil
}

func (x *txn) quarantineOrphans(ctx context.Context, t *Table, fk foreignKey) (int, error) {
	name := pgIdent(fk.column.Name)
	rows, err := x.s.conn.Query(ctx, `SELECT c.id::text FROM `+t.pgName()+` c WHERE c._origin = $1 AND c.`+name+` IS NOT NULL
		AND NOT EXISTS (SELECT 1 FROM `+fk.target.pgName()+` p WHERE p._origin = c._origin AND p.id = c.`+name+`) LIMIT $2`,
		x.s.origin, chunkMaxRows)
	if err != nil {
		return 0, err
	}
	pks, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || len(pks) == 0 {
		return 0, err
	}
	for _, pk := range pks {
		x.quarantine(&change{table: t, pk: pk, seq: x.to.Seq, op: opUpdate}, "23503", fk.name, "refers to a row that does not exist")
	}
	x.batch.Queue(t.delete(), x.s.origin, pks)
	return len(pks), x.flush(ctx)
}
