package pgsync

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const (
	// partitionEvery is how often partitions are looked for: one query of some milliseconds.
	partitionEvery = time.Hour
	// partitionsAhead months have a partition before their first entry, so that a mirror that stands still for a season, or
	// a report that holds the journal, does no harm.
	partitionsAhead = 3
)

// partition makes the journal's partitions of this month and the next ones. A month with entries in the DEFAULT partition
// stays there: moving them would be a rewrite of evidence, and the journal is complete either way. Months are UTC's.
func (s *session) partition(ctx context.Context, now time.Time) error {
	s.partitionsAt = now.Add(partitionEvery)
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	missing, err := s.missingMonths(ctx, now)
	if err != nil || len(missing) == 0 {
		return err
	}
	tx, err := s.conn.Begin(ctx)
	if err != nil {
		return err
	}
	defer tx.Rollback(context.WithoutCancel(ctx))
	if _, err := tx.Exec(ctx, sqlLimits, millis(lockTimeout), millis(s.cfg.Timeout), millis(idleTimeout)); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock($1)`, int64(migrationLock)); err != nil {
		return err
	}
	if missing, err = s.missingMonths(ctx, now); err != nil { // again: another node may have been faster
		return err
	}
	for _, m := range missing {
		create := fmt.Sprintf("CREATE TABLE fm_sync.%s PARTITION OF fm_sync.journal FOR VALUES FROM ('%s') TO ('%s')",
			partitionName(m), m.Format(wireTime), m.AddDate(0, 1, 0).Format(wireTime))
		var pg *pgconn.PgError
		if err := tryStatement(ctx, s.conn, create); errors.As(err, &pg) && pg.Code == "55P03" {
			return nil // somebody reads the journal at length; there is time
		} else if err != nil {
			return fmt.Errorf("add partition %s: %w", partitionName(m), err)
		}
	}
	return tx.Commit(ctx)
}

func (s *session) missingMonths(ctx context.Context, now time.Time) ([]time.Time, error) {
	var months, ends []time.Time
	var names []string
	for i := range partitionsAhead + 1 {
		m := time.Date(now.UTC().Year(), now.UTC().Month()+time.Month(i), 1, 0, 0, 0, 0, time.UTC)
		months, ends, names = append(months, m), append(ends, m.AddDate(0, 1, 0)), append(names, partitionName(m))
	}
	rows, err := s.conn.Query(ctx, sqlMonths, months, ends, names)
	if err != nil {
		return nil, err
	}
	missing, err := pgx.CollectRows(rows, pgx.RowTo[time.Time])
	for i := range missing {
		missing[i] = missing[i].UTC()
	}
	return missing, err
}

func partitionName(month time.Time) string { return month.Format("journal_2006_01") }
