package pgsync

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/google/uuid"
)

const (
	// rollingDefault is how long a round over all rows may take: what somebody changes in PostgreSQL by hand today is
	// repaired tomorrow.
	rollingDefault = 24 * time.Hour
	// rollingPause is the longest wait between two pieces. A small database is through in minutes, for next to nothing.
	rollingPause = time.Minute
	// rollingShare of the time a piece took is waited at least: a round may use 1 % of a core, however large the database.
	rollingShare = 100
)

// rolling is where the round over all tables stands. It is lost with the process, and the next one begins elsewhere.
type rolling struct {
	next    time.Time
	pause   time.Duration
	run     string
	tables  []string // the ones to come
	cursor  string   // in the first of them
	started time.Time
	rows    int64
	diffs   int64
	fixed   int64
}

// roll compares the next piece of the round, when its time has come and there is nothing else to do.
func (w *Worker) roll(ctx context.Context, now time.Time) (worked bool, err error) {
	r := &w.rolling
	if r.next.IsZero() {
		r.next = now.Add(rollingPause)
	}
	if now.Before(r.next) {
		return false, nil
	}
	if len(r.tables) == 0 {
		if err := w.beginRound(ctx); err != nil || len(r.tables) == 0 {
			return false, err
		}
	}
	worked, done, err := w.ses.rollPiece(ctx, w.src, r)
	if err != nil {
		return false, err
	}
	r.next = time.Now().Add(max(r.pause, rollingShare*time.Since(now)))
	if done {
		if r.diffs > 0 {
			w.app.Logger().Warn("rows in PostgreSQL differed and were repaired", "table", w.ses.reg.name(r.tables[0]), "differing", r.diffs, "repaired", r.fixed)
		}
		r.tables = r.tables[1:]
		r.cursor, r.rows, r.diffs, r.fixed = "", 0, 0, 0
	}
	return worked, nil
}

// beginRound lists the tables and spreads their pieces over the time of a round. It begins with any of them, so that a
// server that is often restarted comes to all.
func (w *Worker) beginRound(ctx context.Context) error {
	r := &w.rolling
	tables := w.ses.reg.order()
	pieces := int64(1)
	for _, coll := range tables {
		var rows int64
		if err := w.src.db.QueryRowContext(ctx, "SELECT count(*) FROM "+quoteIdent(w.ses.reg.table(coll).Name)).Scan(&rows); err != nil {
			return fmt.Errorf("%w: count rows: %w", errSource, err)
		}
		pieces += 1 + rows/chunkMaxRows
	}
	if len(tables) > 0 {
		first := rand.IntN(len(tables))
		tables = append(tables[first:len(tables):len(tables)], tables[:first]...)
	}
	*r = rolling{next: r.next, pause: min(w.cfg.Rolling/time.Duration(pieces), rollingPause), run: uuid.NewString(), tables: tables}
	return nil
}

// rollPiece compares one piece; done says that it was the last of its table. Nothing is written while nothing differs, but for the line at the end of a table.
func (s *session) rollPiece(ctx context.Context, src *source, r *rolling) (worked, done bool, err error) {
	coll := r.tables[0]
	state := s.reg[coll]
	if state.table == nil || state.resync != nil {
		return false, true, nil // gone, or compared anyway
	}
	if r.cursor == "" {
		r.started = time.Now()
	}
	chunk, changes, ok, err := s.compareChunk(ctx, src, state.table, r.cursor)
	if err != nil || !ok {
		return !ok, false, err
	}
	ended := chunk.cursor == ""
	repaired := 0
	if len(changes) > 0 || ended {
		err = s.withSalvage(ctx, s.pos, 0, func(x *txn) error {
			if err := x.write(ctx, changes); err != nil {
				return err
			}
			repaired = len(changes) - x.quarantined
			if ended {
				x.batch.Queue(sqlForgetRounds, s.origin, coll)
				x.batch.Queue(sqlAddRun, r.run, s.origin, s.pos.Epoch, s.pos.Seq, coll, ModeRolling,
					r.rows+int64(len(chunk.rows)), r.diffs+int64(len(changes)), r.fixed+int64(repaired), r.started, true)
			}
			return nil
		})
		if err != nil {
			return false, false, err
		}
	}
	r.rows, r.diffs, r.fixed = r.rows+int64(len(chunk.rows)), r.diffs+int64(len(changes)), r.fixed+int64(repaired)
	r.cursor = chunk.cursor
	return len(changes) > 0, ended, nil
}

// name is a table's name, or its id when it is gone.
func (r registry) name(coll string) string {
	if t := r.table(coll); t != nil {
		return t.Name
	}
	return coll
}
