package merge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pocketbase/pocketbase/core"
)

// Limits of one commit. PocketBase's own writes wait while it runs.
const (
	queueJobsDefault = 4096
	batchJobsDefault = 256
	batchOpsMax      = 4000
	batchTimeMax     = 25 * time.Millisecond
)

// States of a job. A caller that gives up takes its job back while it is queued; once it
// runs, the caller waits for the outcome, so that its variables are its own again.
const (
	jobQueued int32 = iota
	jobRunning
	jobAbandoned
)

type job struct {
	run   func(*Batch) error
	state atomic.Int32
	err   error      // of the job itself
	done  chan error // buffered: the writer never waits for a caller
}

// writer runs jobs in shared transactions. Batches form while the previous one commits;
// there is no timer.
type writer struct {
	app       core.App
	begin     func(tx core.App) *round
	maintain  func(all bool)
	interval  time.Duration // of maintain
	queueJobs int
	batchJobs int

	mu    sync.RWMutex // guards queue and done; held for reading while sending
	queue chan *job    // nil while stopped
	done  chan struct{}

	commits, jobs atomic.Int64 // for Stats
}

func (w *writer) start() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.queue != nil {
		return
	}
	w.queue, w.done = make(chan *job, w.queueJobs), make(chan struct{})
	go w.loop(w.queue, w.done)
}

// stop refuses new jobs, finishes the queued ones and returns when all are answered.
func (w *writer) stop() {
	w.mu.Lock()
	done := w.done
	if w.queue != nil {
		close(w.queue)
		w.queue = nil
	}
	w.mu.Unlock()
	if done != nil {
		<-done
	}
}

func (w *writer) do(ctx context.Context, run func(*Batch) error) error {
	j := &job{run: run, done: make(chan error, 1)}
	if err := w.push(j); err != nil {
		return err
	}
	select {
	case err := <-j.done:
		return err
	case <-ctx.Done():
		if j.state.CompareAndSwap(jobQueued, jobAbandoned) {
			return ctx.Err()
		}
		return <-j.done
	}
}

func (w *writer) push(j *job) error {
	w.mu.RLock()
	defer w.mu.RUnlock()
	if w.queue == nil {
		return ErrStopped
	}
	select {
	case w.queue <- j:
		return nil
	default:
		return ErrQueueFull
	}
}

// loop runs jobs as they come, and maintains the documents between them and at the end.
func (w *writer) loop(queue chan *job, done chan struct{}) {
	defer close(done)
	tick := time.NewTicker(w.interval)
	defer tick.Stop()
	for {
		select {
		case j, ok := <-queue:
			if !ok {
				w.maintain(true)
				return
			}
			w.commit(j, queue)
		case <-tick.C:
			w.maintain(false)
		}
	}
}

// commit runs first and whatever waits behind it in one transaction and answers them all.
func (w *writer) commit(first *job, queue chan *job) {
	if !first.state.CompareAndSwap(jobQueued, jobRunning) {
		return
	}
	ran := []*job{first}
	var r *round
	outcome := errors.New("merge: the transaction did not complete")
	err := w.app.RunInTransaction(func(tx core.App) (err error) {
		// What RunInTransaction returns also holds the errors of others' callbacks after
		// the commit; whether the data is stored is told here alone.
		tx.TxInfo().OnComplete(func(txErr error) error { outcome = txErr; return nil })
		defer recoverTo(&err, w.app)
		r = w.begin(tx)
		deadline := time.Now().Add(batchTimeMax)
		for j := first; ; {
			if err := r.run(j); err != nil {
				return err
			}
			if len(ran) == w.batchJobs || r.ops >= batchOpsMax || !time.Now().Before(deadline) {
				break
			}
			if j = next(queue); j == nil {
				break
			}
			ran = append(ran, j)
		}
		return r.finish()
	})
	if r == nil && err != nil {
		outcome = err
	}
	if outcome != nil {
		outcome = fmt.Errorf("commit: %w", outcome)
	}
	if r != nil {
		r.settle(outcome == nil)
	}
	if outcome == nil {
		w.commits.Add(1)
		w.jobs.Add(int64(len(ran)))
	}
	for _, j := range ran {
		if j.err == nil {
			j.err = outcome
		}
		j.done <- j.err
	}
}

// next takes a waiting job, or nil when none waits or queue is nil.
func next(queue chan *job) *job {
	for {
		select {
		case j, ok := <-queue:
			if !ok {
				return nil
			}
			if j.state.CompareAndSwap(jobQueued, jobRunning) {
				return j
			}
		default:
			return nil
		}
	}
}

// recoverTo turns a panic into ErrPanic and logs the stack: it may show personal data, and
// the caller cannot act on it.
func recoverTo(err *error, app core.App) {
	if p := recover(); p != nil {
		app.Logger().Error("panic in a merge job", slog.Any("panic", p), slog.String("stack", string(debug.Stack())))
		*err = ErrPanic
	}
}
