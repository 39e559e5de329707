package pgsync

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/pocketbase/pocketbase/core"
)

// State of a worker. The moves are:
//
//	stopped -> connecting -> live | resync | standby | held -> connecting ... -> stopped
type State string

const (
	StateOff        State = "off"        // no PostgreSQL is configured
	StateConnecting State = "connecting" // no connection; retried with backoff
	StateStandby    State = "standby"    // another node holds the lease
	StateResync     State = "resync"     // tables are being compared row by row
	StateLive       State = "live"
	StateHeld       State = "held" // needs an operator: fork, gap, permission, drift
	StateStopped    State = "stopped"
)

// States are all states.
var States = []State{StateOff, StateConnecting, StateStandby, StateResync, StateLive, StateHeld, StateStopped}

// Status is what there is to say about the mirror. It holds no secret and no value of any row.
type Status struct {
	State          State   `json:"state"`
	Configured     bool    `json:"configured"`
	Epoch          int64   `json:"epoch"`
	Position       int64   `json:"position"` // last log entry in PostgreSQL
	LogEnd         int64   `json:"log_end"`  // last log entry in SQLite
	BacklogEntries int64   `json:"backlog_entries"`
	LagSeconds     float64 `json:"lag_seconds"` // age of the oldest entry that is not mirrored; 0 without backlog
	QuarantineRows int64   `json:"quarantine_rows"`
	ResyncTables   int     `json:"resync_tables"`   // tables that are not complete yet
	Stalled        bool    `json:"stalled"`         // a backlog, and no progress for a minute
	AppliedEntries int64   `json:"applied_entries"` // by this worker since its start
	Batches        int64   `json:"batches"`         // PostgreSQL transactions that carried them
	BatchSeconds   float64 `json:"batch_seconds"`   // time they took
	Failures       int64   `json:"failures"`        // interruptions since the start of this worker
	// FailuresBy counts the interruptions by kind: transient, fenced, drift, permission, data, unknown, or the reason of a hold.
	FailuresBy  map[string]int64 `json:"failures_by,omitempty"`
	LogBytes    int64            `json:"log_bytes"`     // of the log in SQLite, about; 0 before the first look
	LogBytesMax int64            `json:"log_bytes_max"` // above it, the oldest images are dropped
	LastError   string           `json:"last_error,omitempty"`
	NextStep    string           `json:"next_step,omitempty"` // what an operator does about it
	LastApplied time.Time        `json:"last_applied,omitzero"`
	CheckedAt   time.Time        `json:"checked_at"`
	// LastComparison is the newest that is done. Only ReadStatus knows it.
	LastComparison *Comparison `json:"last_comparison,omitempty"`
}

// errNoMirror says that no worker has been here yet.
var errNoMirror = errors.New("PostgreSQL holds no mirror of this database yet")

// stalledAfter without progress is an alarm of its own: a mirror can stand still without any error.
const stalledAfter = time.Minute

// Ready is true when the mirror may be relied on, or is not wanted at all. It is for dashboards and details; FireMode
// serves requests whatever the mirror does.
func (s Status) Ready() bool {
	return s.State == StateOff || (s.State == StateLive && !s.Stalled && s.QuarantineRows == 0)
}

// Status returns the state as of the worker's last look, at most about a second old. A nil worker is off.
func (w *Worker) Status() Status {
	if w == nil {
		return Status{State: StateOff, CheckedAt: time.Now()}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	st := w.status
	st.FailuresBy = maps.Clone(st.FailuresBy)
	return st
}

func (w *Worker) setState(state State, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.status.State, w.status.CheckedAt = state, time.Now()
	if err != nil || state == StateLive {
		w.status.LastError, w.status.NextStep = publicText(err), nextStep(err)
	}
}

func (w *Worker) lastPosition() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.status.Position
}

