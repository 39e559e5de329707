package simulation

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"firemode/collections"
	"firemode/crdt"
	"firemode/internal/sqlite"
	"firemode/internal/testapp"
	"firemode/merge"

	"github.com/pocketbase/dbx"
	"github.com/pocketbase/pocketbase/core"
)

// service is the real thing: merge.Service on SQLite. Its crashes are transactions that the
// database loses, its backups copies of the database file.
type service struct {
	dir     string
	app     core.App
	merge   *merge.Service
	session string
	now     *int64
	epochs  map[string]int
}

// snapshotEvery makes documents of a hundred operations come back from snapshots.
const snapshotEvery = 20

// services returns a maker of servers that share one data directory, one after the other. A
// seed may come once in it.
func services(t testing.TB) serverMaker {
	dir := dataDir(t)
	var last *service
	t.Cleanup(func() { last.close() })
	return func(session string, now *int64) server {
		next := &service{dir: dir, session: session, now: now, epochs: map[string]int{}}
		if last == nil {
			next.open()
		} else {
			last.merge.Stop()
			next.app = last.app
		}
		last = next
		last.create()
		last.start()
		last.backup()
		return last
	}
}

// dataDir is a migrated data directory with nobody's program running on it.
func dataDir(t testing.TB) string {
	t.Helper()
	app := testapp.New(t)
	if err := app.ResetBootstrapState(); err != nil {
		t.Fatal(err)
	}
	return app.DataDir()
}

// need stops the run on an error of the surroundings, which breaks no promise.
func need(err error) {
	if err != nil {
		panic(err)
	}
}

func (s *service) open() {
	s.app = core.NewBaseApp(core.BaseAppConfig{DataDir: s.dir, DBConnect: sqlite.Connect})
	merge.Register(s.app)
	need(s.app.Bootstrap())
}

func (s *service) start() {
	s.merge = merge.New(s.app, merge.Config{
		Now: func() time.Time { return time.UnixMilli(*s.now) }, SnapshotOps: snapshotEvery,
		RecordInterval: time.Hour, // nobody listens
	})
	need(s.merge.Start(context.Background()))
	if _, known := s.epochs[s.merge.Epoch()]; !known {
		s.epochs[s.merge.Epoch()] = len(s.epochs)
	}
}

func (s *service) close() {
	if s == nil || s.merge == nil {
		return
	}
	s.merge.Stop()
	need(s.app.OnTerminate().Trigger(&core.TerminateEvent{App: s.app}, func(e *core.TerminateEvent) error { return e.App.ResetBootstrapState() }))
	s.app, s.merge = nil, nil
}

// create makes the session, and the building once.
func (s *service) create() {
	made := func(collection, id string, values map[string]any) *core.Record {
		c, err := s.app.FindCollectionByNameOrId(collection)
		need(err)
		r := core.NewRecord(c)
		r.Load(values)
		if id != "" {
			r.Id = id
		}
		need(s.app.Save(r))
		return r
	}
	building, err := s.app.FindFirstRecordByFilter(collections.Buildings, "name = 'Harbour Tower'")
	if err != nil {
		org := made(collections.Organisations, "", map[string]any{"name": "Assured Fire", "kind": "contractor"})
		building = made(collections.Buildings, "", map[string]any{
			"name": "Harbour Tower", "address": "1 Quay St", "building_type": "5", "organisation_id": org.Id, "compliance_status": "pending",
		})
	}
	made(collections.TestSessions, s.session, map[string]any{
		"building_id": building.Id, "session_name": "Annual", "status": collections.SessionActive,
		"session_data": map[string]any{}, "vector_clock": map[string]any{},
	})
}

func (s *service) do(fn func(b *merge.Batch) error) error {
	return s.merge.Do(context.Background(), fn)
}

func (s *service) exec(sql string, params dbx.Params) {
	need(s.do(func(b *merge.Batch) error {
		_, err := b.App().NonconcurrentDB().NewQuery(sql).Bind(params).Execute()
		return err
	}))
}

// issue writes the row itself: the service draws names that no seed decides.
func (s *service) issue(user, actor string) {
	device := actor
	if user == officer {
		device = "results:" + s.merge.Epoch() + ":" // what the service writes for them without a device
	}
	s.exec("INSERT INTO crdt_actors (key, user, device) VALUES ({:key}, {:user}, {:device})", dbx.Params{"key": actor, "user": user, "device": device})
}

func (s *service) revoke(actor string) {
	need(s.do(func(b *merge.Batch) error {
		_, err := merge.RevokeActor(b.App(), actor)
		return err
	}))
}

// lock sets the status itself: to lock by the rules takes a sign-off, an operation of the
// server's own making.
func (s *service) lock(locked bool) {
	status := collections.SessionActive
	if locked {
		status = collections.SessionLocked
	}
	s.exec("UPDATE test_sessions SET status = {:status} WHERE id = {:id}", dbx.Params{"status": status, "id": s.session})
}

