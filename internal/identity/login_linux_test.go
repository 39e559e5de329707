package identity

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"firemode/internal/testbin"
)

const (
	// memoryPromise is what the program may take while a crowd signs in.
	memoryPromise = 512 << 20
	// crowd is how many sign in at once.
	crowd = 200
	// rounds are enough for what finished hashes leave behind to pile up.
	rounds = 3
	// seedPassword is that of every seeded account.
	seedPassword = "firemode-demo-1851"
)

// memory reads a size in bytes from what the kernel says about a process: VmHWM is the most
// memory it ever had.
func memory(tb testing.TB, pid int, name string) int64 {
	tb.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	must(tb, err)
	for line := range strings.Lines(string(raw)) {
		if text, found := strings.CutPrefix(line, name+":"); found {
			kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(text), " kB"), 10, 64)
			must(tb, err)
			return kib << 10
		}
	}
	tb.Fatalf("no %s in\n%s", name, raw)
	return 0
}

// storm is what a crowd of logins came to.
type storm struct {
	passed, busy int64
	peak         int64 // bytes
	elapsed      time.Duration
}

// loginStorm starts a server with the default cost of a password and lets a crowd sign in at
// once, rounds times; a client that is told to come back does so when patient.
func loginStorm(tb testing.TB, rounds int, patient bool) storm {
	tb.Helper()
	env := newEnv(tb, newKey(tb))
	env["ARGON2_TIME_COST"], env["ARGON2_MEMORY_COST"], env["ARGON2_PARALLELISM"] = "3", "65536", "2"
	testbin.MustRun(tb, env, "seed", "--scale", "1")
	server := testbin.Start(tb, env)
	c := newClient(tb, server.URL)
	calm := memory(tb, server.PID(), "VmHWM")

	var s storm
	var passed, busy atomic.Int64
	errs := make(chan error, crowd)
	began := time.Now()
	for range rounds {
		var wg sync.WaitGroup
		for range crowd {
			wg.Go(func() {
				for {
					_, err := c.login("users", "load.inspector", seedPassword)
					var refused *statusError
					switch {
					case err == nil:
						passed.Add(1)
						return
					case !errors.As(err, &refused) || refused.code != http.StatusServiceUnavailable || refused.header.Get("Retry-After") == "":
						errs <- err
						return
					}
					busy.Add(1)
					if !patient {
						return
					}
					wait, err := strconv.Atoi(refused.header.Get("Retry-After"))
					if err != nil || wait > 5 {
						errs <- fmt.Errorf("Retry-After is %q", refused.header.Get("Retry-After"))
						return
					}
					<-time.After(time.Duration(wait) * time.Second)
				}
			})
		}
		wg.Wait()
	}
	s.elapsed = time.Since(began)
	close(errs)
	for err := range errs {
		tb.Error(err)
	}
	s.passed, s.busy, s.peak = passed.Load(), busy.Load(), memory(tb, server.PID(), "VmHWM")
	tb.Logf("%d logins passed and %d were told to come back in %s; peak memory %d MiB, before the storm %d MiB",
		s.passed, s.busy, s.elapsed.Round(time.Millisecond), s.peak>>20, calm>>20)
	if code := server.Stop(tb); code != 0 {
		tb.Errorf("exit code: %d\n%s", code, server.Log())
	}
	return s
}

// TestLoginStorm: a crowd that signs in at once is answered, and the program stays within the
// memory that it may take. With FIREMODE_SOAK set everybody tries until they are in.
func TestLoginStorm(t *testing.T) {
	t.Parallel()
	n := rounds
	if long() {
		n = 1 // of many tries each
	}
	s := loginStorm(t, n, long())
	if s.peak > memoryPromise {
		t.Errorf("peak memory: got %d MiB, at most %d are promised", s.peak>>20, int64(memoryPromise)>>20)
	}
	if s.passed == 0 || (long() && s.passed != crowd) {
		t.Errorf("logins: got %d passed of %d", s.passed, n*crowd)
	}
	// The control: so many hashes at once cannot fit, so some had to wait or were refused.
	if s.peak < 128<<20 {
		t.Errorf("peak memory: got %d MiB, less than two hashes take; the storm was none", s.peak>>20)
	}
}

// BenchmarkLoginStorm is the memory of that crowd when everybody tries until they are in.
func BenchmarkLoginStorm(b *testing.B) {
	for b.Loop() {
		s := loginStorm(b, 1, true)
		b.ReportMetric(float64(s.peak)/(1<<20), "peak-rss-MB")
		b.ReportMetric(float64(s.passed), "passed")
		b.ReportMetric(float64(s.busy), "told-to-come-back")
	}
}
