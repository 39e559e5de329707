package merge

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/pocketbase/dbx"
	"github.com/pocketbase/pocketbase/tools/types"
)

// A record is rewritten whole, so its cost grows with the document. Up to showInlineMax it
// is written with every batch. A larger one is written at most once per showInterval and
// at most showShare of the time; until then its server_seq says which position it shows,
// and Service.Document answers from memory.
const (
	showInlineMax = 64 << 10
	showInterval  = time.Second
	showShare     = 20 // one part in
)

const (
	sqlShow        = `UPDATE test_sessions SET session_data = {:data}, vector_clock = {:clock}, server_seq = {:n}, updated_at = {:at} WHERE id = {:id}`
	sqlSetPosition = `UPDATE crdt_docs SET n = {:n} WHERE id = {:id}`
)

// due reports whether the record of d is to be written in this transaction.
func (s *Service) due(d *document, now time.Time) bool {
	return d.size <= s.showInlineMax || now.Sub(d.shownAt) >= max(s.showInterval, showShare*d.showCost)
}

// show writes the document into the session's record. A session that was deleted has none;
// its log stays.
func (r *round) show(d *document) error {
	started := time.Now()
	data, clock := d.state.Materialise(r.s.schema), d.state.Version().AppendJSON(nil)
	err := r.exec(sqlShow, dbx.Params{
		"id": d.session, "n": d.n, "at": r.s.config.Now().UTC().Format(types.DefaultDateLayout),
		"data": string(data), "clock": string(clock),
	})
	if err != nil {
		return err
	}
	d.shown, d.shownAt, d.size = d.n, time.Now(), len(data)+len(clock)
	d.showCost = d.shownAt.Sub(started)
	return nil
}

// finish notes the position of each document that has new operations and writes the
// records that are due.
func (r *round) finish() error {
	now := time.Now()
	for _, id := range slices.Sorted(maps.Keys(r.fresh)) {
		d, err := r.document(id)
		if err != nil {
			return err
		}
		if err := r.exec(sqlSetPosition, dbx.Params{"id": d.id, "n": d.n}); err != nil {
			return fmt.Errorf("set position: %w", err)
		}
		if err := r.listConflicts(d, r.wrote[id]); err != nil {
			return err
		}
		if r.s.due(d, now) {
			r.toShow[id] = struct{}{}
		}
	}
	for _, id := range slices.Sorted(maps.Keys(r.toShow)) {
		d, err := r.document(id)
		if err != nil {
			return err
		}
		if err := r.show(d); err != nil {
			return fmt.Errorf("materialise session: %w", err)
		}
	}
	return nil
}

// showBehind is a job of the writer itself: it brings records up to date that were put off,
// those that are due or all.
func (s *Service) showBehind(all bool) func(*Batch) error {
	return func(b *Batch) error {
		now := time.Now()
		for id := range s.behind {
			d, err := b.r.document(id)
			if err != nil {
				return err
			}
			if all || s.due(d, now) {
				b.r.toShow[id] = struct{}{}
			}
		}
		return nil
	}
}

// findBehind notes the sessions whose record was put off when the last process ended.
func (s *Service) findBehind(ctx context.Context) error {
	var ids []string
	err := s.app.ConcurrentDB().NewQuery(`SELECT d.key FROM crdt_docs d JOIN test_sessions s ON s.id = d.key WHERE s.server_seq < d.n`).
		WithContext(ctx).Column(&ids)
	if err != nil {
		return fmt.Errorf("find records to bring up to date: %w", err)
	}
	s.behind = map[string]struct{}{}
	for _, id := range ids {
		s.behind[id] = struct{}{}
	}
	return nil
}
