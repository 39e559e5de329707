package merge

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"

	"firemode/crdt"

	"github.com/pocketbase/dbx"
)

// A snapshot saves reading the whole log when a document is opened. One is written when the
// document has snapEveryOps operations more than the last one, and snapGrowth of its size,
// so that writing them costs a fixed share of the work however long the log.
const (
	snapEveryOps = 2000
	snapGrowth   = 4 // one part in
)

const (
	sqlReadSnapshot  = `SELECT n, state FROM crdt_snaps WHERE doc = {:doc} AND n <= {:n} ORDER BY n DESC LIMIT 1`
	sqlWriteSnapshot = `INSERT INTO crdt_snaps (doc, n, digest, state) VALUES ({:doc}, {:n}, {:digest}, {:state}) ON CONFLICT (doc, n) DO NOTHING`
	sqlDropSnapshots = `DELETE FROM crdt_snaps WHERE doc = {:doc} AND n < {:n}`
)

// readSnapshot returns the newest snapshot at or before n, or position 0 when there is none.
func readSnapshot(ctx context.Context, db dbx.Builder, doc, n int64) (at int64, state []byte, err error) {
	err = db.NewQuery(sqlReadSnapshot).WithContext(ctx).Bind(dbx.Params{"doc": doc, "n": n}).Row(&at, &state)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil, nil
	}
	if err != nil {
		return 0, nil, fmt.Errorf("read snapshot: %w", err)
	}
	return at, state, nil
}

// restore begins d with its newest snapshot. One that cannot be used is passed over: the
// log has everything.
func (d *document) restore(ctx context.Context, db dbx.Builder, n int64) error {
	at, raw, err := readSnapshot(ctx, db, d.id, n)
	if err != nil || at == 0 {
		return err
	}
	state, err := crdt.LoadSnapshot(raw)
	if err != nil || int64(state.Ops()) != at {
		return nil
	}
	d.state, d.n, d.snapped = state, at, at
	return nil
}

// wantsSnapshot reports whether d has grown enough since its last one.
func (s *Service) wantsSnapshot(d *document) bool {
	return d.n-d.snapped >= max(s.snapEveryOps, d.snapped/snapGrowth)
}

// writeSnapshots is a job of the writer itself.
func (s *Service) writeSnapshots(b *Batch) error {
	for id := range s.toSnap {
		d, err := b.r.document(id)
		if err != nil {
			return err
		}
		raw := d.state.AppendSnapshot(nil)
		digest := raw[len(raw)-32:] // a snapshot ends with the SHA-256 of the rest
		if err := b.r.exec(sqlWriteSnapshot, dbx.Params{"doc": d.id, "n": d.n, "digest": digest, "state": raw}); err != nil {
			return fmt.Errorf("write snapshot: %w", err)
		}
		if err := b.r.exec(sqlDropSnapshots, dbx.Params{"doc": d.id, "n": d.n}); err != nil {
			return fmt.Errorf("drop older snapshots: %w", err)
		}
		b.change(d)
		d.snapped = d.n
	}
	return nil
}

// maintain is what the writer does between jobs: records that were put off, those that are
// due or all, conflicts of documents from before there was a list, and snapshots.
func (s *Service) maintain(all bool) {
	if len(s.behind) > 0 {
		s.own("bring session records up to date", s.showBehind(all))
	}
	for again := true; again && len(s.unlisted) > 0 && s.own("list conflicts", s.listUnlisted); again = all {
		s.unlisted = s.unlisted[min(listBatch, len(s.unlisted)):]
	}
	if len(s.toSnap) > 0 {
		s.own("write snapshots", s.writeSnapshots)
		// Whatever failed is tried again when the document grows further.
		clear(s.toSnap)
	}
}

// own runs a job of the writer itself, past the queue, and reports whether it is done.
func (s *Service) own(what string, run func(*Batch) error) bool {
	j := &job{run: run, done: make(chan error, 1)}
	s.writer.commit(j, nil)
	if err := <-j.done; err != nil {
		s.app.Logger().Error("maintain documents", slog.String("step", what), slog.Any("error", err))
		return false
	}
	return true
}
