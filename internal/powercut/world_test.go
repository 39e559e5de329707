package powercut

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"firemode/collections"
	"firemode/crdt"
	"firemode/internal/sqlite"
	"firemode/internal/testapp"
	"firemode/merge"
	"firemode/pgsync"

	"github.com/pocketbase/pocketbase/core"
)

const (
	tablets       = 6
	opsPerRequest = 3
	// valueBytes of the large session: its record passes 64 KiB and is written late.
	valueBytes = 4000
)

// An act is a request of a tablet and what became of it.
type act struct {
	req   merge.SyncRequest
	first uint64 // seq of the first line
	begun int    // moment before it was handed over
	acked int    // moment after it was acknowledged
}

// An erasure is an officer's redaction of a tablet's operation.
type erasure struct {
	by    position // the redaction
	begun int      // as in act
	acked int
}

// A world is a recording of an app that people wrote to.
type world struct {
	*Recording
	sessions []string // a small and a large one
	acts     []act    // acknowledged, all of them, in no order
	erased   map[position]erasure
	began    int    // moment at which the first request was made
	epoch    string // of the log
}

// connect is how an app opens its databases.
type connect = core.DBConnectFunc

func open(dir string, c connect) (core.App, error) {
	app := core.NewBaseApp(core.BaseAppConfig{
		DataDir: dir, DBConnect: c,
		DataMaxOpenConns: sqlite.DataMaxOpenConns, DataMaxIdleConns: sqlite.DataMaxIdleConns,
		AuxMaxOpenConns: sqlite.AuxMaxOpenConns, AuxMaxIdleConns: sqlite.AuxMaxIdleConns,
	})
	if err := app.Bootstrap(); err != nil {
		return nil, fmt.Errorf("open app: %w", err)
	}
	return app, nil
}

// closeApp closes the databases of app and ends its goroutines.
func closeApp(app core.App) error {
	return app.OnTerminate().Trigger(&core.TerminateEvent{App: app}, func(*core.TerminateEvent) error {
		return app.ResetBootstrapState()
	})
}

// prepared is a data directory with two sessions, captured for the mirror; nothing in it
// is open.
func prepared(t *testing.T) (dir string, sessions []string) {
	t.Helper()
	app := testapp.New(t)
	if err := pgsync.Arm(app, pgsync.Mirrored()); err != nil {
		t.Fatal(err)
	}
	save := func(collection string, values map[string]any) *core.Record {
		c, err := app.FindCollectionByNameOrId(collection)
		if err != nil {
			t.Fatal(err)
		}
		r := core.NewRecord(c)
		r.Load(values)
		if err := app.Save(r); err != nil {
			t.Fatalf("save %s: %v", collection, err)
		}
		return r
	}
	org := save(collections.Organisations, map[string]any{"name": "Assured Fire", "kind": "contractor"})
	b := save(collections.Buildings, map[string]any{
		"name": "Harbour Tower", "address": "1 Quay St", "building_type": "5", "organisation_id": org.Id, "compliance_status": "pending",
	})
	for _, name := range []string{"small", "large"} {
		sessions = append(sessions, save(collections.TestSessions, map[string]any{
			"building_id": b.Id, "session_name": name, "status": collections.SessionActive,
			"session_data": map[string]any{}, "vector_clock": map[string]any{},
		}).Id)
	}
	if err := app.ResetBootstrapState(); err != nil {
		t.Fatal(err)
	}
	return app.DataDir(), sessions
}

