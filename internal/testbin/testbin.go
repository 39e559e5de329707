// Package testbin builds the firemode binary for tests, runs its commands and
// starts, kills and stops servers of it. Tests of the whole program use it, so
// that what they prove holds for the thing a user starts.
package testbin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// commandTimeout bounds one command line under the race detector on a machine
// that is busy with other tests; building has longer.
const (
	commandTimeout = 5 * time.Minute
	buildTimeout   = 10 * time.Minute
)

var build = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "firemode-bin-")
	if err != nil {
		return "", err
	}
	root, err := moduleRoot()
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(context.Background(), buildTimeout)
	defer cancel()
	path := filepath.Join(dir, "firemode")
	args, cgo := []string{"build", "-o", path}, "CGO_ENABLED=0"
	if raceDetector && !shipped {
		args, cgo = append(args, "-race"), "CGO_ENABLED=1"
	}
	cmd := exec.CommandContext(ctx, "go", append(args, ".")...)
	cmd.Dir, cmd.Env = root, append(os.Environ(), cgo)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build firemode: %w\n%s", err, out)
	}
	return path, nil
})

func moduleRoot() (string, error) {
	out, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("find the module: %w", err)
	}
	return filepath.Dir(strings.TrimSpace(string(out))), nil
}

// shipped asks for the binary as users get it.
var shipped bool

// Shipped asks for a binary without the race detector even when the tests run
// under it, for proofs about memory and about many processes, each of which
// takes seconds to start with it. Call it from TestMain before m.Run.
func Shipped() { shipped = true }

// Path returns the binary, built once per test process; under the race detector
// when the tests are, unless Shipped was called.
func Path(t testing.TB) string {
	t.Helper()
	path, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// Cleanup removes the binary; call it from TestMain after m.Run.
func Cleanup() {
	if path, err := build(); err == nil {
		_ = os.RemoveAll(filepath.Dir(path))
	}
}

// Env is the environment of a command beyond the little it always gets: PATH,
// HOME and cheap Argon2 parameters.
type Env map[string]string

func (e Env) list() []string {
	all := Env{
		"PATH": os.Getenv("PATH"), "HOME": os.TempDir(), "TMPDIR": os.TempDir(),
		"ARGON2_TIME_COST": "1", "ARGON2_MEMORY_COST": "1024", "ARGON2_PARALLELISM": "1",
	}
	for k, v := range e {
		all[k] = v
	}
	list := make([]string, 0, len(all))
	for k, v := range all {
		list = append(list, k+"="+v)
	}
	return list
}

// A Result is what a finished command left.
type Result struct {
	Code           int
	Stdout, Stderr string
}

// Run runs one command line to its end, in an empty working directory.
func Run(t testing.TB, env Env, args ...string) Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), commandTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, Path(t), args...)
	cmd.Env, cmd.Dir = env.list(), t.TempDir()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if exit := new(exec.ExitError); err != nil && !errors.As(err, &exit) {
		t.Fatalf("firemode %s: %v", strings.Join(args, " "), err)
	}
	return Result{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// MustRun is Run for a command that has to succeed; it returns standard output.
func MustRun(t testing.TB, env Env, args ...string) string {
	t.Helper()
	r := Run(t, env, args...)
	if r.Code != 0 {
		t.Fatalf("firemode %s: exit code %d\n%s%s", strings.Join(args, " "), r.Code, r.Stdout, r.Stderr)
	}
	return r.Stdout
}
