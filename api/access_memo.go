package api

import (
	"sync"
	"time"

	"firemode/collections"

	"github.com/pocketbase/pocketbase/core"
	"github.com/pocketbase/pocketbase/tools/hook"
)

const (
	// accessMemory is how long "may add to this session" is remembered: what
	// another process changes, or a grant that runs out, takes effect at most
	// this much later. What this process changes takes effect at once.
	accessMemory = time.Second
	// accessesMax bounds the memory to some 10,000 people at work in a second.
	accessesMax = 10_000
)

// accessMemo remembers for a second that somebody may add to a test session.
// Asking the rules costs a third of a request that records results, because
// PocketBase writes a new statement for each question. Refusals are not
// remembered.
type accessMemo struct {
	mu    sync.Mutex // guards the fields below
	until map[string]time.Time
	age   uint64 // grows with every forget, so that an answer from before it is not kept
}

func (m *accessMemo) holds(key string, now time.Time) (ok bool, age uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return now.Before(m.until[key]), m.age
}

// keep remembers an answer that was asked for at the given age.
func (m *accessMemo) keep(key string, age uint64, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if age != m.age {
		return
	}
	if m.until == nil || len(m.until) >= accessesMax {
		m.until = map[string]time.Time{}
	}
	m.until[key] = now.Add(accessMemory)
}

func (m *accessMemo) forget() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.until, m.age = nil, m.age+1
}

// bindAccessMemo forgets everything when something changes that the rules of a
// test session look at.
func (s *service) bindAccessMemo() {
	forget := func(e *core.RecordEvent) error {
		s.access.forget()
		return e.Next()
	}
	names := []string{collections.Users, collections.Buildings, collections.BuildingGrants, collections.Organisations}
	for what, on := range map[string]*hook.TaggedHook[*core.RecordEvent]{
		"create": s.app.OnRecordAfterCreateSuccess(names...),
		"update": s.app.OnRecordAfterUpdateSuccess(names...),
		"delete": s.app.OnRecordAfterDeleteSuccess(names...),
	} {
		on.Bind(&hook.Handler[*core.RecordEvent]{Id: "firemode.api.access." + what, Func: forget})
	}
}
