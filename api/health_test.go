package api

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"firemode/internal/testapp"
	"firemode/merge"
)

// A queue that is full and moves is no reason to take the server out of service; one that
// stands still is.
func TestReadyWhileBusy(t *testing.T) {
	t.Parallel()
	app := testapp.New(t, merge.Register)
	s := &service{Deps: Deps{Merge: merge.New(app, merge.Config{QueueJobs: 1})}, app: app}
	if err := s.Merge.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Merge.Stop)
	nothing := func(*merge.Batch) error { return nil }

	ctx, stop := context.WithCancel(t.Context())
	var full atomic.Int64
	var flood sync.WaitGroup
	for range 8 {
		flood.Go(func() {
			for ctx.Err() == nil {
				if err := s.Merge.Do(ctx, nothing); errors.Is(err, merge.ErrQueueFull) {
					full.Add(1)
				}
			}
		})
	}
	for i := range 50 {
		if err := s.checkWriter(t.Context()); err != nil {
			t.Errorf("check %d in a flood: %v", i, err)
		}
	}
	stop()
	flood.Wait()
	if full.Load() == 0 {
		t.Error("the queue was never full")
	}

	running, release := make(chan struct{}), make(chan struct{})
	var stuck sync.WaitGroup
	stuck.Go(func() {
		job := func(*merge.Batch) error {
			close(running)
			<-release
			return nil
		}
		for errors.Is(s.Merge.Do(t.Context(), job), merge.ErrQueueFull) { // what is left of the flood
		}
	})
	<-running
	for name, queue := range map[string]func(){
		"with room": func() {},
		"full":      func() { stuck.Go(func() { _ = s.Merge.Do(t.Context(), nothing) }) },
	} {
		queue()
		short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		if err := s.checkWriter(short); err == nil {
			t.Errorf("a writer that stands still, queue %s: ready", name)
		}
		cancel()
	}
	close(release)
	stuck.Wait()
	if err := s.checkWriter(t.Context()); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}
