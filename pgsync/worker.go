package pgsync

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/pocketbase/pocketbase/core"
	"github.com/pocketbase/pocketbase/tools/hook"
)

const (
	// pollMax is how long a commit of another process may go unnoticed when nothing else happens, and pollGrowth the
	// percentage by which the pause grows to it from Config.Poll: after about a second.
	pollMax    = 500 * time.Millisecond
	pollGrowth = 125
	// observeEvery is how often the log is looked at, and a cut recorded, while PostgreSQL is away.
	observeEvery = time.Second
	// stopGrace is what the end of the log gets to arrive when the worker is stopped.
	stopGrace = 2 * time.Second
)

// Worker carries the log to PostgreSQL. One goroutine does all of it; nothing it meets stops or slows a write of the
// application. Its methods are safe for many goroutines.
type Worker struct {
	app core.App
	cfg Config
	identity
	nudge chan struct{}

	mu      sync.Mutex // guards everything below
	cancel  context.CancelFunc
	done    chan struct{}
	stopped bool
	status  Status
	moved   chan struct{} // closed and replaced whenever the position moves

	progressAt time.Time // when the position moved last, at first the start

	// The rest belongs to the worker's goroutine.
	src        *source
	ses        *session
	wasFenced  bool  // taken over once: from then on only a lapsed lease is claimed
	failures   int   // in a row
	applied    int64 // log entries
	batches    int64 // transactions that carried them
	batchTime  time.Duration
	lastLogged time.Time
	unlogged   int
	retryAt    time.Time
	pruneAt    time.Time
	cutSeq     int64
	pause      time.Duration // between two looks while idle
	worked     bool          // since the last pause
	trimAt     time.Time
	trimmedSeq int64     // images through here are dropped
	opened     string    // place of data.db when it was opened
	fileSeenAt time.Time // when data.db was last found to be the file that was opened
	rolling    rolling
}

// New checks the configuration; it neither connects nor starts anything. DSN errors never show the password.
func New(app core.App, cfg Config) (*Worker, error) {
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("mirror configuration: %w", err)
	}
	return &Worker{
		app: app, cfg: cfg.withDefaults(), nudge: make(chan struct{}, 1), moved: make(chan struct{}),
		status: Status{State: StateStopped, Configured: true},
	}, nil
}

// Start begins to mirror and returns at once; PostgreSQL need not be up. The app MUST be bootstrapped and armed.
// A second Start does nothing; after Stop it is an error. Cancelling ctx ends the worker like Stop.
func (w *Worker) Start(ctx context.Context) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stopped {
		return errors.New("start mirror: already stopped")
	}
	if w.done != nil {
		return nil
	}
	if err := w.prepare(ctx); err != nil {
		return fmt.Errorf("start mirror: %w", err)
	}
	w.status.Position, w.progressAt = w.src.ackedHint(ctx), time.Now()
	ctx, w.cancel = context.WithCancel(ctx)
	w.done = make(chan struct{})
	go w.run(ctx)
	return nil
}

func (w *Worker) prepare(ctx context.Context) (err error) {
	if w.identity, err = identify(w.app.DataDir()); err != nil {
		return err
	}
	w.opened, w.pause = w.place, w.cfg.Poll
	w.bindNudge()
	w.src, err = openSource(ctx, w.app)
	return err
}

// Stop ends the worker and waits until it has. While PostgreSQL answers, what was committed before is carried for up to
// two seconds; what is not mirrored then stays in the log. It may be called again, and before Start.
func (w *Worker) Stop() {
	w.mu.Lock()
	w.stopped = true
	done, cancel := w.done, w.cancel
	w.mu.Unlock()
	if done != nil {
		cancel()
		<-done
	}
}

// Nudge wakes the worker after a commit. It never blocks, and nothing depends on it but the delay of one poll.
func (w *Worker) Nudge() {
	select {
	case w.nudge <- struct{}{}:
	default:
	}
}

// bindNudge wakes the worker after each record that this process has saved. Other processes are noticed by looking.
func (w *Worker) bindNudge() {
	for _, after := range []*hook.TaggedHook[*core.ModelEvent]{
		w.app.OnModelAfterCreateSuccess(), w.app.OnModelAfterUpdateSuccess(), w.app.OnModelAfterDeleteSuccess(),
	} {
		after.Bind(&hook.Handler[*core.ModelEvent]{Id: "firemode.pgsync.nudge", Func: func(e *core.ModelEvent) error {
			w.Nudge()
			return e.Next()
		}})
	}
}

