package merge

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"maps"
	"sync"
	"time"

	"firemode/collections"

	"github.com/pocketbase/pocketbase/core"
)

const recordIntervalDefault = 300 * time.Millisecond

// recordFeed raises PocketBase's own update event for sessions whose document changed, so
// that subscribers of the record (any PocketBase SDK) see it. Rounds are at least interval
// apart: a session that changes hundreds of times a second costs a few events.
type recordFeed struct {
	app      core.App
	interval time.Duration

	mu    sync.Mutex // guards dirty
	dirty map[string]struct{}

	wake chan struct{}
	quit chan struct{}
	done chan struct{}
}

func newRecordFeed(app core.App, interval time.Duration) *recordFeed {
	return &recordFeed{app: app, interval: interval, dirty: map[string]struct{}{}, wake: make(chan struct{}, 1)}
}

func (f *recordFeed) start() {
	f.quit, f.done = make(chan struct{}), make(chan struct{})
	go f.run(f.quit, f.done)
}

func (f *recordFeed) stop() {
	close(f.quit)
	<-f.done
}

func (f *recordFeed) changed(sessions map[string]struct{}) {
	if len(sessions) == 0 {
		return
	}
	f.mu.Lock()
	maps.Copy(f.dirty, sessions)
	f.mu.Unlock()
	signal(f.wake)
}

func (f *recordFeed) run(quit, done chan struct{}) {
	defer close(done)
	pause := time.NewTimer(0)
	defer pause.Stop()
	for {
		select {
		case <-pause.C:
		case <-quit:
			f.step()
			return
		}
		select {
		case <-f.wake:
			f.step()
			pause.Reset(f.interval)
		case <-quit:
			f.step()
			return
		}
	}
}

// step raises the event for every session that changed since the last one.
func (f *recordFeed) step() {
	f.mu.Lock()
	dirty := f.dirty
	f.dirty = map[string]struct{}{}
	f.mu.Unlock()
	if len(dirty) == 0 || !f.listened() {
		return
	}
	for session := range dirty {
		if err := f.raise(session); err != nil && !errors.Is(err, sql.ErrNoRows) {
			f.app.Logger().Warn("broadcast session update", slog.String("session", session), slog.Any("error", err))
		}
	}
}

// listened reports whether any client subscribes to session records: reading a large record
// for nobody is waste.
func (f *recordFeed) listened() bool {
	c, err := f.app.FindCachedCollectionByNameOrId(collections.TestSessions)
	if err != nil {
		return false
	}
	for _, chunk := range f.app.SubscriptionsBroker().ChunkedClients(feedClientsChunk) {
		for _, client := range chunk {
			if len(client.Subscriptions(c.Name+"/", c.Name+"?", c.Id+"/", c.Id+"?")) > 0 {
				return true
			}
		}
	}
	return false
}

// raise does what PocketBase does after a save: its realtime handler checks each
// subscriber's rule and sends the record.
func (f *recordFeed) raise(session string) (err error) {
	defer recoverTo(&err, f.app)
	record, err := f.app.FindRecordById(collections.TestSessions, session)
	if err != nil {
		return err
	}
	event := new(core.ModelEvent)
	event.App, event.Context = f.app, context.Background()
	event.Type, event.Model = core.ModelEventTypeUpdate, record
	return f.app.OnModelAfterUpdateSuccess().Trigger(event)
}
