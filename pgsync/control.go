package pgsync

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
)

//go:embed sql
var sqlFiles embed.FS

// The statements of sql/, one per file, named after what they do.
var (
	sqlAdvance          = statement("advance")
	sqlLimits           = statement("limits")
	sqlJournal          = statement("journal")
	sqlQuarantine       = statement("quarantine")
	sqlEraseRows        = statement("erase_rows")
	sqlErasures         = statement("erasures")
	sqlRelease          = statement("release")
	sqlReleaseQuoted    = statement("release_quoted")
	sqlAddOrigin        = statement("add_origin")
	sqlClaim            = statement("claim")
	sqlPlace            = statement("place")
	sqlRenew            = statement("renew")
	sqlShapes           = statement("shapes")
	sqlSaveShape        = statement("save_shape")
	sqlForgetShape      = statement("forget_shape")
	sqlSaveCursor       = statement("save_cursor")
	sqlQuarantined      = statement("quarantined")
	sqlCountQuarantined = statement("count_quarantined")
	sqlPosition         = statement("position")
	sqlListQuarantine   = statement("list_quarantine")
	sqlDoctor           = statement("doctor")
	sqlColumns          = statement("columns")
	sqlGuards           = statement("guards")
	sqlDiscontinuity    = statement("add_discontinuity")
	sqlDiscontinuities  = statement("discontinuities")
	sqlLastJournaled    = statement("last_journaled")
	sqlKeepers          = statement("keepers")
	sqlMonths           = statement("months")
	sqlReportCatalog    = statement("report_catalog")
	sqlReportObjects    = statement("report_objects")
	sqlReportReaders    = statement("report_readers")
	sqlReportSave       = statement("report_save")
	sqlReportCoverage   = statement("report_coverage")
	sqlStoreRun         = statement("store_run")
	sqlReadRun          = statement("read_run")
	sqlAddRun           = statement("add_run")
	sqlNoteRun          = statement("note_run")
	sqlAbandonRun       = statement("abandon_run")
	sqlForgetRounds     = statement("forget_rounds")
	sqlPruneRuns        = statement("prune_runs")
	sqlComparisons      = statement("comparisons")
)

func statement(name string) string {
	b, err := sqlFiles.ReadFile("sql/" + name + ".sql")
	if err != nil {
		panic("pgsync: internal error: " + err.Error()) // embedded
	}
	return strings.TrimSpace(string(b))
}

const (
	// minServerVersion is the oldest PostgreSQL whose grammar the statements keep to.
	minServerVersion = 140000
	// migrationLock is the advisory lock under which nodes change the control schema. Transaction level: safe behind
	// a pooler.
	migrationLock = 7_305_914_021
)

// migrateControl brings the control schema up to date. It is a no-op, without any privilege beyond reading, when it is.
func migrateControl(ctx context.Context, conn *pgx.Conn) error {
	var version, encoding string
	if err := conn.QueryRow(ctx, `SELECT current_setting('server_version_num'), current_setting('server_encoding')`).
		Scan(&version, &encoding); err != nil {
		return err
	}
	if n, err := strconv.Atoi(version); err != nil || n < minServerVersion {
		return &holdError{holdVersion, "PostgreSQL " + version + " is older than 14"}
	}
	if encoding != "UTF8" {
		return &holdError{holdEncoding, "the database encoding is " + encoding + ", not UTF8"}
	}
	steps, err := migrations()
	if err != nil {
		return err
	}
	var schemas bool
	if err := conn.QueryRow(ctx, `SELECT to_regnamespace('fm_sync') IS NOT NULL AND to_regnamespace('fm_mirror') IS NOT NULL
		AND to_regnamespace('fm_hist') IS NOT NULL`).
		Scan(&schemas); err != nil {
		return err
	}
	if done, err := applied(ctx, conn, steps); err != nil || schemas && done == len(steps) {
		return err
	}
	tx, err := conn.Begin(ctx)
	if err != nil {
		return err
	}
	defer tx.Rollback(context.WithoutCancel(ctx))
	if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock($1)`, int64(migrationLock)); err != nil {
		return err
	}
	// A role without the privilege to create schemas may be given them ready-made.
	if _, err := tx.Exec(ctx, `DO $$ BEGIN
		  IF to_regnamespace('fm_sync') IS NULL THEN CREATE SCHEMA fm_sync; END IF;
		  IF to_regnamespace('fm_mirror') IS NULL THEN CREATE SCHEMA fm_mirror; END IF;
		  IF to_regnamespace('fm_hist') IS NULL THEN CREATE SCHEMA fm_hist; END IF;
		END $$;
		CREATE TABLE IF NOT EXISTS fm_sync.migration (
		  version integer PRIMARY KEY, name text NOT NULL, sha256 text NOT NULL, at timestamptz NOT NULL DEFAULT now())`); err != nil {
		return fmt.Errorf("create control schema: %w", err)
	}
	done, err := applied(ctx, conn, steps) // again: another node may have been faster
	if err != nil {
		return err
	}
	for i, step := range steps[done:] {
		if _, err := tx.Exec(ctx, step.sql); err != nil {
			return fmt.Errorf("migrate control schema: %s: %w", step.name, err)
		}
		if _, err := tx.Exec(ctx, `INSERT INTO fm_sync.migration (version, name, sha256) VALUES ($1, $2, $3)`,
			done+i+1, step.name, step.sha256); err != nil {
			return fmt.Errorf("record migration: %w", err)
		}
	}
	return tx.Commit(ctx)
}

type migration struct{ name, sql, sha256 string }

func migrations() ([]migration, error) {
	names, err := fs.Glob(sqlFiles, "sql/migrations/*.sql") // sorted
	if err != nil {
		return nil, err
	}
	var steps []migration
	for _, name := range names {
		b, err := sqlFiles.ReadFile(name)
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(b)
		steps = append(steps, migration{path.Base(name), string(b), hex.EncodeToString(sum[:])})
	}
	return steps, nil
}

// applied returns how many of the steps the database has, and holds when it has others than these.
func applied(ctx context.Context, conn *pgx.Conn, steps []migration) (int, error) {
	var exists bool
	if err := conn.QueryRow(ctx, `SELECT to_regclass('fm_sync.migration') IS NOT NULL`).Scan(&exists); err != nil || !exists {
		return 0, err
	}
	rows, err := conn.Query(ctx, `SELECT sha256 FROM fm_sync.migration ORDER BY version`)
	if err != nil {
		return 0, err
	}
	sums, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return 0, err
	}
	if len(sums) > len(steps) {
		return 0, &holdError{holdNewer, "the mirror was migrated by a newer FireMode"}
	}
	for i, sum := range sums {
		if sum != steps[i].sha256 {
			return 0, &holdError{holdControl, "migration " + steps[i].name + " differs from the one that was applied"}
		}
	}
	return len(sums), nil
}

// queryOne scans one row and reports whether there was one.
func queryOne(ctx context.Context, conn *pgx.Conn, sql string, args []any, dest ...any) (bool, error) {
	err := conn.QueryRow(ctx, sql, args...).Scan(dest...)
	if errors.Is(err, pgx.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}