// record has tablets write requests each to an app whose databases are opened by c, and
// returns what the disk saw.
func record(t *testing.T, c connect, seed uint64, requests int) *world {
	t.Helper()
	dir, sessions := prepared(t)
	r, err := Record(dir)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{Recording: r, sessions: sessions, erased: map[position]erasure{}}
	app, err := open(dir, c)
	if err != nil {
		t.Fatal(err)
	}
	s := merge.New(app, merge.Config{})
	if err := s.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	w.began, w.epoch = w.Now(), s.Epoch()
	var mu sync.Mutex // guards w.acts and w.erased
	var wg sync.WaitGroup
	for i := range tablets {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(seed, uint64(i)))
			// Half of them work on the small session, half on the large one.
			d, err := newTablet(s, sessions[i%2], fmt.Sprintf("tablet %d", i), i%2*valueBytes)
			for n := 0; err == nil && n < requests; n++ {
				var a act
				a, err = d.write(w.Recording, s, 1+rng.IntN(opsPerRequest), rng)
				mu.Lock()
				w.acts = append(w.acts, a)
				mu.Unlock()
				if err == nil && n%3 == 1 {
					var e erasure
					e, err = d.erase(w.Recording, s)
					mu.Lock()
					w.erased[position{d.session, d.actor, d.seq}] = e
					mu.Unlock()
				}
			}
			if err != nil {
				t.Errorf("tablet %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	s.Stop()
	if err := w.Compare(); err != nil {
		t.Errorf("the layer has missed something: %v", err)
	}
	if err := closeApp(app); err != nil {
		t.Fatal(err)
	}
	w.Stop()
	if t.Failed() {
		t.FailNow()
	}
	return w
}

// tablet makes operations the way a device does.
type tablet struct {
	session, actor string
	size           int
	seq            uint64
	chain          [32]byte
	last           map[string]crdt.Dot // own newest operation by path
}

func newTablet(s *merge.Service, session, device string, size int) (*tablet, error) {
	d := &tablet{session: session, size: size, last: map[string]crdt.Dot{}}
	err := s.Do(context.Background(), func(b *merge.Batch) (err error) {
		d.actor, err = merge.NewActor(b.App(), "anna", device)
		return err
	})
	d.chain = crdt.ChainStart(session, d.actor)
	return d, err
}

// write makes n operations, sends them and waits for the answer.
func (d *tablet) write(r *Recording, s *merge.Service, n int, rng *rand.Rand) (act, error) {
	a := act{req: merge.SyncRequest{SessionID: d.session, UserID: "anna", Actor: d.actor, Prev: d.chain}, first: d.seq + 1}
	for range n {
		d.seq++
		path := fmt.Sprintf("items/FE-%d/remark", rng.IntN(12))
		op := crdt.Op{
			Dot: crdt.Dot{Actor: d.actor, Seq: d.seq}, Time: crdt.NewTime(1_795_000_000_000, uint16(d.seq)), Kind: crdt.Put, Path: path,
			Val: fmt.Sprintf(`"%s %d %s"`, d.actor, d.seq, strings.Repeat("x", d.size)),
		}
		if seen, ok := d.last[path]; ok {
			op.Seen = []crdt.Dot{seen}
		}
		d.last[path] = op.Dot
		line, _, err := op.Encode()
		if err != nil {
			return a, fmt.Errorf("make operation: %w", err)
		}
		a.req.Lines = append(a.req.Lines, line)
		d.chain = crdt.Chain(d.chain, line)
	}
	a.req.Head = d.chain
	a.begun = r.Now()
	err := send(s, a.req)
	a.acked = r.Now()
	return a, err
}

// erase has an officer erase the newest operation and waits for the answer.
func (d *tablet) erase(r *Recording, s *merge.Service) (erasure, error) {
	e := erasure{begun: r.Now()}
	err := s.Do(context.Background(), func(b *merge.Batch) error {
		res, err := b.Redact(merge.RedactRequest{
			SessionID: d.session, UserID: "olga", Dots: []string{crdt.Dot{Actor: d.actor, Seq: d.seq}.String()}, Reason: "a name",
		})
		if err != nil {
			return err
		}
		by, _ := crdt.ParseDot(res.Ops[0])
		e.by = position{d.session, by.Actor, by.Seq}
		return nil
	})
	e.acked = r.Now()
	return e, err
}

func send(s *merge.Service, req merge.SyncRequest) error {
	return s.Do(context.Background(), func(b *merge.Batch) error {
		_, err := b.Append(req)
		return err
	})
}
