package merge

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"testing"
	"time"

	"firemode/collections"
	"firemode/crdt"
	"firemode/internal/testapp"
	"firemode/sealed"

	"github.com/pocketbase/pocketbase/core"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(crashDirEnv); dir != "" {
		if err := crashWriter(dir); err != nil {
			fmt.Println("error:", err)
		}
		return
	}
	keys, err := sealed.Parse(sealed.Generate())
	if err != nil {
		panic(err)
	}
	collections.UseSealer(keys) // users have sealed fields
	code := m.Run()
	testapp.Cleanup()
	if code == 0 {
		if err := goleak.Find(pocketbaseOwn...); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// pocketbaseOwn are goroutines that PocketBase leaves behind when an app is closed.
var pocketbaseOwn = []goleak.Option{
	goleak.IgnoreAnyFunction("github.com/pocketbase/pocketbase/core.(*BaseApp).initLogger.func3"),
	goleak.IgnoreAnyFunction("github.com/pocketbase/pocketbase/core.createNotifyDirWatcher.func2"),
	goleak.IgnoreAnyFunction("github.com/fsnotify/fsnotify.(*inotify).readEvents"),
}

// service is a running service on an app of its own.
func service(t testing.TB, c Config) (*Service, core.App) {
	t.Helper()
	app := testapp.New(t, Register)
	s := New(app, c)
	if err := s.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return s, app
}

func save(t testing.TB, app core.App, collection string, values map[string]any) *core.Record {
	t.Helper()
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

// session makes a test session and returns its id.
func session(t testing.TB, app core.App) string {
	t.Helper()
	org := save(t, app, collections.Organisations, map[string]any{"name": "Assured Fire " + rand.Text(), "kind": "contractor"})
	b := save(t, app, collections.Buildings, map[string]any{
		"name": "Harbour Tower", "address": "1 Quay St", "building_type": "5", "organisation_id": org.Id, "compliance_status": "pending",
	})
	return save(t, app, collections.TestSessions, map[string]any{
		"building_id": b.Id, "session_name": "Annual", "status": collections.SessionActive,
		"session_data": map[string]any{}, "vector_clock": map[string]any{},
	}).Id
}

func set(path, value string, seen ...string) Change {
	return Change{Op: OpSet, Path: path, Value: []byte(value), Seen: seen}
}

// change writes simple changes and returns what was acknowledged.
func change(t testing.TB, s *Service, req ChangeRequest) Result {
	t.Helper()
	res, err := tryChange(s, req)
	if err != nil {
		t.Fatalf("change: %v", err)
	}
	return res
}

func tryChange(s *Service, req ChangeRequest) (res Result, err error) {
	err = s.Do(context.Background(), func(b *Batch) (err error) {
		res, err = b.Change(req)
		return err
	})
	return res, err
}

func read(t testing.TB, s *Service, id string) Document {
	t.Helper()
	d, err := s.Document(context.Background(), id)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// sound fails the test when the log and the record differ.
func sound(t testing.TB, s *Service, id string) Report {
	t.Helper()
	r, err := s.Verify(context.Background(), id)
	if err != nil {
		t.Fatal(err)
	}
	if r.Finding != nil {
		t.Fatalf("verify: got %+v, want no finding", *r.Finding)
	}
	return r
}

// tablet makes operations the way a device does, under an actor issued to it.
type tablet struct {
	session, user, actor string
	seq                  uint64
	chain                [32]byte
}

func newTablet(t testing.TB, s *Service, session, user, device string) *tablet {
	t.Helper()
	d := &tablet{session: session, user: user}
	err := s.Do(context.Background(), func(b *Batch) (err error) {
		d.actor, err = ActorFor(b.App(), user, device)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	d.chain = crdt.ChainStart(session, d.actor)
	return d
}

// request makes the next operations and returns the request that sends them.
func (d *tablet) request(ops ...crdt.Op) SyncRequest {
	req := SyncRequest{SessionID: d.session, UserID: d.user, Actor: d.actor, Prev: d.chain}
	for _, op := range ops {
		d.seq++
		op.Dot = crdt.Dot{Actor: d.actor, Seq: d.seq}
		op.Time = crdt.NewTime(uint64(time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC).UnixMilli()), uint16(d.seq))
		line, _, err := op.Encode()
		if err != nil {
			panic(err)
		}
		req.Lines = append(req.Lines, line)
		d.chain = crdt.Chain(d.chain, line)
	}
	req.Head = d.chain
	return req
}

func put(path, val string, seen ...crdt.Dot) crdt.Op {
	return crdt.Op{Kind: crdt.Put, Path: path, Val: val, Seen: seen}
}

// send does what the API does with a sync request.
func send(s *Service, req SyncRequest) (ack Ack, err error) {
	if err := req.Parse(); err != nil {
		return ack, err
	}
	err = s.Do(context.Background(), func(b *Batch) (err error) {
		ack, err = b.Append(req)
		return err
	})
	return ack, err
}

// eventuallyTimeout is room for the race detector on a machine that is busy with much else.
const eventuallyTimeout = 2 * time.Minute

// eventually waits for a condition that another goroutine brings about.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.NewTimer(eventuallyTimeout)
	defer deadline.Stop()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("waited in vain for %s", what)
		}
	}
}
