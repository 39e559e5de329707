package sqlite

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
)

// A command beside a server that holds the lock at each look tries again, gives up in the end,
// and not for other errors.
func TestPatiently(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "data.db")
	server, err := Connect(path)
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	command, err := Connect(path)
	if err != nil {
		t.Fatal(err)
	}
	defer command.Close()
	command.DB().SetMaxOpenConns(1)
	if _, err := command.NewQuery("PRAGMA busy_timeout = 0").Execute(); err != nil {
		t.Fatal(err)
	}
	held, err := server.Begin()
	if err != nil {
		t.Fatal(err)
	}
	tries := 0
	write := func() error {
		tries++
		if tries == 3 {
			_ = held.Rollback()
		}
		tx, err := command.Begin()
		if err != nil {
			return err
		}
		return tx.Rollback()
	}
	if err := Patiently(t.Context(), write); err != nil || tries != 3 {
		t.Errorf("a lock that goes away: got %v after %d tries, want success at the third", err, tries)
	}
	if held, err = server.Begin(); err != nil {
		t.Fatal(err)
	}
	tries = 3
	if err := Patiently(t.Context(), write); !Busy(err) || tries != 3+busyTries {
		t.Errorf("a lock that stays: got %v after %d tries, want busy after %d", err, tries-3, busyTries)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	tries = 3
	if err := Patiently(ended, write); !Busy(err) || tries != 4 {
		t.Errorf("told to stop: got %v after %d tries, want one", err, tries-3)
	}
	tries = 0
	other := errors.New("no such table")
	if err := Patiently(t.Context(), func() error { tries++; return other }); err != other || tries != 1 {
		t.Errorf("another error: got %v after %d tries, want it at once", err, tries)
	}
	if err := held.Rollback(); err != nil {
		t.Fatal(err)
	}
}
