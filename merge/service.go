package merge

import (
	"context"
	"sync"
	"time"

	"firemode/crdt"

	"github.com/pocketbase/pocketbase/core"
)

// Config of a Service. The zero value of each field means its default.
type Config struct {
	Now       func() time.Time // default time.Now
	QueueJobs int              // jobs that may wait; default 4,096
	BatchJobs int              // jobs in one commit; default 256
	CacheDocs int              // documents kept in memory; default 256
	CacheOps  int              // operations of all documents in memory; default 500,000
	// RecordInterval is the least time between two update events of one session's record.
	// Default 300 ms.
	RecordInterval time.Duration
	SnapshotOps    int // operations from one snapshot of a document to the next; default 2,000
}

func (c *Config) defaults() {
	set := func(n *int, d int) {
		if *n <= 0 {
			*n = d
		}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	set(&c.QueueJobs, queueJobsDefault)
	set(&c.BatchJobs, batchJobsDefault)
	set(&c.CacheDocs, cacheDocsDefault)
	set(&c.CacheOps, cacheOpsDefault)
	set(&c.SnapshotOps, snapEveryOps)
	if c.RecordInterval <= 0 {
		c.RecordInterval = recordIntervalDefault
	}
}

// A Service writes and reads documents. Its methods are safe for many goroutines.
type Service struct {
	app    core.App
	config Config
	schema *crdt.Schema
	clock  *crdt.Clock
	cache  *cache
	writer *writer
	feed   *feed
	loads  chan struct{} // a token per reader that reads a whole log

	showInlineMax int
	showInterval  time.Duration
	snapEveryOps  int64
	docOpsMax     int
	docActorsMax  int
	// The writer's own:
	behind map[string]struct{} // sessions whose record was put off
	toSnap map[string]struct{} // sessions that want a snapshot
	// unlisted are sessions whose conflicts are to be listed for the first time.
	unlisted []string

	mu      sync.Mutex // guards running, detach and epoch
	epoch   string
	running bool
	detach  func() bool // stops watching the context of Start
}

// New returns a service on app, which MUST be the outermost app, not a transaction. It
// writes only after Start; reading needs no Start.
func New(app core.App, c Config) *Service {
	c.defaults()
	s := &Service{
		app: app, config: c, schema: crdt.MustTestSession(),
		clock: &crdt.Clock{Now: c.Now},
		cache: newCache(c.CacheDocs, c.CacheOps),
		feed:  newFeed(app, c.RecordInterval),
		loads: make(chan struct{}, loadsMax),
	}
	s.showInlineMax, s.showInterval, s.snapEveryOps = showInlineMax, showInterval, int64(c.SnapshotOps)
	s.docOpsMax, s.docActorsMax = docOpsMax, docActorsMax
	s.toSnap = map[string]struct{}{}
	s.writer = &writer{app: app, begin: s.newRound, maintain: s.maintain, queueJobs: c.QueueJobs, batchJobs: c.BatchJobs}
	return s
}

// Start begins to accept jobs and returns at once. The end of ctx has the effect of Stop.
// A second Start does nothing; after Stop the service may be started again.
func (s *Service) Start(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running {
		return nil
	}
	if err := s.findBehind(ctx); err != nil {
		return err
	}
	if err := s.findUnlisted(ctx); err != nil {
		return err
	}
	epoch, err := openEpoch(ctx, s.app)
	if err != nil {
		return err
	}
	s.epoch = epoch
	s.running = true
	s.writer.interval = s.showInterval
	s.feed.start()
	s.writer.start()
	s.detach = context.AfterFunc(ctx, s.Stop)
	return nil
}

// Stop refuses new jobs with ErrStopped, finishes and answers everything queued, sends what
// the feed still holds and returns. The database MUST stay open until then. A second Stop
// does nothing.
func (s *Service) Stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.running {
		return
	}
	s.detach()
	s.writer.stop()
	s.feed.stop()
	s.running = false
}

// Do runs fn in a transaction that it shares with other jobs and returns after the commit:
// nil means that everything fn wrote is on disk. fn's own error takes back what fn wrote
// and comes back as it is; other jobs do not notice. Further errors: ErrBusy (a kind of it:
// nothing was done), ErrPanic, the context's error when fn was not begun before ctx ended.
// Once fn runs, Do waits for the outcome whatever ctx says.
//
// fn runs on the writer's goroutine. It MUST write through b alone, by SQL rather than by
// Save (PocketBase would run the hooks after the commit even for a job taken back), and
// MUST NOT wait for anything else, such as the network or another Do.
func (s *Service) Do(ctx context.Context, fn func(b *Batch) error) error {
	return s.writer.do(ctx, fn)
}
