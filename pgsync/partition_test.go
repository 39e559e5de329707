package pgsync

import (
	"context"
	"testing"
	"time"

	"firemode/internal/pgtest"

	"github.com/jackc/pgx/v5"
	"github.com/pocketbase/dbx"
)

// partitions lists the journal's partitions by name, with their rows.
func partitions(t *testing.T, conn *pgx.Conn) map[string]int {
	t.Helper()
	rows, err := conn.Query(deadline(t), "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = 'fm_sync.journal'::regclass")
	if err != nil {
		t.Fatal(err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]int{}
	for _, name := range names {
		out[name] = one[int](t, conn, "SELECT count(*)::int FROM fm_sync."+name)
	}
	return out
}

func date(year int, month time.Month, day, hour int) time.Time {
	return time.Date(year, month, day, hour, 0, 0, 0, time.UTC)
}

// Months get their partition before their first entry, by UTC whatever the session's time zone is, across the turn of the
// year, once. A month with entries in DEFAULT stays there, as do entries of a clock that is far off.
func TestJournalIsPartitionedByMonth(t *testing.T) {
	t.Parallel()
	app, dsn := smallApp(t), pgtest.Database(t)
	w := manual(t, app, Config{DSN: dsn})
	drain(t, w)
	conn := pg(t, dsn)
	for i := range partitionsAhead + 1 {
		now := time.Now().UTC()
		name := partitionName(date(now.Year(), now.Month()+time.Month(i), 1, 0))
		if _, exists := partitions(t, conn)[name]; !exists {
			t.Errorf("a new mirror has no partition %s", name)
		}
	}
	before := len(partitions(t, conn))

	parent := addParent(t, app, "p")
	write := func(at time.Time) {
		t.Helper()
		run(t, app, "UPDATE parents SET v=v+1 WHERE id={:id}", dbx.Params{"id": parent})
		run(t, app, "UPDATE _pgsync_log SET at={:at} WHERE seq={:s}", dbx.Params{"at": at.UnixMilli(), "s": logEnd(t, app)})
		drain(t, w)
	}
	write(date(2098, 12, 5, 0)) // a clock that is ahead: before this month has a partition
	if got := partitions(t, conn)["journal_default"]; got != 1 {
		t.Errorf("%d entries in DEFAULT, want the one of a clock that is ahead", got)
	}
	pgExec(t, w.ses.conn, "SET TimeZone = 'Australia/Sydney'")
	pgExec(t, w.ses.conn, "SET DateStyle = 'SQL, DMY'")
	if err := w.ses.partition(deadline(t), date(2098, 10, 31, 23).In(time.FixedZone("ahead", 10*3600))); err != nil {
		t.Fatal(err)
	}
	have := partitions(t, conn)
	for name, want := range map[string]bool{"journal_2098_09": false, "journal_2098_10": true, "journal_2098_11": true, "journal_2098_12": false,
		"journal_2099_01": true, "journal_2099_02": false} {
		if _, exists := have[name]; exists != want {
			t.Errorf("partition %s: %t, want %t", name, exists, want)
		}
	}
	for _, at := range []time.Time{date(2098, 10, 1, 0), date(2098, 11, 1, 0).Add(-time.Millisecond), date(2098, 11, 1, 0), date(2098, 12, 31, 23), date(2099, 1, 1, 0), date(1999, 1, 1, 0)} {
		write(at)
	}
	have = partitions(t, conn)
	for name, want := range map[string]int{"journal_2098_10": 2, "journal_2098_11": 1, "journal_2099_01": 1, "journal_default": 3} {
		if have[name] != want {
			t.Errorf("%s holds %d entries, want %d", name, have[name], want)
		}
	}
	// With nothing to do it looks once and takes no lock: it waits for no other node that makes partitions.
	pgExec(t, conn, "SELECT pg_advisory_lock($1)", int64(migrationLock))
	for month, busy := range map[time.Time]bool{date(2098, 10, 1, 0): false, date(2097, 10, 1, 0): true} {
		if err := w.ses.partition(deadline(t), month); (classify(err) == classTransient) != busy {
			t.Errorf("%s: %v, want to wait: %t", month, err, busy)
		}
	}
	pgExec(t, conn, "SELECT pg_advisory_unlock($1)", int64(migrationLock))
	if got := len(partitions(t, conn)); got != before+3 {
		t.Errorf("%d partitions, want %d", got, before+3)
	}
	// A month that an operator has detached is not made again.
	pgExec(t, conn, "ALTER TABLE fm_sync.journal DETACH PARTITION fm_sync.journal_2098_10")
	if err := w.ses.partition(deadline(t), date(2098, 10, 1, 0)); err != nil {
		t.Fatal(err)
	}
	pgExec(t, conn, "ALTER TABLE fm_sync.journal ATTACH PARTITION fm_sync.journal_2098_10 FOR VALUES FROM ('2098-10-01 00:00Z') TO ('2098-11-01 00:00Z')")
	journalEqualsLog(t, app, conn)
	mustEqual(t, app, dsn)
}

// Somebody who reads the journal for long delays new partitions, not the mirror; the next look makes them.
func TestPartitionsWaitForReaders(t *testing.T) {
	t.Parallel()
	app, dsn := smallApp(t), pgtest.Database(t)
	w := manual(t, app, Config{DSN: dsn})
	drain(t, w)
	reader := pg(t, dsn)
	pgExec(t, reader, "BEGIN")
	pgExec(t, reader, "SELECT count(*) FROM fm_sync.journal")
	conn := pg(t, dsn)
	for _, reading := range []bool{true, false} {
		if err := w.ses.partition(deadline(t), date(2090, 1, 1, 0)); err != nil {
			t.Fatal(err)
		}
		if _, exists := partitions(t, conn)["journal_2090_01"]; exists == reading {
			t.Errorf("while somebody reads (%t): partition made: %t", reading, exists)
		}
		addParent(t, app, "p")
		drain(t, w)
		mustEqual(t, app, dsn)
		pgExec(t, reader, "COMMIT")
	}
}

// The journal of a mirror from before there were partitions becomes one, up to the end of this month, whatever its clock has
// written; nothing of it is lost, and what a clock that was ahead has written stays in DEFAULT.
func TestOlderJournalBecomesAPartition(t *testing.T) {
	t.Parallel()
	app, dsn := smallApp(t), pgtest.Database(t)
	conn := pg(t, dsn)
	steps, err := migrations()
	if err != nil {
		t.Fatal(err)
	}
	pgExec(t, conn, "CREATE SCHEMA fm_sync")
	pgExec(t, conn, "CREATE TABLE fm_sync.migration (version integer PRIMARY KEY, name text NOT NULL, sha256 text NOT NULL, at timestamptz NOT NULL DEFAULT now())")
	for i, step := range steps[:2] {
		pgExec(t, conn, "INSERT INTO fm_sync.migration (version, name, sha256) VALUES ($1, $2, $3)", i+1, step.name, step.sha256)
		if _, err := conn.PgConn().Exec(context.Background(), step.sql).ReadAll(); err != nil {
			t.Fatal(err)
		}
	}
	pgExec(t, conn, `INSERT INTO fm_sync.journal (origin, epoch, seq, coll, pk, op, at)
		SELECT 9, 1, i, 'c', i::text, 3, a FROM unnest(ARRAY['2020-01-01', now(), now() + interval '1 year']::timestamptz[]) WITH ORDINALITY x (a, i)`)
	addParent(t, app, "p")
	w := manual(t, app, Config{DSN: dsn})
	drain(t, w)
	now := time.Now().UTC()
	have := partitions(t, conn)
	if _, exists := have[partitionName(date(now.Year(), now.Month(), 1, 0))]; exists {
		t.Error("this month has two places")
	}
	if _, exists := have[partitionName(date(now.Year(), now.Month()+1, 1, 0))]; !exists || len(have) != 2+partitionsAhead {
		t.Errorf("partitions = %v, want the past, DEFAULT and the next months", have)
	}
	if have["journal_default"] != 1 || have["journal_past"] != 2+int(logEnd(t, app)) {
		t.Errorf("partitions = %v, want one entry in DEFAULT and all others in the past", have)
	}
	if got := one[int](t, conn, "SELECT count(*)::int FROM fm_sync.journal WHERE origin = 9"); got != 3 {
		t.Errorf("%d entries of before, want 3", got)
	}
	mustEqual(t, app, dsn)
}
