package pgtest

import (
	"context"
	"fmt"
	"syscall"

	"github.com/jackc/pgx/v5"
)

// Kill ends the postmaster with SIGKILL, as a crash does; its backends notice and end as well. Up starts it again.
func (s *Server) Kill() { s.halt(syscall.SIGKILL) }

// Shutdown ends the server in the fast, orderly way: open connections get an administrator shutdown error.
func (s *Server) Shutdown() { s.halt(syscall.SIGINT) }

// Restart kills the server and starts it again; it returns when the server answers.
func (s *Server) Restart(ctx context.Context) error {
	s.Kill()
	return s.Up(ctx)
}

func (s *Server) halt(signal syscall.Signal) {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Signal(syscall.SIGCONT) // a paused server would not hear the signal
	_ = s.cmd.Process.Signal(signal)
	<-s.done
	s.cmd = nil
}

// Pause stops every process of the server with SIGSTOP, so that connections stay open and nothing answers.
// The returned function lets them run again and MUST be called.
func (s *Server) Pause(ctx context.Context) (resume func(), err error) {
	conn, err := pgx.Connect(ctx, s.DSN("postgres"))
	if err != nil {
		return nil, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	// The postmaster stops first, so that no backend is born between the list and the signals.
	if err := s.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		return nil, fmt.Errorf("stop postmaster: %w", err)
	}
	rows, err := conn.Query(ctx, `SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid()`)
	if err == nil {
		var pids []int
		if pids, err = pgx.CollectRows(rows, pgx.RowTo[int]); err == nil {
			for _, pid := range pids {
				_ = syscall.Kill(pid, syscall.SIGSTOP) // a backend that has just ended needs no signal
			}
			return func() {
				for _, pid := range pids {
					_ = syscall.Kill(pid, syscall.SIGCONT)
				}
				if s.cmd != nil {
					_ = s.cmd.Process.Signal(syscall.SIGCONT)
				}
			}, nil
		}
	}
	_ = s.cmd.Process.Signal(syscall.SIGCONT)
	return nil, fmt.Errorf("list server processes: %w", err)
}
