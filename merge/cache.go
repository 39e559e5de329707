package merge

import (
	"container/list"
	"sync"
	"time"

	"firemode/crdt"
)

// Bounds of the cache. An operation held costs some 250 bytes.
const (
	cacheDocsDefault = 256
	cacheOpsDefault  = 500_000
)

// head is the end of one actor's history in one document.
type head struct {
	actor int64 // row of crdt_actors
	seq   uint64
	chain [32]byte
}

// document is one document in memory: the state reached by the log up to n. The writer
// holds mu from its first touch to the end of the transaction, so readers see committed
// states only.
type document struct {
	session string

	mu    sync.RWMutex // guards what follows
	id    int64        // row of crdt_docs; 0 before the first operation
	n     int64
	state *crdt.Doc
	heads map[string]*head
	dead  bool // holds what was not committed; look it up again

	snapped int64 // position of the newest snapshot
	// open is the values of each field that the list of conflicts has open; nil until asked
	// for. The writer's own.
	open map[string]int
	// erased is what erasedActs returned last; nil until asked for. The writer's own.
	erased erasedActs

	// Of the session's record, all zero until it was first written from this copy.
	shown    int64 // position it shows
	shownAt  time.Time
	showCost time.Duration // of the last writing
	size     int           // bytes written
}

// hold locks d for writing if it stands exactly at n.
func (d *document) hold(n int64) bool {
	d.mu.Lock()
	if d.dead || d.n != n {
		d.mu.Unlock()
		return false
	}
	return true
}

// release ends hold.
func (d *document) release(dead bool) {
	d.dead = d.dead || dead
	d.mu.Unlock()
}

// read runs fn if d stands at n or later.
func (d *document) read(n int64, fn func()) bool {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if d.dead || d.n < n {
		return false
	}
	fn()
	return true
}

// cache keeps the documents used last. What it holds is always a state the log has been in,
// so dropping or doubling a document is never wrong, only slow.
type cache struct {
	docsMax, opsMax int

	mu    sync.Mutex // guards what follows
	order *list.List // of *cached, used last first
	byID  map[string]*list.Element
	ops   int
}

type cached struct {
	d   *document
	ops int
}

func newCache(docsMax, opsMax int) *cache {
	return &cache{docsMax: docsMax, opsMax: opsMax, order: list.New(), byID: map[string]*list.Element{}}
}

func (c *cache) get(session string) *document {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.byID[session]
	if e == nil {
		return nil
	}
	c.order.MoveToFront(e)
	return e.Value.(*cached).d
}

// put keeps d in the place of another copy. The caller holds d's lock or is alone with it.
func (c *cache) put(d *document) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.byID[d.session]; e != nil {
		c.remove(e)
	}
	kept := &cached{d: d, ops: d.state.Ops()}
	c.byID[d.session] = c.order.PushFront(kept)
	c.ops += kept.ops
	for c.order.Len() > c.docsMax || c.ops > c.opsMax && c.order.Len() > 1 {
		c.remove(c.order.Back())
	}
}

// offer keeps d unless a copy is kept already.
func (c *cache) offer(d *document) {
	c.mu.Lock()
	_, kept := c.byID[d.session]
	c.mu.Unlock()
	if !kept {
		c.put(d)
	}
}

// drop forgets d, if it is the copy kept.
func (c *cache) drop(d *document) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.byID[d.session]; e != nil && e.Value.(*cached).d == d {
		c.remove(e)
	}
}

func (c *cache) remove(e *list.Element) {
	kept := c.order.Remove(e).(*cached)
	delete(c.byID, kept.d.session)
	c.ops -= kept.ops
}
