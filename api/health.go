package api

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"firemode/internal/disk"
	"firemode/merge"
	"firemode/pgsync"

	"github.com/danielgtaylor/huma/v2"
	"github.com/pocketbase/dbx"
	"github.com/pocketbase/pocketbase/apis"
	"github.com/pocketbase/pocketbase/core"
)

const (
	// checkTimeout bounds one readiness check; a writer that is busy longer is
	// not ready.
	checkTimeout = 2 * time.Second
	// readyFor is how long a result is reused, so that guests who ask often
	// cost nothing.
	readyFor = time.Second
	// pollQueue is how often a full queue is looked at.
	pollQueue = 5 * time.Millisecond
)

// A health answer names no host, path or error: it is open to guests.
type healthAnswer struct {
	Status    string            `json:"status"` // ok, degraded or unavailable
	Service   string            `json:"service"`
	Version   string            `json:"version,omitempty"`
	Ready     *bool             `json:"ready,omitempty"`
	Alive     *bool             `json:"alive,omitempty"`
	Checks    map[string]string `json:"checks,omitempty"` // ok, failing, or a state
	Timestamp time.Time         `json:"timestamp"`
}

const serviceName = "firemode"

// readiness runs the checks, at most once per readyFor.
type readiness struct {
	mu     sync.Mutex // guards the fields below, and lets one caller check for all
	at     time.Time
	checks map[string]string
	ok     bool
}

func (s *service) bindHealth(se *core.ServeEvent) {
	routes := map[string]func(*core.RequestEvent) error{
		"/health": func(e *core.RequestEvent) error {
			checks, ok := s.readyNow()
			answer := s.healthAnswer("ok")
			answer.Checks = checks
			switch {
			case !ok:
				answer.Status = "unavailable"
			case checks["mirror"] == "degraded":
				answer.Status = "degraded"
			}
			return e.JSON(http.StatusOK, answer)
		},
		"/health/live": func(e *core.RequestEvent) error {
			answer := s.healthAnswer("ok")
			answer.Alive = new(true)
			return e.JSON(http.StatusOK, answer)
		},
		"/health/ready": func(e *core.RequestEvent) error {
			checks, ok := s.readyNow()
			answer := s.healthAnswer("ok")
			answer.Checks, answer.Ready = checks, &ok
			if !ok {
				answer.Status = "unavailable"
				e.Response.Header().Set("Retry-After", "5")
				return e.JSON(http.StatusServiceUnavailable, answer)
			}
			return e.JSON(http.StatusOK, answer)
		},
	}
	for path, serve := range routes {
		for _, pattern := range []string{path, path + "/{$}"} {
			route := se.Router.GET(pattern, serve)
			// Probes come every few seconds: never limited, never logged.
			route.Bind(apis.SkipSuccessActivityLog())
			route.Unbind(apis.DefaultRateLimitMiddlewareId)
		}
	}
}

func (s *service) healthAnswer(status string) healthAnswer {
	return healthAnswer{Status: status, Service: serviceName, Version: s.Version, Timestamp: s.Now().UTC()}
}

// readyNow says which checks hold and whether all that matter do.
func (s *service) readyNow() (map[string]string, bool) {
	r := &s.ready
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.checks != nil && s.Now().Sub(r.at) < readyFor {
		return r.checks, r.ok
	}
	r.checks, r.ok = map[string]string{}, true
	for name, check := range map[string]func(context.Context) error{
		"database_read": s.checkReaders, "database_write": s.checkWriter, "disk": s.checkDisk,
	} {
		r.checks[name] = "ok"
		ctx, cancel := context.WithTimeout(context.Background(), checkTimeout)
		if err := check(ctx); err != nil {
			r.checks[name], r.ok = "failing", false
			s.app.Logger().Error("not ready", "check", name, "error", err)
		}
		cancel()
	}
	r.checks["mirror"] = s.mirrorState()
	r.at = s.Now()
	return r.checks, r.ok
}

func selectOne(ctx context.Context, db dbx.Builder) error {
	var n int
	return db.NewQuery("SELECT 1").WithContext(ctx).Row(&n)
}

func (s *service) checkReaders(ctx context.Context) error {
	return selectOne(ctx, s.app.ConcurrentDB())
}

// checkWriter waits its turn in the writers' queue and for the one writer
// connection, so it fails when either is stuck. A transaction that changes
// nothing costs no write to disk. A queue that is long and moves is busy, not
// stuck: who writes then is told to wait, and taking the only server out of
// service would make it worse.
func (s *service) checkWriter(ctx context.Context) error {
	before := s.Merge.Stats().Commits
	err := s.Merge.Do(ctx, func(b *merge.Batch) error { return selectOne(ctx, b.App().NonconcurrentDB()) })
	if errors.Is(err, merge.ErrQueueFull) {
		moves := time.NewTicker(pollQueue)
		defer moves.Stop()
		for s.Merge.Stats().Commits == before && ctx.Err() == nil {
			select {
			case <-moves.C:
			case <-ctx.Done():
			}
		}
	}
	if err != nil && s.Merge.Stats().Commits > before {
		return nil
	}
	return err
}

var errDiskLow = errors.New("free space is below the floor")

func (s *service) checkDisk(context.Context) error {
	free, err := disk.Free(s.app.DataDir())
	if err == nil && free < s.DiskFloorBytes {
		err = errDiskLow
	}
	return err
}

// mirrorState is off, ok or degraded. The mirror can be lost and rebuilt, so it
// never makes the service unready.
func (s *service) mirrorState() string {
	switch status := s.MirrorStatus(); {
	case status.State == pgsync.StateOff:
		return "off"
	case status.Ready():
		return "ok"
	}
	return "degraded"
}

func (s *service) bindOperations(api huma.API) {
	register(api, huma.Operation{
		OperationID: "get-mirror-status", Method: http.MethodGet, Path: "/v1/mirror/status", Tags: []string{"operations"},
		Summary: "Get the state of the PostgreSQL mirror", Description: "For officers and managers.",
	}, func(c *call, _ *struct{}) (*one[pgsync.Status], error) {
		if !c.isStaff() {
			return nil, forbidden()
		}
		return &one[pgsync.Status]{Body: c.MirrorStatus()}, nil
	})
}
