//go:build !race

package pgsync

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"firemode/internal/pgtest"
)

// backlogMemory is what the mirror may take beyond the rest of the program, whatever waits for it.
const backlogMemory = 64 << 20

// PostgreSQL is away for long, FireMode is restarted meanwhile, one source transaction is huge: it all arrives, and the
// memory for it stays bounded.
func TestLongBacklogTakesBoundedMemory(t *testing.T) {
	t.Parallel()
	backlog, atOnce := 30_000, 20_000
	if soak() {
		backlog, atOnce = 900_000, 100_000
	}
	app := smallApp(t)
	server := pgtest.NewServer(t)
	server.Kill()
	env := []string{dirEnv + "=" + app.DataDir(), dsnEnv + "=" + server.URL("postgres"), heardEnv + "=" + filepath.Join(t.TempDir(), "heard")}
	if err := os.WriteFile(strings.TrimPrefix(env[2], heardEnv+"="), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	clerk := manual(t, app, Config{DSN: server.URL("postgres")}) // records cuts as a worker does each second
	var worker *process
	for i := range 3 {
		worker = startRole(t, "worker", env...)
		for j := range backlog / 3 / 1000 {
			addParents(t, app, 1000)
			if j%3 == 0 {
				clerk.recordCut(deadline(t), logEnd(t, app))
			}
		}
		if <-worker.ready; i < 2 {
			worker.kill()
		}
	}
	addParents(t, app, atOnce)
	base := memory(t, worker, "VmRSS")
	if err := server.Up(deadline(t)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all is mirrored", func() bool {
		position, err := number(t, server.URL("postgres"), "SELECT seq FROM fm_sync.origin")
		return err == nil && position == logEnd(t, app)
	})
	mustEqual(t, app, server.URL("postgres"))
	used := memory(t, worker, "VmHWM") - base
	t.Logf("%d entries, %d of them in one transaction: %.1f MiB beyond %.1f MiB", logEnd(t, app), atOnce, float64(used)/(1<<20), float64(base)/(1<<20))
	if used > backlogMemory {
		t.Errorf("the backlog took %d MiB, want at most %d", used>>20, backlogMemory>>20)
	}
	conn := pg(t, server.URL("postgres"))
	if entries, end := one[int64](t, conn, "SELECT count(*) FROM fm_sync.journal"), logEnd(t, app); entries != end {
		t.Errorf("the journal has %d entries, the log %d", entries, end)
	}
}

// memory reads a size in bytes from what the kernel says about a process: VmHWM is the most memory it ever had.
func memory(t *testing.T, p *process, name string) int64 {
	t.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(raw)) {
		if text, found := strings.CutPrefix(line, name+":"); found {
			kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(text), " kB"), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return kib << 10
		}
	}
	t.Fatalf("no %s in\n%s", name, raw)
	return 0
}
