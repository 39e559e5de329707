package merge

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/pocketbase/pocketbase/apis"
	"github.com/pocketbase/pocketbase/core"
	"github.com/pocketbase/pocketbase/tools/subscriptions"
)

const (
	// feedRowsMaxBytes bounds the operations inside one message. A larger one is a bare
	// hint, and the client fetches the rows.
	feedRowsMaxBytes = 8 << 10
	// feedClientsChunk is how many clients are looked at under one lock of the broker.
	feedClientsChunk = 300
)

// news is what the feed says next about one session: {"after":3,"n":5,"rows":[…]}. A client
// that stands at another n than after, or finds no rows, fetches what lies between.
type news struct {
	After int64 `json:"after"`
	N     int64 `json:"n"`
	Rows  []Row `json:"rows,omitempty"` // all of after+1..n, or none

	bytes int
}

// add joins the rows of a further commit, which follow at once.
func (m *news) add(rows []Row) {
	for _, row := range rows {
		m.bytes += len(row.Line)
	}
	m.N = rows[len(rows)-1].N
	if m.bytes > feedRowsMaxBytes {
		m.Rows = nil
		return
	}
	m.Rows = append(m.Rows, rows...)
}

// feed tells subscribers about committed operations, in order for each session. It holds
// one bounded message per session that changed, so a slow moment joins messages instead of
// piling them up. The record events run apart: they cost a query per subscriber.
type feed struct {
	app     core.App
	records *recordFeed

	mu      sync.Mutex // guards pending
	pending map[string]*news

	wake chan struct{} // holds one token while pending has news
	quit chan struct{}
	done chan struct{}
}

func newFeed(app core.App, recordInterval time.Duration) *feed {
	return &feed{app: app, records: newRecordFeed(app, recordInterval), pending: map[string]*news{}, wake: make(chan struct{}, 1)}
}

func (f *feed) start() {
	f.quit, f.done = make(chan struct{}), make(chan struct{})
	f.records.start()
	go f.run(f.quit, f.done)
}

// stop sends what is pending and returns.
func (f *feed) stop() {
	close(f.quit)
	<-f.done
	f.records.stop()
}

// publish takes over the rows of one commit, and the sessions whose record it has written.
// It does not wait.
func (f *feed) publish(fresh map[string][]Row, shown map[string]struct{}) {
	f.records.changed(shown)
	if len(fresh) == 0 {
		return
	}
	f.mu.Lock()
	for session, rows := range fresh {
		m := f.pending[session]
		if m == nil {
			m = &news{After: rows[0].N - 1}
			f.pending[session] = m
		}
		m.add(rows)
	}
	f.mu.Unlock()
	signal(f.wake)
}

// signal leaves a token where none lies.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (f *feed) run(quit, done chan struct{}) {
	defer close(done)
	for {
		select {
		case <-f.wake:
			f.step()
		case <-quit:
			f.step()
			return
		}
	}
}

// step sends everything pending.
func (f *feed) step() {
	f.mu.Lock()
	pending := f.pending
	f.pending = map[string]*news{}
	f.mu.Unlock()
	for session, m := range pending {
		f.send(session, m)
	}
}

func (f *feed) send(session string, m *news) {
	topic := Topic(session)
	var data []byte // made for the first subscriber
	for _, chunk := range f.app.SubscriptionsBroker().ChunkedClients(feedClientsChunk) {
		for _, c := range chunk {
			subscribed := c.Subscriptions(topic + "?")
			if len(subscribed) == 0 {
				continue
			}
			auth, _ := c.Get(apis.RealtimeClientAuthKey).(*core.Record)
			if auth == nil {
				continue // signed out, or the account's tokens were revoked meanwhile
			}
			// Asked for each message: a grant may have ended since the subscription.
			info := &core.RequestInfo{Context: core.RequestInfoContextRealtime, Method: http.MethodGet, Auth: auth}
			if !maySee(f.app, info, session) {
				continue
			}
			for name := range subscribed {
				if data == nil {
					var err error
					if data, err = json.Marshal(m); err != nil {
						f.app.Logger().Error("encode feed message", slog.Any("error", err))
						return
					}
				}
				c.Send(subscriptions.Message{Name: name, Data: data})
			}
		}
	}
}
