package merge

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"firemode/audit"

	"github.com/pocketbase/dbx"
)

func mark(b *Batch, k string) error {
	_, err := b.App().NonconcurrentDB().NewQuery("INSERT INTO _fm_params (k, v) VALUES ({:k}, '')").Bind(dbx.Params{"k": k}).Execute()
	return err
}

func marks(t *testing.T, s *Service) (n int) {
	t.Helper()
	if err := s.app.DB().NewQuery("SELECT count(*) FROM _fm_params WHERE k LIKE 'mark%'").Row(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// hold keeps the writer inside a job, so that what is queued meanwhile forms one batch.
func hold(t *testing.T, s *Service) (release func()) {
	t.Helper()
	entered, free, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		done <- s.Do(context.Background(), func(*Batch) error {
			close(entered)
			<-free
			return nil
		})
	}()
	<-entered
	return func() {
		close(free)
		if err := <-done; err != nil {
			t.Errorf("holding job: %v", err)
		}
	}
}

// queued waits until n jobs wait behind the one that runs.
func queued(t *testing.T, s *Service, n int) {
	t.Helper()
	s.writer.mu.RLock()
	queue := s.writer.queue
	s.writer.mu.RUnlock()
	eventually(t, fmt.Sprintf("%d jobs queued", n), func() bool { return len(queue) >= n })
}

func TestFailingJobsTakeBackOnlyThemselves(t *testing.T) {
	t.Parallel()
	s, app := service(t, Config{})
	id := session(t, app)
	boom := errors.New("boom")
	release := hold(t, s)
	var wg sync.WaitGroup
	for i := range 30 {
		wg.Go(func() {
			err := s.Do(context.Background(), func(b *Batch) error {
				audit.Attribute(b.App(), audit.Actor{ID: fmt.Sprintf("user %d", i)}) // never released: the writer does
				if err := mark(b, fmt.Sprintf("mark %d", i)); err != nil {
					return err
				}
				if _, err := b.Change(ChangeRequest{SessionID: id, UserID: fmt.Sprintf("user %d", i), Changes: []Change{{Op: OpAppend, Path: "notes", Value: []byte(`"note"`)}}}); err != nil {
					return err
				}
				switch i % 3 {
				case 1:
					return boom
				case 2:
					panic("secret of user 7")
				}
				return nil
			})
			switch {
			case i%3 == 0 && err != nil, i%3 == 1 && !errors.Is(err, boom), i%3 == 2 && !errors.Is(err, ErrPanic):
				t.Errorf("job %d: got %v", i, err)
			case err != nil && (strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), ".go:")):
				t.Errorf("job %d: got %v, want no detail of the panic", i, err)
			}
		})
	}
	queued(t, s, 30)
	release()
	wg.Wait()
	if got := marks(t, s); got != 10 {
		t.Errorf("rows of jobs: got %d, want the 10 of those that succeeded", got)
	}
	if r := sound(t, s, id); r.Ops != 10 {
		t.Errorf("operations: got %d, want 10", r.Ops)
	}
	if got := strings.Count(string(read(t, s, id).Data), `{"value":"note"`); got != 10 {
		t.Errorf("notes: got %d, want 10", got)
	}
	var users []string
	if err := app.DB().NewQuery("SELECT DISTINCT user_id FROM audit_log WHERE action = 'merge'").Column(&users); err != nil || len(users) != 10 {
		t.Errorf("audited users: got %v (%v), want the 10 that succeeded", users, err)
	}
}

func TestFullQueueIsRefusedAtOnce(t *testing.T) {
	t.Parallel()
	s, _ := service(t, Config{QueueJobs: 2})
	release := hold(t, s)
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			if err := s.Do(context.Background(), func(*Batch) error { return nil }); err != nil {
				t.Errorf("queued job: %v", err)
			}
		})
	}
	queued(t, s, 2)
	err := s.Do(context.Background(), func(*Batch) error { return nil })
	if !errors.Is(err, ErrQueueFull) || !errors.Is(err, ErrBusy) {
		t.Errorf("third job: got %v, want ErrQueueFull, a kind of ErrBusy", err)
	}
	release()
	wg.Wait()
}

