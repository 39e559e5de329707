package pgsync

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// errStandby says that another node holds the lease.
var errStandby = errors.New("another node mirrors this source")

// session is one connection to PostgreSQL with what was read over it. After any error it is closed and everything in
// it forgotten: where the mirror stands is known by PostgreSQL alone.
type session struct {
	cfg    Config
	src    *source
	conn   *pgx.Conn
	origin int16
	identity
	term        int64
	pos         Pos
	reg         registry
	quarantined int64 // rows, and those of them
	orphans     int64 // that wait for a row they refer to
	unread      int64 // whose image is not known yet
	guardsDue   bool
	reportsDue  bool
	reportsAt   time.Time // not before
	renewed     time.Time

	partitionsAt time.Time // when partitions of the journal are looked for next
}

// dial connects and brings the control schema up to date.
func dial(ctx context.Context, cfg Config) (*pgx.Conn, error) {
	pc, err := parseDSN(cfg.DSN)
	if err != nil {
		return nil, err
	}
	if cfg.Dial != nil {
		pc.DialFunc = cfg.Dial
	}
	conn, err := pgx.ConnectConfig(ctx, pc)
	if err != nil {
		return nil, err
	}
	// The server gives up on a node that went silent, so that its locks end. Not every platform has the setting.
	_, err = conn.Exec(ctx, `SELECT set_config('tcp_user_timeout', $1, false)`, millis(idleTimeout))
	if err != nil && classify(err) == classTransient {
		conn.Close(context.WithoutCancel(ctx))
		return nil, err
	}
	return conn, nil
}

// openSession connects, takes the lease and reads where the mirror stands. takeOver lets it take a lease that an
// earlier worker of the same node still holds; adopt makes it accept a log that is not the mirrored one.
func openSession(ctx context.Context, cfg Config, src *source, who identity, takeOver, adopt bool) (*session, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*cfg.Timeout)
	defer cancel()
	sourceID, err := src.id(ctx)
	if err != nil {
		return nil, err
	}
	if sourceID == "" {
		return nil, errUnarmed
	}
	conn, err := dial(ctx, cfg)
	if err != nil {
		return nil, err
	}
	s := &session{cfg: cfg, src: src, conn: conn, identity: who, reg: registry{}, guardsDue: true, reportsDue: true, renewed: time.Now()}
	if err := s.open(ctx, src, sourceID, takeOver, adopt); err != nil {
		s.close(ctx)
		return nil, err
	}
	return s, nil
}

func (s *session) open(ctx context.Context, src *source, sourceID string, takeOver, adopt bool) error {
	if err := migrateControl(ctx, s.conn); err != nil {
		return err
	}
	if _, err := s.conn.Exec(ctx, sqlAddOrigin, sourceID); err != nil {
		return fmt.Errorf("add origin: %w", err)
	}
	if !adopt {
		// Looked at before the lease is asked for: a database that must hold anyway takes it from nobody.
		if err := s.checkLog(ctx, src, sourceID); err != nil {
			return err
		}
	}
	claimed, err := queryOne(ctx, s.conn, sqlClaim, []any{sourceID, s.node, float64(s.cfg.Lease.Milliseconds()), takeOver},
		&s.origin, &s.pos.Epoch, &s.pos.Seq, &s.pos.Nonce, &s.term)
	if err != nil {
		return fmt.Errorf("claim lease: %w", err)
	}
	if !claimed {
		return errStandby
	}
	if err := s.partition(ctx, time.Now()); err != nil {
		return err
	}
	if err := s.readShapes(ctx); err != nil {
		return err
	}
	if err := s.countQuarantined(ctx); err != nil {
		return err
	}
	if adopt {
		return s.restart(ctx, src, breakAdopted, 0)
	}
	h, err := src.head(ctx, s.pos.Seq)
	if err != nil {
		return err
	}
	if fork := checkFork(s.pos, h); fork != nil {
		lost, err := s.lostTail(ctx, src, sourceID, s.pos)
		if err != nil || lost == 0 {
			return errors.Join(err, fork)
		}
		return s.restart(ctx, src, breakLostTail, lost)
	}
	if s.pos.Seq == 0 && h.first > 1 {
		return s.restart(ctx, src, breakLogStart, h.first-1)
	}
	// Only now: the place is that of a log which was found to be the mirrored one.
	if _, err := s.conn.Exec(ctx, sqlPlace, s.origin, s.place); err != nil {
		return fmt.Errorf("note place: %w", err)
	}
	return s.checkShapes(ctx)
}

