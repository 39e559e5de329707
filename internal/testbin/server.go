package testbin

import (
	"bufio"
	"io"
	"net/http"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	// readyTimeout bounds the start of a server on a busy machine.
	readyTimeout = 90 * time.Second
	// stopTimeout is above the grace that a server gives running requests.
	stopTimeout = 60 * time.Second
	pollEvery   = 20 * time.Millisecond
)

// A Server is one running "firemode serve". It is safe for use by many
// goroutines once started.
type Server struct {
	URL  string // of the API
	Diag string // of the diagnostics

	cmd    *exec.Cmd
	exited chan struct{} // closed when the process is gone
	mu     sync.Mutex    // guards log
	log    strings.Builder
}

// addresses are the lines in which the server says where it listens.
var addresses = regexp.MustCompile(`(?m)^\s*(serving|diagnostics)\s+(http://\S+)`)

// Start starts a server and waits until it is ready. Without FIREMODE_HTTP in
// env it takes a free port. It is killed when the test ends.
func Start(t testing.TB, env Env) *Server {
	t.Helper()
	s := Launch(t, env)
	deadline := time.Now().Add(readyTimeout)
	for time.Now().Before(deadline) {
		select {
		case <-s.exited:
			t.Fatalf("firemode serve ended with code %d:\n%s", s.cmd.ProcessState.ExitCode(), s.Log())
		case <-time.After(pollEvery):
		}
		if s.ready() {
			return s
		}
	}
	t.Fatalf("firemode serve was not ready within %s:\n%s", readyTimeout, s.Log())
	return nil
}

// Launch starts a server without waiting for it.
func Launch(t testing.TB, env Env) *Server {
	t.Helper()
	free := Env{"FIREMODE_HTTP": "127.0.0.1:0", "FIREMODE_DIAG": "127.0.0.1:0"}
	for k, v := range env {
		free[k] = v
	}
	s := &Server{exited: make(chan struct{})}
	s.cmd = exec.Command(Path(t), "serve")
	s.cmd.Env, s.cmd.Dir = free.list(), t.TempDir()
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, in := io.Pipe()
	s.cmd.Stdout, s.cmd.Stderr = in, in
	if err := s.cmd.Start(); err != nil {
		t.Fatalf("start firemode serve: %v", err)
	}
	go s.read(out)
	go func() {
		_ = s.cmd.Wait()
		_ = in.Close()
		close(s.exited)
	}()
	t.Cleanup(s.Kill)
	return s
}

func (s *Server) read(out io.Reader) {
	for lines := bufio.NewScanner(out); lines.Scan(); {
		s.mu.Lock()
		s.log.WriteString(lines.Text() + "\n")
		s.mu.Unlock()
	}
}

// ready says whether requests are answered, and notes the addresses.
func (s *Server) ready() bool {
	for _, m := range addresses.FindAllStringSubmatch(s.Log(), -1) {
		if m[1] == "serving" {
			s.URL = m[2]
		} else {
			s.Diag = m[2]
		}
	}
	if s.URL == "" {
		return false
	}
	res, err := http.Get(s.URL + "/health/ready")
	if err != nil {
		return false
	}
	defer res.Body.Close()
	return res.StatusCode == http.StatusOK
}

// Log returns what the server has printed so far.
func (s *Server) Log() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.String()
}

// Kill ends the process as a power cut would and waits until it is gone.
func (s *Server) Kill() {
	_ = s.cmd.Process.Signal(syscall.SIGKILL)
	<-s.exited
}

// Stop asks the process to end, waits for it and returns its exit code.
func (s *Server) Stop(t testing.TB) int {
	t.Helper()
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.exited:
	case <-time.After(stopTimeout):
		t.Fatalf("firemode serve did not stop within %s:\n%s", stopTimeout, s.Log())
	}
	return s.cmd.ProcessState.ExitCode()
}

// Wait waits until the process ends by itself and returns its exit code.
func (s *Server) Wait(t testing.TB) int {
	t.Helper()
	select {
	case <-s.exited:
	case <-time.After(readyTimeout):
		t.Fatalf("firemode serve did not end within %s:\n%s", readyTimeout, s.Log())
	}
	return s.cmd.ProcessState.ExitCode()
}
