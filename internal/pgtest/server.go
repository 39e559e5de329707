package pgtest

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	// startTimeout covers initdb and start on a loaded two-core machine (1.5 s when idle).
	startTimeout = 60 * time.Second
	// startPoll is how often a starting server is asked whether it answers.
	startPoll = 10 * time.Millisecond
	// dirPrefix keeps the socket path far below the 107 bytes a unix socket may have; t.TempDir can exceed them.
	dirPrefix = "fmpg"
)

// Server is one throwaway PostgreSQL server. Its methods are for one goroutine at a time.
type Server struct {
	dir  string // holds data/, log and the socket; mode 0700, owned by the server's user
	bin  string
	cred *syscall.Credential // nil: run as the current user
	lock *os.File            // flock of the owning process, so that a later process can sweep what a killed one left
	cmd  *exec.Cmd           // nil while stopped
	done chan error          // receives the exit of cmd
}

// NewServer starts a server that only this test uses and removes it when the test ends.
// It fails the test when the machine has no server binaries.
func NewServer(t testing.TB) *Server {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	s, err := Start(ctx)
	if err != nil {
		t.Fatalf("start PostgreSQL: %v", err)
	}
	t.Cleanup(s.Stop)
	return s
}

// Start creates a data directory and starts a server in it. The caller MUST call Stop.
func Start(ctx context.Context) (*Server, error) {
	bin, err := BinDir()
	if err != nil {
		return nil, err
	}
	cred, err := credential()
	if err != nil {
		return nil, err
	}
	sweep()
	dir, lock, err := newDir()
	if err != nil {
		return nil, err
	}
	s := &Server{dir: dir, bin: bin, cred: cred, lock: lock}
	if err := s.initialise(ctx); err != nil {
		s.Stop()
		return nil, err
	}
	if err := s.Up(ctx); err != nil {
		s.Stop()
		return nil, err
	}
	return s, nil
}

// credential is the user the server runs as: PostgreSQL refuses root.
func credential() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, errUID := strconv.ParseUint(u.Uid, 10, 32)
		gid, errGID := strconv.ParseUint(u.Gid, 10, 32)
		if err := errors.Join(errUID, errGID); err != nil {
			return nil, fmt.Errorf("read user %s: %w", name, err)
		}
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
	}
	return nil, errors.New("running as root, and neither user postgres nor nobody exists to run PostgreSQL as")
}

func (s *Server) initialise(ctx context.Context) error {
	if s.cred != nil {
		if err := os.Chown(s.dir, int(s.cred.Uid), int(s.cred.Gid)); err != nil {
			return fmt.Errorf("own data directory: %w", err)
		}
	}
	cmd := exec.CommandContext(ctx, filepath.Join(s.bin, "initdb"), "-D", filepath.Join(s.dir, "data"),
		"-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.cred}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	// Not on the command line, so that a test that wants it may switch it on: tests kill processes, not machines.
	conf, err := os.OpenFile(filepath.Join(s.dir, "data", "postgresql.conf"), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return fmt.Errorf("configure: %w", err)
	}
	_, err = conf.WriteString("\nfsync = off\n")
	return errors.Join(err, conf.Close())
}

// Up starts the server and waits until it answers; a running server is left as it is.
func (s *Server) Up(ctx context.Context) error {
	for s.cmd == nil {
		err := s.up(ctx)
		// After a SIGKILL the orphaned backends hold the shared memory for some milliseconds.
		if err == nil || !strings.Contains(err.Error(), "pre-existing shared memory block") {
			return err
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-time.After(startPoll):
		}
	}
	return nil
}

func (s *Server) up(ctx context.Context) error {
	if err := os.Remove(filepath.Join(s.dir, "data", "postmaster.pid")); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	log, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(filepath.Join(s.bin, "postgres"), "-D", filepath.Join(s.dir, "data"), "-k", s.dir,
		"-c", "listen_addresses=", "-c", "shared_buffers=32MB", "-c", "max_connections=100",
		"-c", "log_min_messages=warning", "-c", "timezone=Australia/Sydney") // a zone far from UTC shows missing conversions
	cmd.Dir, cmd.Stdout, cmd.Stderr = s.dir, log, log
	cmd.SysProcAttr = dieWithParent(&syscall.SysProcAttr{Credential: s.cred})
	started, done := make(chan error, 1), make(chan error, 1)
	go func() {
		// The parent-death signal fires when the thread that forked ends, so this goroutine keeps its thread.
		runtime.LockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			done <- cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("start postgres: %w", err)
	}
	s.cmd, s.done = cmd, done
	for {
		conn, err := pgx.Connect(ctx, s.DSN("postgres"))
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case err := <-done:
			s.cmd = nil
			return fmt.Errorf("postgres exited: %w\n%s", err, s.Log())
		case <-ctx.Done():
			return fmt.Errorf("wait for postgres: %w\n%s", ctx.Err(), s.Log())
		case <-time.After(startPoll):
		}
	}
}

// DSN returns a connection string in keyword form for a database of this server.
func (s *Server) DSN(database string) string {
	return "host=" + s.dir + " user=postgres dbname=" + database + " sslmode=disable"
}

// URL returns the same as DSN in postgres:// form, as DATABASE_URL usually has it.
func (s *Server) URL(database string) string {
	q := url.Values{"host": {s.dir}, "sslmode": {"disable"}}
	return "postgres://postgres@/" + database + "?" + q.Encode()
}

// Log returns what the server has written to its log so far.
func (s *Server) Log() string {
	b, err := os.ReadFile(filepath.Join(s.dir, "log"))
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// Stop ends the server and removes its files. It may be called twice.
func (s *Server) Stop() {
	s.halt(syscall.SIGQUIT) // the files are removed next, so there is nothing to shut down in order for
	os.RemoveAll(s.dir)
	if s.lock != nil {
		s.lock.Close()
		s.lock = nil
	}
}