func (s *session) readShapes(ctx context.Context) error {
	rows, err := s.conn.Query(ctx, sqlShapes, s.origin)
	if err != nil {
		return err
	}
	var coll, shape string
	var resync *string
	_, err = pgx.ForEachRow(rows, []any{&coll, &shape, &resync}, func() error {
		t, err := decodeTable(shape)
		if err != nil {
			return err
		}
		state := tableState{table: t}
		if resync != nil {
			state.resync = ptr(*resync)
		}
		s.reg[coll] = state
		return nil
	})
	return err
}

func (s *session) countQuarantined(ctx context.Context) error {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	return s.conn.QueryRow(ctx, sqlCountQuarantined, s.origin).Scan(&s.quarantined, &s.orphans, &s.unread)
}

// restart leaves the log behind the mirror aside: the mirror takes the shapes and the end of the log of one moment, and
// every table is compared from there. It begins a mirror whose log has lost its first entries; any other break accepts a
// log that is not the one that was mirrored, and begins an epoch. entries is what the journal has no word of, or one too many.
func (s *session) restart(ctx context.Context, src *source, kind string, entries int64) error {
	last, tables, err := src.shapes(ctx)
	if err != nil || last == 0 {
		return err
	}
	nonce, at, err := src.at(ctx, last)
	if err != nil {
		return err
	}
	return s.attempt(ctx, Pos{s.pos.Epoch, last, nonce}, at, false, func(x *txn) error {
		if kind != breakLogStart {
			x.batch.Queue("UPDATE fm_sync.origin SET epoch = epoch + 1 WHERE origin = $1", s.origin)
			x.to.Epoch++
		}
		x.batch.Queue(sqlPlace, s.origin, s.place)
		x.discontinuity(kind, x.from, x.to.Seq, entries)
		mark := resyncMark{uuid.NewString(), choose(kind == breakLogStart, ModeSnapshot, ModeAdopt), false}
		present := map[string]bool{}
		for _, t := range tables {
			present[t.Coll] = true
			state := x.reg[t.Coll]
			state.resync = ptr("")
			if err := x.reshape(ctx, state, t, last); err != nil {
				return err
			}
			x.startRun(t.Coll, mark, last)
		}
		for coll := range x.reg {
			if !present[coll] {
				if err := x.drop(ctx, coll, last); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// checkShapes repairs tables that somebody changed or dropped in PostgreSQL.
func (s *session) checkShapes(ctx context.Context) error {
	if len(s.reg) == 0 {
		return nil
	}
	var wrong []string
	for _, coll := range s.reg.order() {
		t := s.reg.table(coll)
		have, err := columnsOf(ctx, s.conn, t)
		if err != nil {
			return err
		}
		ok := t.shapedLike(have)
		if ok {
			if ok, err = historyKept(ctx, s.conn, t, have); err != nil {
				return err
			}
		}
		if !ok {
			wrong = append(wrong, coll)
		}
	}
	if len(wrong) == 0 {
		return nil
	}
	return s.attempt(ctx, s.pos, 0, false, func(x *txn) error {
		for _, coll := range wrong {
			if err := x.reshape(ctx, x.reg[coll], x.reg.table(coll), s.pos.Seq); err != nil {
				return err
			}
		}
		return nil
	})
}

// renew keeps the lease while there is nothing to carry.
func (s *session) renew(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	tag, err := s.conn.Exec(ctx, sqlRenew, s.origin, s.node, s.term, float64(s.cfg.Lease.Milliseconds()))
	if err != nil {
		return err
	}
	if tag.RowsAffected() == 0 {
		return errFenced
	}
	s.renewed = time.Now()
	return nil
}

// close ends the connection; it waits for the server a little, never long.
func (s *session) close(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	s.conn.Close(ctx)
}

// resign gives the lease back, so that the next worker need not wait for it to lapse.
func (s *session) resign(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_, _ = s.conn.Exec(ctx, sqlRenew, s.origin, s.node, s.term, float64(0)) // the lease lapses by itself otherwise
}
