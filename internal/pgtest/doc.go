// Package pgtest gives tests a real, throwaway PostgreSQL.
//
// Nothing is downloaded and nothing is skipped: the server binaries of this machine are used, and a machine without
// them fails the test with a message that names the fix.
//
//   - Database returns a fresh, empty database on one server shared by the whole test process.
//   - NewServer returns a server of its own, for tests that crash, stop or restart it.
//
// Where the server comes from, first match wins:
//
//  1. FIREMODE_TEST_POSTGRES: connection string of a running server whose user may create databases (Database only).
//  2. FIREMODE_PG_BIN: directory that holds initdb and postgres.
//  3. PATH, then the usual installation directories, newest major version first.
//
// A server listens only on a unix socket in a private directory, runs without fsync (tests kill processes, not the
// machine), and on Linux dies with the test process even when that is killed. PostgreSQL refuses to run as root, so a
// root test process runs it as user "postgres", else "nobody".
//
// It does not manage roles, TLS or replication.
package pgtest
