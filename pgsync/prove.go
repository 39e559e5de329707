package pgsync

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/pocketbase/pocketbase/core"
	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
)

// Why there is no proof.
var (
	ErrNoRun      = errors.New("no such sealed run: make one with firemode mirror verify --sealed")
	ErrRunUnequal = errors.New("the run found the databases unequal, which proves nothing about a row")
	ErrRunChanged = errors.New("rows that were there in that run have changed since or are gone, so its tree cannot be made again; " +
		"make a fresh run with firemode mirror verify --sealed and prove the row right after it")
	ErrNoRow = errors.New("the run had no such row; if it is newer, make a fresh run with firemode mirror verify --sealed")
)

// Prove makes the proof that a row, with exactly the values it has in PostgreSQL now, was in a sealed run: the named one,
// or with "" the newest that was equal. The tree of its table is made again from the rows that are not newer than the run,
// so what was added since does no harm; when one was changed or deleted, the error is ErrRunChanged. It only reads.
func Prove(ctx context.Context, app core.App, dsn, table, id, run string) (Proof, error) {
	src, conn, sourceID, err := openBoth(ctx, app, dsn)
	if err != nil {
		return Proof{}, err
	}
	defer src.close()
	defer conn.Close(context.WithoutCancel(ctx))
	tx, err := conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return Proof{}, fmt.Errorf("prove: %s", publicText(err))
	}
	defer tx.Rollback(context.WithoutCancel(ctx))
	p, err := prove(ctx, conn, sourceID, table, id, run)
	if err != nil {
		return Proof{}, fmt.Errorf("prove %s/%s: %w", table, id, err)
	}
	return p, nil
}

func prove(ctx context.Context, conn *pgx.Conn, sourceID, table, id, name string) (Proof, error) {
	run, origin, err := readRun(ctx, conn, sourceID, name)
	if err != nil {
		return Proof{}, err
	}
	if !run.Equal {
		return Proof{}, fmt.Errorf("%w (run %s)", ErrRunUnequal, run.Run)
	}
	s := &session{conn: conn, origin: origin, reg: registry{}}
	if err := s.readShapes(ctx); err != nil {
		return Proof{}, err
	}
	at := slices.IndexFunc(run.Tables, func(t TableReport) bool { return t.Table == table || t.Collection == table })
	if at < 0 {
		return Proof{}, errors.New("no such table in the run")
	}
	_, then, err := run.Tables[at].sums()
	if err != nil {
		return Proof{}, err
	}
	p := Proof{
		Format: ProofFormat, Root: run.SourceRoot, SourceID: sourceID, Epoch: run.Epoch, Seq: run.Position, Run: run.Run,
		Table: then.Name, Collection: then.Coll, ID: id,
	}
	t := s.reg.table(then.Coll)
	if t == nil || !bytes.Equal(t.shapeDigest(), then.Shape) {
		return Proof{}, changedSince(run)
	}
	same, err := s.proveRow(ctx, t, then, &p)
	switch {
	case err != nil:
		return Proof{}, err
	case !same:
		return Proof{}, changedSince(run)
	case p.RowPath == nil:
		return Proof{}, ErrNoRow
	case p.Cells == nil:
		return Proof{}, errors.New("the row is in quarantine and has no columns")
	}
	if err := p.proveTable(run, at); err != nil {
		return Proof{}, err
	}
	return p, p.verify()
}

func changedSince(run Report) error {
	return fmt.Errorf("run %s of %s: %w", run.Run, run.At.Format(time.RFC3339), ErrRunChanged)
}

// proveRow makes the tree of a table as it was in the run, in one pass, and takes from it what leads from the row to its
// root: what is left of the row when it comes, what is right of it as it grows. same is false when it is not that tree.
func (s *session) proveRow(ctx context.Context, t *Table, then tableSum, p *Proof) (same bool, err error) {
	ver := p.Epoch<<epochShift | p.Seq
	kept, err := s.kept(ctx, t, ver)
	if err != nil {
		return false, err
	}
	grown := newTree()
	var path proof.Nodes
	siblings := map[compact.NodeID][]byte{}
	found := false
	var leaf []byte
	var stored int64
	for row, err := range withKept(s.columnRows(ctx, t, ver), kept, &stored) {
		if err != nil {
			return false, err
		}
		if grown.size() == then.Rows {
			return false, nil // more rows than there were
		}
		if row.pk == p.ID {
			found = true
			p.RowIndex, p.Rows, p.Cells = grown.size(), then.Rows, provenCells(t, row.cells)
			if path, err = proof.Inclusion(uint64(p.RowIndex), uint64(p.Rows)); err != nil {
				return false, err
			}
			for i, id := range compact.RangeNodes(0, uint64(p.RowIndex), nil) {
				siblings[id] = grown.nodes.Hashes()[i]
			}
			for _, id := range path.IDs {
				if siblings[id] == nil {
					siblings[id] = []byte{}
				}
			}
			grown.visit = func(id compact.NodeID, hash []byte) {
				if known, wanted := siblings[id]; wanted && len(known) == 0 {
					siblings[id] = hash
				}
			}
		}
		leaf = appendRowLeaf(leaf[:0], row.pk, row.hash)
		grown.add(leaf)
	}
	if grown.size() != then.Rows || !bytes.Equal(grown.root(), then.Root) {
		return false, nil
	}
	if found {
		p.RowPath, err = pathOf(path, siblings)
	}
	return true, err
}

// proveTable takes what leads from the table to the root of the run.
func (p *Proof) proveTable(run Report, at int) error {
	p.TableIndex, p.Tables = int64(at), int64(len(run.Tables))
	path, err := proof.Inclusion(uint64(at), uint64(len(run.Tables)))
	if err != nil {
		return err
	}
	siblings := map[compact.NodeID][]byte{}
	t := newTree()
	t.visit = func(id compact.NodeID, hash []byte) { siblings[id] = hash }
	for _, table := range run.Tables {
		sum, _, err := table.sums()
		if err != nil {
			return err
		}
		t.add(sum.leaf())
	}
	p.TablePath, err = pathOf(path, siblings)
	return err
}

func pathOf(path proof.Nodes, siblings map[compact.NodeID][]byte) ([]string, error) {
	hashes := make([][]byte, len(path.IDs))
	for i, id := range path.IDs {
		hashes[i] = siblings[id]
	}
	hashes, err := path.Rehash(hashes, rfc6962.DefaultHasher.HashChildren)
	texts := make([]string, len(hashes))
	for i, h := range hashes {
		texts[i] = hex.EncodeToString(h)
	}
	return texts, err
}

// provenCells are the cells of a row in their canonical form and order.
func provenCells(t *Table, cells []cell) []ProofCell {
	if cells == nil {
		return nil
	}
	var c canonicalizer
	var out []ProofCell
	for _, i := range t.form().order {
		column := &t.Columns[i]
		cell := ProofCell{Field: column.Field, Kind: column.Kind, Column: column.Name}
		if cells[i] != nil {
			cell.Value = ptr(string(c.appendCanonical(nil, column.Kind, *cells[i])))
		}
		out = append(out, cell)
	}
	return out
}
