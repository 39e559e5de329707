package pgsync

import (
	"context"
	"fmt"
	"time"

	"firemode/internal/disk"

	"github.com/google/uuid"
	"github.com/pocketbase/dbx"
)

const (
	// logMaxDefault is how large the images of the log may grow: three days at 10 changes a second.
	logMaxDefault = 4 << 30
	// logDiskShare is the part of the room on the disk that they may take at most, whatever the limit.
	logDiskShare = 4
	// trimMaxRows is how many images one statement drops; it holds the application's writer for some 20 ms.
	trimMaxRows = 2000
	// trimEvery is the time between two looks at the size of the log.
	trimEvery = 10 * time.Second
	// The size is that of some entries, evenly from all of the log, times their number: it may be gigabytes.
	sampleStrata, sampleRows = 64, 16
)

// entryBytes is what an entry takes beside its image.
const entryBytes = 100

// trim keeps the log within its limit while PostgreSQL is away or far behind: it drops images, the oldest first. The
// entries stay, so the log stays provably the one that was mirrored; the worker that meets an entry without its image has
// the table compared row by row, and notes a gap in the history. Entries about shapes keep their images.
func (w *Worker) trim(ctx context.Context) error {
	now := time.Now()
	if now.Before(w.trimAt) {
		return nil
	}
	w.trimAt = now.Add(trimEvery)
	size, err := w.src.logBytes(ctx)
	if err != nil {
		return err
	}
	limit, err := w.logLimit(size)
	if err != nil {
		return err
	}
	w.mu.Lock()
	w.status.LogBytes, w.status.LogBytesMax = size, limit
	w.mu.Unlock()
	if size <= limit {
		return nil
	}
	w.trimAt = now // go on with the next step
	last, err := w.src.dropped(ctx, w.trimmedSeq)
	if err != nil || last == 0 {
		return err
	}
	if w.trimmedSeq == 0 {
		w.app.Logger().Warn("the mirror's log of changes is full; its oldest images are dropped, and the tables will be compared",
			"bytes", size, "limit", limit)
	}
	err = w.write(ctx, `UPDATE _pgsync_log SET img=NULL WHERE seq>{:from} AND seq<={:to} AND op IN ({:insert},{:update})`,
		dbx.Params{"from": w.trimmedSeq, "to": last, "insert": opInsert, "update": opUpdate})
	if err != nil {
		return fmt.Errorf("%w: trim log: %w", errSource, err)
	}
	w.trimmedSeq = last
	return nil
}

// logLimit is what the log may take at present, in bytes.
func (w *Worker) logLimit(size int64) (int64, error) {
	free, err := disk.Free(w.app.DataDir())
	if err != nil {
		return 0, fmt.Errorf("%w: look at the disk: %w", errSource, err)
	}
	limit := w.cfg.LogMaxBytes
	if room := free/logDiskShare + uint64(size)/logDiskShare; room < uint64(limit) {
		limit = int64(room)
	}
	return limit, nil
}

// dropped returns the entry through which the next images are to be dropped, 0 when there is none left.
func (s *source) dropped(ctx context.Context, after int64) (int64, error) {
	var last int64
	err := s.db.QueryRowContext(ctx, `SELECT coalesce(max(seq),0) FROM (SELECT seq FROM _pgsync_log
		WHERE seq>? AND img IS NOT NULL AND op IN (?,?) ORDER BY seq LIMIT ?)`, after, opInsert, opUpdate, trimMaxRows).Scan(&last)
	if err != nil {
		return 0, fmt.Errorf("%w: log: %w", errSource, err)
	}
	return last, nil
}

// logBytes estimates what the log takes. It reads about a thousand entries, however many there are.
func (s *source) logBytes(ctx context.Context) (int64, error) {
	var bytes int64
	err := s.db.QueryRowContext(ctx, `WITH RECURSIVE ends AS (SELECT coalesce(min(seq),0) AS first, coalesce(max(seq),0) AS last FROM _pgsync_log),
		strata(i, start) AS (SELECT 0, first FROM ends UNION ALL
			SELECT i+1, first+(i+1)*max((last-first)/?1,?2) FROM strata, ends WHERE i+1<?1 AND first+(i+1)*max((last-first)/?1,?2)<=last)
		SELECT coalesce(CAST((last-first+1)*avg(coalesce(octet_length(l.img),0)+?3) AS INTEGER),0)
		  FROM ends, strata JOIN _pgsync_log l ON l.seq>=start AND l.seq<start+?2`, sampleStrata, sampleRows, entryBytes).Scan(&bytes)
	if err != nil {
		return 0, fmt.Errorf("%w: log size: %w", errSource, err)
	}
	return bytes, nil
}

// bare says that an entry has lost its image.
func (e *entry) bare() bool { return (e.op == opInsert || e.op == opUpdate) && e.img == nil }

// passBare has the tables compared whose rows came without their images, and notes the gap in the history.
func (x *txn) passBare(run []entry) {
	gap := struct{ first, last, entries int64 }{}
	seen := map[string]bool{}
	for i := range run {
		e := &run[i]
		if !e.bare() {
			continue
		}
		if gap.entries == 0 {
			gap.first = e.seq
		}
		gap.last = e.seq
		gap.entries++
		if !seen[e.coll] && x.reg.table(e.coll) != nil { // applyRows reports an unknown one
			seen[e.coll] = true
			if at := x.reg[e.coll].resync; at == nil || *at != "" {
				x.setResync(e.coll, ptr(""))
				x.startRun(e.coll, resyncMark{Run: uuid.NewString(), Mode: ModeSnapshot}, e.seq)
			}
		}
	}
	if gap.entries > 0 {
		x.discontinuity(breakHistoryGap, Pos{Epoch: x.to.Epoch, Seq: gap.first - 1}, gap.last, gap.entries)
	}
}