// observe writes down how far the log and the mirror are.
func (w *Worker) observe(h head) {
	now := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	st := &w.status
	if w.ses != nil {
		if st.Position != w.ses.pos.Seq {
			w.progressAt, st.LastApplied = now, now
			close(w.moved)
			w.moved = make(chan struct{})
		}
		st.AppliedEntries, st.Batches, st.BatchSeconds = w.applied, w.batches, w.batchTime.Seconds()
		st.Epoch, st.Position, st.QuarantineRows, st.ResyncTables = w.ses.pos.Epoch, w.ses.pos.Seq, w.ses.quarantined, 0
		for _, t := range w.ses.reg {
			if t.resync != nil {
				st.ResyncTables++
			}
		}
	}
	st.measure(h, now)
	st.Stalled = st.BacklogEntries > 0 && now.Sub(w.progressAt) > stalledAfter
}

func (st *Status) measure(h head, now time.Time) {
	st.LogEnd, st.CheckedAt = h.last, now
	st.BacklogEntries = max(0, h.last-st.Position)
	st.LagSeconds = 0
	if st.BacklogEntries > 0 && h.oldestAt > 0 {
		st.LagSeconds = max(0, now.Sub(time.UnixMilli(h.oldestAt)).Seconds())
	}
}

// ReadStatus looks at both databases without a worker, for the command line. An empty dsn answers StateOff. A mirror
// that cannot be reached is no error: it shows in State and LastError.
func ReadStatus(ctx context.Context, app core.App, dsn string) (Status, error) {
	st := Status{State: StateOff, CheckedAt: time.Now()}
	if dsn == "" {
		return st, nil
	}
	cfg := Config{DSN: dsn}.withDefaults()
	if err := cfg.validate(); err != nil {
		return st, err
	}
	st.State, st.Configured = StateConnecting, true
	src, err := openSource(ctx, app)
	if err != nil {
		return st, err
	}
	defer src.close()
	sourceID, err := src.id(ctx)
	if err != nil {
		return st, err
	}
	pos, err := st.readPosition(ctx, cfg, sourceID)
	if err != nil {
		st.LastError, st.NextStep = publicText(err), nextStep(err)
	}
	h, errHead := src.head(ctx, pos.Seq)
	if errHead != nil {
		return st, errHead
	}
	st.measure(h, time.Now())
	if err == nil {
		if fork := checkFork(pos, h); fork != nil {
			st.State, st.LastError, st.NextStep = StateHeld, fork.Error(), nextStep(fork)
		}
	}
	return st, nil
}

func (st *Status) readPosition(ctx context.Context, cfg Config, sourceID string) (pos Pos, err error) {
	ctx, cancel := context.WithTimeout(ctx, cfg.Timeout)
	defer cancel()
	conn, err := dial(ctx, cfg)
	if err != nil {
		return pos, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if sourceID == "" {
		return pos, errUnarmed
	}
	var origin int16
	var node *string
	var held bool
	found, err := queryOne(ctx, conn, sqlPosition, []any{sourceID}, &origin, &pos.Epoch, &pos.Seq, &pos.Nonce, &node, &held,
		&st.QuarantineRows, &st.ResyncTables, &st.LastApplied)
	switch {
	case classify(err) == classDrift:
		return pos, errNoMirror
	case err != nil:
		return pos, fmt.Errorf("read position: %w", err)
	case !found:
		return pos, errNoMirror
	}
	st.Epoch, st.Position = pos.Epoch, pos.Seq
	list, err := comparisons(ctx, conn, sourceID)
	if err != nil {
		return pos, fmt.Errorf("read comparisons: %w", err)
	}
	if at := slices.IndexFunc(list, func(c Comparison) bool { return c.Open == 0 }); at >= 0 {
		st.LastComparison = &list[at]
	}
	switch {
	case !held:
		st.State = StateStopped
	case st.ResyncTables > 0:
		st.State = StateResync
	default:
		st.State = StateLive
	}
	return pos, nil
}
