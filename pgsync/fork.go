package pgsync

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
)

// Kinds of breaks of the journal, as stored.
const (
	breakLogStart   = "log_start"   // the mirror began after the first entries of the log were gone
	breakLostTail   = "lost_tail"   // the newest entries were mirrored, and then lost in SQLite with the power
	breakAdopted    = "adopted"     // an operator chose another log
	breakHistoryGap = "history_gap" // entries came without their images, which were dropped to save space
)

const (
	// lostTailMax is the longest end of a log, from its first to its last entry, that a power cut may take without an
	// operator being asked. Every commit is synced, so what is lost is what a disk had promised and not kept: less than this.
	lostTailMax = 5 * time.Second
	// lostTailMaxEntries bounds the search for the entry that both sides have.
	lostTailMaxEntries = 10_000
)

// discontinuity notes that the journal is not one continuous log between two positions.
func (x *txn) discontinuity(kind string, from Pos, seq, entries int64) {
	x.batch.Queue(sqlDiscontinuity, x.s.origin, x.to.Epoch, seq, kind, from.Epoch, from.Seq, entries)
}

// checkFork compares the position with the log. Anything but the very entry that was applied last means that the log
// is another one: the source was restored or copied, or the mirror was.
func checkFork(pos Pos, h head) error {
	switch {
	case pos.Seq == 0:
		return nil
	case h.anchor != nil && *h.anchor == pos.Nonce:
		return nil
	case h.anchor != nil:
		return &holdError{holdFork, "entry " + strconv.FormatInt(pos.Seq, 10) + " of the log is not the one that was mirrored"}
	case h.first > pos.Seq:
		return &holdError{holdGap, "entries after " + strconv.FormatInt(pos.Seq, 10) + " are no longer in the log"}
	}
	return &holdError{holdFork, "the log ends before entry " + strconv.FormatInt(pos.Seq, 10) + ", which was mirrored"}
}

// checkLog holds when the log is not the one that was mirrored, unless it is and has only lost its newest entries.
func (s *session) checkLog(ctx context.Context, src *source, sourceID string) error {
	var pos Pos
	_, err := queryOne(ctx, s.conn, `SELECT epoch, seq, nonce FROM fm_sync.origin WHERE source_id = $1`, []any{sourceID},
		&pos.Epoch, &pos.Seq, &pos.Nonce)
	if err != nil {
		return fmt.Errorf("read position: %w", err)
	}
	h, err := src.head(ctx, pos.Seq)
	if err != nil {
		return err
	}
	fork := checkFork(pos, h)
	if fork == nil {
		return nil
	}
	lost, err := s.lostTail(ctx, src, sourceID, pos)
	if err != nil || lost > 0 {
		return err
	}
	return fork
}

// mark is what tells an entry of the log from another one of the same number, as the journal has it.
type mark struct {
	seq  int64
	coll string
	pk   string
	op   int
	at   int64
}

// lostTail returns how many mirrored entries this very database has lost at the end of its log, as after a power cut on a
// disk that had not kept its word: the mirror was last fed from here, both sides share an entry, and what follows it in
// the mirror, of which the journal has every entry, spans lostTailMax at most, by whatever clock. 0 stands for any other
// fork, which is an operator's to judge.
func (s *session) lostTail(ctx context.Context, src *source, sourceID string, pos Pos) (int64, error) {
	rows, err := s.conn.Query(ctx, sqlLastJournaled, sourceID, s.place, lostTailMaxEntries+1)
	if err != nil {
		return 0, fmt.Errorf("read journal: %w", err)
	}
	journaled, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (m mark, err error) {
		err = row.Scan(&m.seq, &m.coll, &m.pk, &m.op, &m.at)
		return m, err
	})
	if err != nil || len(journaled) == 0 {
		return 0, err
	}
	logged, err := src.marks(ctx, journaled[len(journaled)-1].seq, journaled[0].seq)
	if err != nil {
		return 0, err
	}
	first, last := journaled[0].at, journaled[0].at // a clock that was set back must not make the time short
	for i, m := range journaled {
		lost := int64(i)
		switch {
		case m.seq != pos.Seq-lost: // the journal lacks an entry: nobody knows how long the end is
			return 0, nil
		case logged[m.seq] == m:
			return lost, nil
		}
		if first, last = min(first, m.at), max(last, m.at); last-first > lostTailMax.Milliseconds() {
			return 0, nil
		}
	}
	return 0, nil
}

// marks returns the entries of the log from first through last, as the journal would have them.
func (s *source) marks(ctx context.Context, first, last int64) (map[int64]mark, error) {
	rows, err := s.db.QueryContext(ctx, `SELECT seq,coll,pk,op,at FROM _pgsync_log WHERE seq BETWEEN ? AND ?`, first, last)
	if err != nil {
		return nil, fmt.Errorf("%w: log: %w", errSource, err)
	}
	defer rows.Close()
	marks := map[int64]mark{}
	for rows.Next() {
		var m mark
		if err := rows.Scan(&m.seq, &m.coll, &m.pk, &m.op, &m.at); err != nil {
			return nil, fmt.Errorf("%w: log: %w", errSource, err)
		}
		m.coll, m.pk = safeText(m.coll), safeText(m.pk)
		marks[m.seq] = m
	}
	return marks, rows.Err()
}
