// Package sqlite opens the SQLite files of a data directory the way FireMode
// needs them, for the program and for its tests alike.
package sqlite

import (
	"context"
	"errors"
	"strings"

	"github.com/pocketbase/dbx"
	"modernc.org/sqlite" // the driver; pure Go, so the product builds without cgo
	sqlite3 "modernc.org/sqlite/lib"
)

// Pool sizes. One machine with two cores gains nothing from PocketBase's 120
// readers, and each connection keeps its own page cache.
const (
	DataMaxOpenConns = 24
	DataMaxIdleConns = 8
	AuxMaxOpenConns  = 8
	AuxMaxIdleConns  = 2
)

// pragmas run on every new connection, in this order.
var pragmas = []string{
	// First: a connection must wait, not fail, while another one switches to WAL.
	"busy_timeout(10000)",
	"journal_mode(WAL)",
	"journal_size_limit(200000000)",
	// An acknowledged write survives a power cut. PocketBase's NORMAL may lose
	// the newest commits; group commit pays for the difference.
	"synchronous(FULL)",
	"foreign_keys(ON)",
	// INSERT OR REPLACE fires delete triggers only with this, and the change log
	// of the mirror is written by triggers.
	"recursive_triggers(ON)",
	// Functions and virtual tables named in a damaged or hostile schema do not
	// run, and damaged cells are found when they are read. The driver offers no
	// way to set SQLITE_DBCONFIG_DEFENSIVE itself.
	"trusted_schema(OFF)",
	"cell_size_check(ON)",
	// What is freed is overwritten: an erased value stays in no free page of the file.
	"secure_delete(ON)",
	"temp_store(MEMORY)",
	"cache_size(-8000)", // KiB per connection
}

// Connect opens the database file at path. It has the form of PocketBase's
// DBConnect. Transactions begin IMMEDIATE: a deferred one that reads first
// fails for good when another process has written meanwhile, and would let
// foreign writes pass while a backup is copied.
func Connect(path string) (*dbx.DB, error) {
	return dbx.Open("sqlite", path+"?_txlock=immediate&_pragma="+strings.Join(pragmas, "&_pragma="))
}

// busyTries times the busy timeout, a minute, is how long Patiently waits for a
// server that writes without a pause.
const busyTries = 6

// Busy says whether err is that another connection held the lock on the
// database for longer than the busy timeout.
func Busy(err error) bool {
	var e *sqlite.Error
	return errors.As(err, &e) && e.Code()&0xff == sqlite3.SQLITE_BUSY
}

// Patiently runs fn, again while the database is busy. SQLite does not queue
// processes: beside a server that is written to without a pause a command may
// find the lock taken at each look. What fn writes MUST be one transaction.
func Patiently(ctx context.Context, fn func() error) error {
	for try := 1; ; try++ {
		if err := fn(); err == nil || !Busy(err) || try == busyTries || ctx.Err() != nil {
			return err
		}
	}
}
