package testbin

import (
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

// A Process is one running command of firemode. It is safe for use by many
// goroutines.
type Process struct {
	cmd    *exec.Cmd
	exited chan struct{} // closed when the process is gone
	mu     sync.Mutex    // guards log
	log    strings.Builder
}

// A Server is one running "firemode serve". It is safe for use by many
// goroutines once started.
type Server struct {
	*Process
	URL  string // of the API
	Diag string // of the diagnostics
}

// addresses are the lines in which the server says where it listens.
var addresses = regexp.MustCompile(`(?m)^\s*(serving|diagnostics)\s+(http://\S+)\n`)

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
	return &Server{Process: Begin(t, free, "serve")}
}

// Begin starts a command without waiting for it. It is killed when the test ends.
func Begin(t testing.TB, env Env, args ...string) *Process {
	t.Helper()
	p := &Process{exited: make(chan struct{})}
	p.cmd = exec.Command(Path(t), args...)
	p.cmd.Env, p.cmd.Dir = env.list(), t.TempDir()
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	p.cmd.Stdout, p.cmd.Stderr = p, p
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("start firemode %s: %v", strings.Join(args, " "), err)
	}
	go func() {
		_ = p.cmd.Wait()
		close(p.exited)
	}()
	t.Cleanup(p.Kill)
	return p
}

// Write takes what the process prints.
func (p *Process) Write(text []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.Write(text)
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

// Log returns what the process has printed so far.
func (p *Process) Log() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.String()
}

// PID is the id of the process.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Exited is closed when the process is gone.
func (p *Process) Exited() <-chan struct{} { return p.exited }

// Kill ends the process as a power cut would and waits until it is gone.
func (p *Process) Kill() {
	_ = p.cmd.Process.Signal(syscall.SIGKILL)
	<-p.exited
}

// Stop asks the process to end, waits for it and returns its exit code.
func (p *Process) Stop(t testing.TB) int {
	t.Helper()
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	return p.wait(t, stopTimeout)
}

// Wait waits until the process ends by itself and returns its exit code.
func (p *Process) Wait(t testing.TB) int {
	t.Helper()
	return p.wait(t, commandTimeout)
}

func (p *Process) wait(t testing.TB, timeout time.Duration) int {
	t.Helper()
	select {
	case <-p.exited:
	case <-time.After(timeout):
		t.Fatalf("%s did not end within %s:\n%s", p.cmd, timeout, p.Log())
	}
	return p.cmd.ProcessState.ExitCode()
}
