package pgsync

import "errors"

// Reasons of a hold: why nobody but an operator can go on.
const (
	holdFork     = "fork"     // the log is not the one that was mirrored
	holdGap      = "gap"      // entries that were not mirrored are gone
	holdLog      = "log"      // an entry of the log makes no sense
	holdControl  = "control"  // the tables in fm_sync are not those that FireMode made
	holdNewer    = "newer"    // a newer FireMode mirrors into this PostgreSQL
	holdVersion  = "version"  // PostgreSQL is too old
	holdEncoding = "encoding" // the PostgreSQL database is not UTF-8
	holdReplaced = "replaced" // data.db was swapped under the running server
	holdUnarmed  = "unarmed"  // the SQLite database has no log yet
)

// errUnarmed holds a worker on a database whose changes nobody has captured.
var errUnarmed = &holdError{holdUnarmed, "the SQLite database has no log of changes yet"}

const adviceAdopt = "if this data directory is the right one, firemode mirror adopt --yes; else restore the right one"

// holdAdvice is the next step for each reason.
var holdAdvice = map[string]string{
	holdFork:     adviceAdopt,
	holdGap:      adviceAdopt,
	holdLog:      "firemode mirror adopt --yes goes on at the end of the log and compares every table; keep a backup of the data directory for an examination",
	holdControl:  "restore the schema fm_sync from a backup, or name another database in DATABASE_URL",
	holdNewer:    "run the newer FireMode, or name another database in DATABASE_URL",
	holdVersion:  "use PostgreSQL 14 or later",
	holdEncoding: "make the database with ENCODING 'UTF8' and name it in DATABASE_URL",
	holdReplaced: "restart FireMode, so that it opens the file that is there now",
	holdUnarmed:  "run firemode migrate up",
}

// nextStep says what an operator does about err; "" when the worker helps itself.
func nextStep(err error) string {
	var hold *holdError
	switch {
	case errors.As(err, &hold):
		return holdAdvice[hold.reason]
	case errors.Is(err, errNoMirror):
		return "start firemode serve, which makes the mirror"
	}
	switch classify(err) {
	case classTransient:
		return "check DATABASE_URL, and that PostgreSQL runs, takes writes and admits this host; firemode mirror doctor looks at each; FireMode itself works on without it"
	case classPermission:
		return "firemode mirror doctor says which role, database or right is missing"
	case classDrift:
		return "somebody changed the mirror's tables or DATABASE_URL has an option that PostgreSQL does not know: firemode mirror doctor, then firemode mirror reconcile"
	case classData, classUnknown:
		return "firemode mirror doctor; PostgreSQL's own log has the whole message"
	}
	return ""
}
