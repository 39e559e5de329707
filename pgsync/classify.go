package pgsync

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/jackc/pgx/v5/pgconn"
)

// class says what the worker does about an error. No class skips an entry.
type class string

const (
	classNone       class = ""
	classCancelled  class = "cancelled"  // the worker is being stopped
	classTransient  class = "transient"  // reconnect and try again, with backoff
	classFenced     class = "fenced"     // another node holds the lease or moved the position
	classData       class = "data"       // one or more rows are refused: salvage the batch
	classDrift      class = "drift"      // the mirror's schema is not what it should be: compare it, then hold
	classPermission class = "permission" // hold, an operator must act
	classUnknown    class = "unknown"    // hold
)

// fencedState is what fm_sync.advance raises.
const fencedState = "FM001"

// errFenced is a lost lease that showed outside of fm_sync.advance.
var errFenced = errors.New("position or lease is held by another node")

// holdError stops the worker in a visible state until the reason is gone.
type holdError struct {
	reason string // one of the constants hold...
	detail string
}

func (e *holdError) Error() string { return "mirror held (" + e.reason + "): " + e.detail }

// classify is the one place that decides what an error means. It goes by SQLSTATE, never by message text.
func classify(err error) class {
	var hold *holdError
	var pg *pgconn.PgError
	var value *valueError
	var netErr net.Error
	var connect *pgconn.ConnectError
	switch {
	case err == nil:
		return classNone
	case errors.As(err, &hold):
		return classUnknown
	case errors.Is(err, errFenced):
		return classFenced
	case errors.As(err, &value):
		return classData
	case errors.As(err, &pg):
		return classifyState(pg.Code)
	case errors.Is(err, context.Canceled):
		return classCancelled
	case errors.Is(err, errSource), errors.Is(err, context.DeadlineExceeded), errors.As(err, &netErr),
		errors.As(err, &connect), pgconn.Timeout(err), isBroken(err):
		return classTransient
	}
	return classUnknown
}

func classifyState(code string) class {
	switch code {
	case fencedState:
		return classFenced
	case "42P01", "42703", "42P10", "42804", "42704", "42883", "3F000", "0A000", "26000":
		return classDrift // table, column, arbiter, type, object, function, schema, cached plan, prepared statement
	case "42501", "3D000":
		return classPermission // privilege, no such database
	case "55P03", "25006", "25P03", "25P04", "55006":
		return classTransient // lock timeout, read-only node, idle and transaction timeouts, object in use
	}
	if len(code) != 5 {
		return classUnknown
	}
	switch code[:2] {
	case "08", "53", "57", "40":
		return classTransient // connection, resources, operator intervention and timeouts, deadlock
	case "22", "23", "54":
		return classData // values, constraints, limits
	case "28":
		return classPermission
	}
	return classUnknown
}

// isBroken reports the errors of a connection that ended under a call; pgx wraps most but not all of them.
func isBroken(err error) bool {
	var unsent interface{ SafeToRetry() bool }
	return errors.As(err, &unsent) || errors.Is(err, net.ErrClosed) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// publicText describes an error for status pages and logs. Server messages may quote values of a row, so only the
// state and the names of things are shown.
func publicText(err error) string {
	var pg *pgconn.PgError
	var value *valueError
	var connect *pgconn.ConnectError
	switch {
	case err == nil:
		return ""
	case errors.As(err, &pg):
		if pg.TableName == "" && pg.ConstraintName == "" && classify(err) != classData {
			return fmt.Sprintf("PostgreSQL %s: %s", pg.Code, pg.Message)
		}
		return fmt.Sprintf("PostgreSQL %s: table %q, constraint %q", pg.Code, pg.TableName, pg.ConstraintName)
	case errors.As(err, &value):
		return value.Error()
	case errors.As(err, &connect):
		return "cannot reach PostgreSQL: " + connectReason(connect)
	}
	return err.Error()
}

// connectReason is the innermost cause of a failed connection, which names hosts and ports but no credentials.
func connectReason(err error) string {
	for {
		switch wrapped := err.(type) {
		case interface{ Unwrap() error }:
			inner := wrapped.Unwrap()
			if inner == nil {
				return err.Error()
			}
			err = inner
		case interface{ Unwrap() []error }:
			inner := wrapped.Unwrap()
			if len(inner) == 0 {
				return err.Error()
			}
			err = inner[0]
		default:
			return err.Error()
		}
	}
}