func (s *service) redact(list []crdt.Dot) {
	names := make([]string, len(list))
	for i, dot := range list {
		names[i] = dot.String()
	}
	need(s.do(func(b *merge.Batch) error {
		_, err := b.Redact(merge.RedactRequest{SessionID: s.session, UserID: officer, Dots: names, Reason: "a name"})
		return err
	}))
}

// sync does what the route does with a request.
func (s *service) sync(req request) answer { return s.handle(req, nil) }

// crash ends the transaction behind the service's back, as if it had never been.
func (s *service) crash(req request) answer {
	a := s.handle(req, func(b *merge.Batch) error {
		_, err := b.App().NonconcurrentDB().NewQuery("ROLLBACK").Execute()
		return err
	})
	s.restart()
	return a
}

func (s *service) handle(req request, commit func(b *merge.Batch) error) answer {
	ctx := context.Background()
	if req.lapsed && len(req.lines) == 0 {
		return answer{epoch: -1, refused: &refusal{code: "denied"}}
	}
	n, err := s.merge.Position(ctx, s.session)
	need(err)
	a := answer{epoch: s.epochs[s.merge.Epoch()], n: n}
	if req.epoch >= 0 && req.epoch != a.epoch || req.since > n {
		a.refused = &refusal{code: "restored"}
		return a
	}
	if len(req.lines) > 0 {
		sync := merge.SyncRequest{
			SessionID: s.session, UserID: req.user, Actor: req.actor, Since: req.since, Prev: req.prev, Head: req.head,
			Lines: req.lines, Lapsed: req.lapsed,
		}
		need(sync.Parse())
		sync.Supervisor = req.supervisor && sync.Admits()
		var ack merge.Ack
		var refused error
		err := s.do(func(b *merge.Batch) error {
			if ack, refused = b.Append(sync); refused != nil || commit == nil {
				return refused
			}
			return commit(b)
		})
		if refused != nil {
			a.refused = refusalOf(refused)
			return a
		}
		if commit == nil {
			need(err)
		} else if err == nil {
			fail("I1: the service acknowledged a transaction that the database had lost")
		}
		a.ack, a.n = ack, ack.N
	}
	if !req.lapsed && commit == nil {
		a.rows, err = s.merge.Ops(ctx, s.session, req.since, req.limit)
		need(err)
	}
	return a
}

func refusalOf(err error) *refusal {
	var gap *crdt.GapError
	var fork *crdt.ForkError
	var missing *crdt.MissingError
	var chain *merge.ChainError
	switch {
	case errors.As(err, &gap):
		return &refusal{code: "gap", want: gap.Want}
	case errors.As(err, &fork):
		return &refusal{code: "fork", dot: fork.Dot}
	case errors.As(err, &missing):
		return &refusal{code: "missing", dot: missing.Dots[0]}
	case errors.As(err, &chain):
		return &refusal{code: "chain"}
	case errors.Is(err, merge.ErrForeignActor):
		return &refusal{code: "foreign"}
	}
	panic(fmt.Errorf("append: %w", err))
}

// restart is another process on the same database: nothing is left of what was in memory.
func (s *service) restart() {
	s.merge.Stop()
	s.start()
}

func (s *service) tape() string { return filepath.Join(s.dir, "tape.db") }

// backup copies the file. A snapshot that the service writes meanwhile goes to the journal
// beside it.
func (s *service) backup() {
	_, err := s.app.NonconcurrentDB().NewQuery("PRAGMA wal_checkpoint(TRUNCATE)").Execute()
	need(err)
	raw, err := os.ReadFile(s.database())
	need(err)
	need(os.WriteFile(s.tape(), raw, 0o600))
}

func (s *service) database() string { return filepath.Join(s.dir, "data.db") }

// restore puts the backup in the place of the database.
func (s *service) restore() {
	s.close()
	raw, err := os.ReadFile(s.tape())
	need(err)
	file := s.database()
	need(os.WriteFile(file+".new", raw, 0o600))
	for _, end := range []string{"-wal", "-shm"} {
		if err := os.Remove(file + end); !errors.Is(err, os.ErrNotExist) {
			need(err)
		}
	}
	need(os.Rename(file+".new", file))
	s.open()
	s.start()
}

func (s *service) log(after int64) []merge.Row {
	var all []merge.Row
	for {
		rows, err := s.merge.Ops(context.Background(), s.session, after, 0)
		need(err)
		all = append(all, rows...)
		if len(rows) == 0 {
			return all
		}
		after = rows[len(rows)-1].N
	}
}

func (s *service) digest() string {
	state, err := s.merge.State(context.Background(), s.session)
	need(err)
	return state.Digest
}

// snapshots counts those of all sessions in the database.
func (s *service) snapshots() (n int) {
	need(s.app.DB().NewQuery("SELECT count(*) FROM crdt_snaps").Row(&n))
	return n
}

func (s *service) sound() error {
	r, err := s.merge.Verify(context.Background(), s.session)
	if err == nil && r.Finding != nil {
		err = fmt.Errorf("verify: position %d: %s", r.Finding.N, r.Finding.Reason)
	}
	return err
}