func TestAbandonedJobNeverRuns(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]Config{"behind another": {}, "first of its commit": {BatchJobs: 1}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, _ := service(t, c)
			release := hold(t, s)
			ctx, cancel := context.WithCancel(context.Background())
			done := make(chan error, 1)
			go func() { done <- s.Do(ctx, func(b *Batch) error { return mark(b, "mark") }) }()
			queued(t, s, 1)
			cancel()
			if err := <-done; !errors.Is(err, context.Canceled) {
				t.Errorf("got %v, want context.Canceled", err)
			}
			release()
			s.Stop()
			if got := marks(t, s); got != 0 {
				t.Errorf("rows of the abandoned job: got %d, want 0", got)
			}
		})
	}
}

func TestStartAndStopInAnyOrder(t *testing.T) {
	t.Parallel()
	s, _ := service(t, Config{})
	ctx, cancel := context.WithCancel(context.Background())
	s.Stop()
	s.Stop()
	if err := s.Do(context.Background(), func(*Batch) error { return nil }); !errors.Is(err, ErrStopped) {
		t.Errorf("stopped: got %v, want ErrStopped", err)
	}
	for range 3 {
		if err := s.Start(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Do(context.Background(), func(b *Batch) error { return mark(b, "mark") }); err != nil {
		t.Errorf("started again: %v", err)
	}
	cancel()
	eventually(t, "the end of the context to stop the service", func() bool {
		return errors.Is(s.Do(context.Background(), func(*Batch) error { return nil }), ErrStopped)
	})
	var b *Batch
	_ = s.Start(context.Background())
	_ = s.Do(context.Background(), func(c *Batch) error { b = c; return nil })
	if _, err := b.Change(ChangeRequest{}); !errors.Is(err, ErrJobOver) {
		t.Errorf("batch after its job: got %v, want ErrJobOver", err)
	}
}

func TestStopFinishesWhatIsQueued(t *testing.T) {
	t.Parallel()
	s, app := service(t, Config{})
	id := session(t, app)
	var mu sync.Mutex
	acknowledged := map[string]bool{}
	var wg sync.WaitGroup
	for w := range 50 {
		wg.Go(func() {
			for {
				res, err := tryChange(s, ChangeRequest{SessionID: id, UserID: fmt.Sprint(w), Changes: []Change{{Op: OpInc, Path: "counts/heads", Value: []byte("1")}}})
				if errors.Is(err, ErrStopped) {
					return
				}
				if err != nil {
					t.Errorf("writer %d: %v", w, err)
					return
				}
				mu.Lock()
				acknowledged[res.Ops[0]] = true
				mu.Unlock()
			}
		})
	}
	eventually(t, "some acknowledgements", func() bool { mu.Lock(); defer mu.Unlock(); return len(acknowledged) > 200 })
	s.Stop()
	wg.Wait()
	r := sound(t, s, id)
	if int(r.Ops) != len(acknowledged) {
		t.Errorf("log holds %d operations, %d were acknowledged", r.Ops, len(acknowledged))
	}
}

// A commit that fails acknowledges nothing and leaves nothing of itself in memory.
func TestFailedCommitForgetsTheDocument(t *testing.T) {
	t.Parallel()
	s, app := service(t, Config{})
	id := session(t, app)
	change(t, s, ChangeRequest{SessionID: id, UserID: "anna", Changes: []Change{set("title", `"kept"`)}})
	exec := func(sql string) {
		t.Helper()
		if _, err := app.DB().NewQuery(sql).Execute(); err != nil {
			t.Fatal(err)
		}
	}
	exec("CREATE TRIGGER no_room BEFORE UPDATE ON test_sessions BEGIN SELECT RAISE(ABORT, 'no room'); END")
	if _, err := tryChange(s, ChangeRequest{SessionID: id, UserID: "ben", Changes: []Change{set("title", `"lost"`)}}); err == nil {
		t.Fatal("a change whose commit failed was acknowledged")
	}
	got, err := s.Conflicts(context.Background(), id)
	if err != nil || len(got) != 0 {
		t.Errorf("conflicts after the failed commit: got %+v (%v), want none", got, err)
	}
	exec("DROP TRIGGER no_room")
	res := change(t, s, ChangeRequest{SessionID: id, UserID: "ben", Changes: []Change{set("title", `"next"`)}})
	if res.ServerSeq != 2 {
		t.Errorf("position: got %d, want 2", res.ServerSeq)
	}
	sound(t, s, id)
}
