package pgsync

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"
)

// logEvery limits the log to one line a minute per lasting trouble.
const logEvery = time.Minute

// failed decides what an error means, drops the connection and returns how long to stay away.
func (w *Worker) failed(ctx context.Context, err error) time.Duration {
	if ctx.Err() != nil {
		w.disconnect(ctx)
		return 0
	}
	w.disconnect(ctx)
	w.failures++
	state, wait := StateConnecting, w.backoff()
	kind := classify(err)
	var hold *holdError
	w.countFailure(err)
	switch {
	case errors.Is(err, errStandby):
		state, wait = StateStandby, w.cfg.Lease/3
	case kind == classFenced:
		// Whoever holds the lease now keeps it; coming back at once would only take it from each other in turn.
		w.wasFenced, state, wait = true, StateStandby, w.cfg.Lease/3
	case errors.As(err, &hold):
		state, wait = StateHeld, w.cfg.HoldRetry
	case kind == classDrift && w.failures > 1, kind == classPermission, kind == classUnknown, kind == classData:
		state, wait = StateHeld, w.cfg.HoldRetry
	}
	w.setState(state, err)
	w.report(err, state)
	return wait
}

func (w *Worker) countFailure(err error) {
	name := string(classify(err))
	var hold *holdError
	switch {
	case errors.Is(err, errStandby):
		name = string(StateStandby)
	case errors.As(err, &hold):
		name = hold.reason
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.status.Failures++
	if w.status.FailuresBy == nil {
		w.status.FailuresBy = map[string]int64{}
	}
	w.status.FailuresBy[name]++
}

// backoff doubles with full jitter, so that many nodes do not return together.
func (w *Worker) backoff() time.Duration {
	limit := w.cfg.BackoffMax
	if w.failures < 20 {
		limit = min(limit, backoffFirst<<w.failures)
	}
	return time.Duration(rand.Int64N(int64(limit) + 1))
}

// report logs the first failure, then at most one line a minute.
func (w *Worker) report(err error, state State) {
	if w.failures > 1 && time.Since(w.lastLogged) < logEvery {
		w.unlogged++
		return
	}
	w.app.Logger().Warn("PostgreSQL mirror is interrupted", "state", string(state), "reason", publicText(err),
		"failures", w.failures, "unlogged", w.unlogged)
	w.lastLogged, w.unlogged = time.Now(), 0
}

func (w *Worker) recovered() {
	if w.failures > 0 {
		w.app.Logger().Info("PostgreSQL mirror works again", "failures", w.failures)
		w.failures, w.unlogged = 0, 0
	}
}