// WaitMirrored returns when the log through seq is in PostgreSQL, or with the context's error.
func (w *Worker) WaitMirrored(ctx context.Context, seq int64) error {
	for {
		w.mu.Lock()
		position, moved := w.status.Position, w.moved
		w.mu.Unlock()
		if position >= seq {
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (w *Worker) run(ctx context.Context) {
	defer close(w.done)
	defer w.src.close()
	defer func() {
		if w.ses != nil {
			w.ses.resign(ctx)
			w.disconnect(ctx)
		}
		w.saveHint(ctx)
		w.setState(StateStopped, nil)
	}()
	w.setState(StateConnecting, nil)
	work, abort := context.WithCancel(context.WithoutCancel(ctx))
	defer abort()
	defer context.AfterFunc(ctx, func() {
		if state := w.Status().State; state != StateLive && state != StateResync {
			abort() // an attempt to connect has nothing to finish
			return
		}
		time.AfterFunc(stopGrace, abort)
	})()
	for ctx.Err() == nil {
		more, err := w.step(work)
		if err == nil {
			w.recovered()
			if !more {
				w.idle(ctx)
			}
			continue
		}
		w.away(ctx, w.failed(ctx, err))
	}
	for more := true; more && w.ses != nil && work.Err() == nil; {
		var err error
		if more, err = w.step(work); err != nil {
			return
		}
	}
}

// step does one bounded piece of work and never waits for time to pass. more says that there is work left.
func (w *Worker) step(ctx context.Context) (more bool, err error) {
	if err := w.checkFile(); err != nil {
		return false, err
	}
	if w.ses == nil {
		ses, err := openSession(ctx, w.cfg, w.src, w.identity, !w.wasFenced, false)
		if err != nil {
			return false, err
		}
		w.ses, w.retryAt = ses, time.Time{}
		w.setState(w.liveState(), nil)
		return true, nil
	}
	h, err := w.src.head(ctx, w.ses.pos.Seq)
	if err != nil {
		return false, err
	}
	if err := checkFork(w.ses.pos, h); err != nil {
		return false, err
	}
	w.observe(h)
	worked := h.last > w.ses.pos.Seq
	if worked {
		from := w.ses.pos.Seq
		cut, err := w.src.cut(ctx, from, h.last)
		began := time.Now()
		if err == nil {
			err = w.ses.apply(ctx, w.src, cut)
		}
		if err != nil {
			return false, err
		}
		w.applied, w.batches, w.batchTime = w.applied+cut-from, w.batches+1, w.batchTime+time.Since(began)
		w.observe(h) // whoever waits for the position need not wait for the next look at the log
		if w.ses.orphans > 0 && w.retryAt.After(time.Now().Add(time.Second)) {
			w.retryAt = time.Now().Add(time.Second) // what just arrived may be what a quarantined row waited for
		}
	}
	if coll := w.ses.reg.nextResync(); coll != "" {
		worked = true
		if err := w.ses.reconcile(ctx, w.src, coll); err != nil {
			return false, err
		}
		if w.ses.reg.nextResync() == "" {
			w.retryAt = time.Time{}
		}
	}
	if !worked {
		if worked, err = w.upkeep(ctx); err != nil {
			return false, err
		}
	}
	if worked {
		w.observe(h)
		w.worked = true
	}
	w.setState(w.liveState(), nil)
	return worked, nil
}

// upkeep is what is done while the log is empty: keys, quarantine, lease, partitions, pruning, the size of the log. At most
// one of them per step.
func (w *Worker) upkeep(ctx context.Context) (worked bool, err error) {
	now := time.Now()
	switch {
	case w.ses.guardsDue:
		w.retryAt = time.Time{} // what is in quarantine may be of another shape than its table, or have no image yet
		return true, w.ses.attach(ctx)
	case w.ses.reportsDue && !now.Before(w.ses.reportsAt):
		problem, err := w.ses.report(ctx)
		if problem != nil {
			w.app.Logger().Warn("reports in PostgreSQL are not as they should be", "reason", publicText(problem))
		}
		return true, err
	case w.ses.quarantined > 0 && (w.ses.unread > 0 || !now.Before(w.retryAt)):
		w.retryAt = now.Add(w.cfg.RetryQuarantine)
		return true, w.ses.retryQuarantine(ctx, w.src)
	case now.Sub(w.ses.renewed) > w.cfg.Lease/3:
		return false, w.ses.renew(ctx)
	case !now.Before(w.ses.partitionsAt):
		return false, w.ses.partition(ctx, now)
	case !now.Before(w.pruneAt):
		w.pruneAt = now.Add(pruneEvery)
		return false, w.prune(ctx)
	}
	if err := w.trim(ctx); err != nil {
		return false, err
	}
	return w.roll(ctx, now)
}

func (w *Worker) liveState() State {
	if w.ses.reg.nextResync() != "" {
		return StateResync
	}
	return StateLive
}

func (w *Worker) disconnect(ctx context.Context) {
	if w.ses != nil {
		w.ses.close(ctx)
		w.ses = nil
	}
}

// idle waits for a commit, a nudge or the next upkeep. The longer nothing happens, the less often it looks: waking up costs
// a machine more than the look does.
func (w *Worker) idle(ctx context.Context) {
	if w.worked {
		w.pause, w.worked = w.cfg.Poll, false
	}
	poll := time.NewTimer(w.pause)
	defer poll.Stop()
	upkeep := time.NewTimer(w.cfg.Lease / 3)
	defer upkeep.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.nudge:
			return
		case <-upkeep.C:
			return
		case <-poll.C:
			if w.src.changed() || (w.ses.quarantined > 0 && !time.Now().Before(w.retryAt)) {
				return
			}
			w.pause = min(w.pause*pollGrowth/100, max(pollMax, w.cfg.Poll))
			poll.Reset(w.pause)
		}
	}
}

// away waits while PostgreSQL cannot be used, and keeps the log fit for catching up.
func (w *Worker) away(ctx context.Context, wait time.Duration) {
	end := time.NewTimer(wait)
	defer end.Stop()
	look := time.NewTicker(observeEvery)
	defer look.Stop()
	for {
		h, err := w.src.head(ctx, w.lastPosition())
		if err == nil {
			w.observe(h)
		}
		select {
		case <-ctx.Done():
			return
		case <-end.C:
			return
		case <-look.C:
			if err == nil {
				w.recordCut(ctx, h.last)
				_ = w.trim(ctx) // tried again in a second
			}
		}
	}
}
