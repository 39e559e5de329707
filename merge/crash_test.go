package merge

import (
	"bufio"
	"context"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"firemode/crdt"
	"firemode/internal/sqlite"
	"firemode/internal/testapp"

	"github.com/pocketbase/dbx"
	"github.com/pocketbase/pocketbase/core"
)

// Environment of the process that TestCrash kills: this binary, run as crashWriter.
const (
	crashDirEnv     = "FIREMODE_TEST_CRASH_DIR"
	crashSessionEnv = "FIREMODE_TEST_CRASH_SESSION"
	crashEarlyEnv   = "FIREMODE_TEST_CRASH_EARLY" // acknowledge before the commit
)

const crashWriters = 16

// open opens a data directory in place.
func open(dir string) (core.App, error) {
	app := core.NewBaseApp(core.BaseAppConfig{DataDir: dir, DBConnect: sqlite.Connect})
	return app, app.Bootstrap()
}

// crashWriter writes to the session without end and prints "actor seq hash" for every
// operation that was acknowledged.
func crashWriter(dir string) error {
	app, err := open(dir)
	if err != nil {
		return err
	}
	s := New(app, Config{})
	if err := s.Start(context.Background()); err != nil {
		return err
	}
	session, early := os.Getenv(crashSessionEnv), os.Getenv(crashEarlyEnv) != ""
	var mu sync.Mutex
	acknowledge := func(req SyncRequest) {
		mu.Lock()
		defer mu.Unlock()
		for _, line := range req.Lines {
			op, err := crdt.ParseOp(line)
			if err != nil {
				panic(err)
			}
			sum := op.Sum()
			fmt.Println(op.Actor, op.Seq, hex.EncodeToString(sum[:]))
		}
	}
	var wg sync.WaitGroup
	for w := range crashWriters {
		wg.Go(func() {
			d := &tablet{session: session, user: "anna"}
			err := s.Do(context.Background(), func(b *Batch) (err error) {
				d.actor, err = NewActor(b.App(), d.user, fmt.Sprintf("tablet %d", w))
				return err
			})
			d.chain = crdt.ChainStart(session, d.actor)
			for err == nil {
				req := d.request(put("items/FE-1/remark", fmt.Sprintf(`"%s %d"`, d.actor, d.seq)), put(fmt.Sprintf("items/FE-%d/result", w), `"pass"`))
				err = s.Do(context.Background(), func(b *Batch) error {
					_, err := b.Append(req)
					if early {
						acknowledge(req)
						<-context.Background().Done() // for ever: the kill comes before the commit
					}
					return err
				})
				if err == nil {
					acknowledge(req)
				}
			}
			fmt.Println("error:", err)
		})
	}
	wg.Wait()
	return nil
}

// kill runs crashWriter until it has acknowledged n operations, kills it and adds what it
// acknowledged to acked: actor and seq to hash.
func kill(t *testing.T, dir, session string, early bool, n int, acked map[string]string) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), crashDirEnv+"="+dir, crashSessionEnv+"="+session)
	if early {
		cmd.Env = append(cmd.Env, crashEarlyEnv+"=1")
	}
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	count := 0
	for lines := bufio.NewScanner(out); lines.Scan(); {
		dot, hash, ok := cutLast(lines.Text())
		if !ok {
			if strings.HasPrefix(lines.Text(), "error:") {
				t.Errorf("writer process: %s", lines.Text())
			}
			continue
		}
		acked[dot] = hash
		if count++; count == n {
			// What it still prints until it dies was acknowledged too.
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait() // reports the kill
}

func cutLast(line string) (dot, hash string, ok bool) {
	i := strings.LastIndexByte(line, ' ')
	if i < 0 || len(line)-i-1 != 64 {
		return "", "", false // an error, or cut short by the kill
	}
	return line[:i], line[i+1:], true
}

// lostAfterCrash counts the acknowledged operations that are not in the log as they were.
func lostAfterCrash(t *testing.T, app core.App, acked map[string]string) (lost int) {
	t.Helper()
	q := app.DB().NewQuery("SELECT lower(hex(o.hash)) FROM crdt_ops o JOIN crdt_actors a ON a.id = o.actor WHERE a.key = {:a} AND o.seq = {:s}").Prepare()
	defer q.Close()
	for dot, want := range acked {
		actor, seq, _ := strings.Cut(dot, " ")
		var got string
		if err := q.Bind(dbx.Params{"a": actor, "s": seq}).Row(&got); err != nil || got != want {
			lost++
		}
	}
	return lost
}

func TestCrash(t *testing.T) {
	t.Parallel()
	for name, early := range map[string]bool{"answer after commit": false, "negative control: answer before commit": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			made := testapp.New(t)
			id := session(t, made)
			if err := made.ResetBootstrapState(); err != nil {
				t.Fatal(err)
			}
			acked := map[string]string{}
			kills, each := 4, 200
			if early {
				kills, each = 1, 2
			}
			for range kills {
				if !early {
					each = 200 + rand.IntN(200)
				}
				kill(t, made.DataDir(), id, early, each, acked)
			}
			app, err := open(made.DataDir())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = app.ResetBootstrapState() })
			s := New(app, Config{})
			lost := lostAfterCrash(t, app, acked)
			switch {
			case early && lost == 0:
				t.Error("nothing was lost although the answer came before the commit")
			case !early && (lost > 0 || len(acked) < kills*200):
				t.Errorf("%d of %d acknowledged operations lost", lost, len(acked))
			}
			r := sound(t, s, id)
			t.Logf("%d kills, %d operations acknowledged, %d in the log, %d lost", kills, len(acked), r.Ops, lost)
		})
	}
}
