package pgsync

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"firemode/internal/sqlite"

	"github.com/google/uuid"
	"github.com/pocketbase/pocketbase/core"
)

// The chaos and memory tests need processes that can be killed at any moment. They are this test binary with a role.
const (
	roleEnv  = "FIREMODE_PGSYNC_ROLE" // writer or worker; empty: the tests run
	dirEnv   = "FIREMODE_PGSYNC_DIR"
	dsnEnv   = "FIREMODE_PGSYNC_DSN"
	seedEnv  = "FIREMODE_PGSYNC_SEED"
	heardEnv = "FIREMODE_PGSYNC_HEARD" // file that gets a byte for every commit the worker hears of
	dieEnv   = "FIREMODE_PGSYNC_DIE"   // place on the wire at which the worker kills itself
)

var roles = map[string]func() error{"writer": writerProcess, "worker": workerProcess}

// playRole runs the role of this process, if it has one, and does not return then.
func playRole() {
	role := roles[os.Getenv(roleEnv)]
	if role == nil {
		return
	}
	go func() { // the end of the pipe is the end of the test process, however it ended
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	fmt.Fprintln(os.Stderr, os.Getenv(roleEnv), role())
	os.Exit(1)
}

// process is a running role.
type process struct {
	cmd   *exec.Cmd
	ready chan struct{} // closed when a worker has started, or the process is gone
	done  chan struct{} // closed when it is gone
	pipe  io.Closer
}

// startRole starts this binary in a role and kills it when the test ends.
func startRole(t testing.TB, role string, env ...string) *process {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(append(os.Environ(), roleEnv+"="+role), env...)
	cmd.Stderr = os.Stderr
	pipe, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &process{cmd: cmd, ready: make(chan struct{}), done: make(chan struct{}), pipe: pipe}
	go func() {
		_, _ = out.Read(make([]byte, 1))
		close(p.ready)
		_ = cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(p.kill)
	return p
}

func (p *process) signal(s syscall.Signal) { _ = p.cmd.Process.Signal(s) }

// kill ends the process with SIGKILL, a stopped one too, and waits until it is gone.
func (p *process) kill() {
	p.signal(syscall.SIGKILL)
	<-p.done
	p.pipe.Close()
}

// gone is true when the process has ended by itself.
func (p *process) gone() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// writerProcess writes without a pause until it is killed. Each transaction keeps the sum of v over the two rows that
// bear a name, and writes a child with its parent.
func writerProcess() error {
	db, err := sqlite.Connect(filepath.Join(os.Getenv(dirEnv), "data.db"))
	if err != nil {
		return err
	}
	seed, err := strconv.ParseUint(os.Getenv(seedEnv), 10, 64)
	if err != nil {
		return err
	}
	rnd := rand.New(rand.NewPCG(seed, 2))
	for {
		begin := time.Now()
		p, k, amount := uuid.Must(uuid.NewV7()).String(), uuid.Must(uuid.NewV7()).String(), rnd.IntN(9)
		list := []string{
			fmt.Sprintf("UPDATE parents SET v=v-%d WHERE name='a'", amount),
			fmt.Sprintf("INSERT INTO parents (id,name,v,tags) VALUES ('%s','',0,'[]')", p),
			fmt.Sprintf("INSERT INTO kids (id,parent,email,note) VALUES ('%s','%s','%s','')", k, p, k),
			fmt.Sprintf("UPDATE parents SET v=v+%d WHERE name='b'", amount),
		}
		switch rnd.IntN(6) {
		case 0: // a unique value moves from one row to another
			list = append(list, "UPDATE kids SET email='' WHERE email='moving'", fmt.Sprintf("UPDATE kids SET email='moving' WHERE id='%s'", k))
		case 1: // an older pair goes, child or parent first
			old := "(SELECT parent FROM kids WHERE parent<>'' ORDER BY id LIMIT 1)"
			list = append(list, "CREATE TEMP TABLE gone AS SELECT "+old+" AS id",
				"DELETE FROM parents WHERE id IN (SELECT id FROM gone)", "DELETE FROM kids WHERE parent IN (SELECT id FROM gone)", "DROP TABLE gone")
		case 2: // an id changes
			list = append(list, fmt.Sprintf("UPDATE kids SET id='%s' WHERE id='%s'", uuid.Must(uuid.NewV7()), k))
		case 3: // replaced as a whole
			list = append(list, fmt.Sprintf("INSERT OR REPLACE INTO kids (id,parent,email,note) VALUES ('%s','%s','','again')", k, p))
		}
		end := "COMMIT"
		if rnd.IntN(8) == 0 {
			end = "ROLLBACK"
		}
		if _, err := db.DB().Exec("BEGIN IMMEDIATE; " + strings.Join(list, "; ") + "; " + end); err != nil && !sqlite.Busy(err) {
			return err
		}
		// SQLite does not queue: without pauses, on a slow disk long ones, nobody else would get in.
		<-time.After(max(10*time.Millisecond, 2*time.Since(begin)))
	}
}

// workerProcess mirrors until it is killed, by others or by itself at the place that dieEnv names: "up N" after N bytes
// sent, "down N" at the Nth message received, "commit" when it would hear of a commit.
func workerProcess() error {
	var app core.App
	err := sqlite.Patiently(context.Background(), func() error {
		app = core.NewBaseApp(core.BaseAppConfig{DataDir: os.Getenv(dirEnv), DBConnect: sqlite.Connect})
		return app.Bootstrap()
	})
	if err != nil {
		return fmt.Errorf("bootstrap: %w", err)
	}
	Register(app, small)
	if err := sqlite.Patiently(context.Background(), func() error { return Arm(app, small) }); err != nil {
		return fmt.Errorf("arm: %w", err)
	}
	heard, err := os.OpenFile(os.Getenv(heardEnv), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	way, count, _ := strings.Cut(os.Getenv(dieEnv), " ")
	n, err := strconv.ParseInt("0"+count, 10, 64)
	if err != nil {
		return err
	}
	var left atomic.Int64 // over all connections
	left.Store(n)
	w, err := New(app, Config{
		DSN: os.Getenv(dsnEnv), Poll: time.Millisecond, BackoffMax: 50 * time.Millisecond, HoldRetry: 50 * time.Millisecond,
		Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := plainDial(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			c := &wireConn{Conn: conn}
			c.onUp = func(b []byte) (int, error) {
				if way == "up" {
					if over := -left.Add(-int64(len(b))); over > 0 {
						_, _ = conn.Write(b[:max(0, int64(len(b))-over)])
						return 0, die()
					}
				}
				return len(b), nil
			}
			c.onDown = func(kind byte, body []byte) {
				committed := kind == 'C' && string(body) == "COMMIT\x00"
				if way == "commit" && committed || way == "down" && left.Add(-1) < 0 {
					_ = die()
				}
				if committed {
					_, _ = heard.Write([]byte{'.'})
				}
			}
			return c, nil
		},
	})
	if err != nil {
		return err
	}
	if err := w.Start(context.Background()); err != nil {
		return fmt.Errorf("start: %w", err)
	}
	fmt.Println("started")
	select {}
}

// die ends this process at once, with nothing tidied up.
func die() error {
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	return errors.New("killed")
}
