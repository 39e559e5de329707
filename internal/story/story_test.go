package story

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"firemode/internal/browser"
	"firemode/internal/pgtest"
	"firemode/internal/testbin"

	"github.com/google/uuid"
)

const (
	resultsPerInspector = 100
	photosPerInspector  = 3
	// sharedItems are items that both inspectors record, with different values;
	// the rest of the hundred are each inspector's own.
	sharedItems = 40
	// parallel requests of one device.
	parallel = 8
	// killAfter is how many results are acknowledged before the power goes.
	killAfter = 60
	// storyTimeout bounds one telling on a busy machine.
	storyTimeout = 10 * time.Minute
)

// demo is a data directory with the demonstration and its key. The first telling
// makes it and every telling works on a copy: seeding takes half a minute under
// the race detector and is the same each time.
var demo struct{ dir, fernetKey string }

func TestMain(m *testing.M) {
	code := m.Run()
	_ = os.RemoveAll(demo.dir)
	testbin.Cleanup()
	pgtest.StopShared()
	browser.Cleanup()
	os.Exit(code)
}

// An acknowledged result: what the device was told is safe.
type acknowledged struct {
	user, path, value string
	dots              []string
}

// story is the state of one telling.
type story struct {
	t          *testing.T
	ctx        context.Context
	dsn        string
	env        testbin.Env
	server     *testbin.Server
	base       atomic.Pointer[string]
	manager    *device
	inspectors [2]*device
	session    string
	feed       *subscriber
	acks       []acknowledged
	photos     map[string][]byte // evidence id -> bytes
	mu         sync.Mutex        // guards acks and photos
	ackCount   atomic.Int64
	restarted  chan struct{}
}

func TestStory(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), storyTimeout)
	defer cancel()
	s := &story{t: t, ctx: ctx, dsn: pgtest.Database(t), photos: map[string][]byte{}, restarted: make(chan struct{})}

	s.open()
	s.workAndCrash()

	s.everyResultOnce()
	s.conflictsAreReadable()
	s.photosComeBack()
	s.subscriberSaw()
	s.officerSees()
	s.mirrorHolds()
	s.auditNames()
	s.nameIsErased()
	s.loggedOutTokenIsDead()
	if code := s.server.Stop(t); code != 0 {
		t.Errorf("exit code after SIGTERM: got %d, want 0\n%s", code, s.server.Log())
	}
	s.everythingVerifies()
}

// open seeds a data directory, starts the server and logs everybody in.
func (s *story) open() {
	s.t.Helper()
	s.env = testbin.Env{"FIREMODE_DATA": s.t.TempDir() + "/data", "DATABASE_URL": s.dsn, "JWT_SECRET": strings.Repeat("story secret ", 4)}
	s.seed()
	token := testbin.MustRun(s.t, s.env, "token", "--user", "demo", "--ttl", "24h")

	s.server = testbin.Start(s.t, s.env)
	s.base.Store(&s.server.URL)
	// From here on the same ports, so that devices find the server again.
	s.env["FIREMODE_HTTP"] = strings.TrimPrefix(s.server.URL, "http://")
	s.env["FIREMODE_DIAG"] = strings.TrimPrefix(s.server.Diag, "http://")

	s.manager = s.device(strings.TrimSpace(token))
	for i, name := range []string{"mia.nguyen", "tom.kelly"} {
		s.inspectors[i] = s.login(name)
	}
	// A building that the demo manager runs and both inspectors may enter.
	building := s.sharedBuilding()
	var created struct {
		SessionID string `json:"session_id"`
	}
	s.must(s.manager, "POST", "/v1/tests/sessions", 201, map[string]any{"building_id": building, "session_name": "Annual service"}, &created)
	s.session = created.SessionID
	s.feed = subscribe(s.t, s.ctx, s.manager, "sessions/"+s.session+"/ops")
}

// seed fills the data directory.
func (s *story) seed() {
	s.t.Helper()
	if demo.dir == "" {
		dir, err := os.MkdirTemp("", "firemode-story-")
		if err != nil {
			s.t.Fatal(err)
		}
		demo.dir, demo.fernetKey = dir, strings.TrimSpace(testbin.MustRun(s.t, nil, "keys", "generate"))
		env := maps.Clone(s.env)
		env["FIREMODE_DATA"], env["FERNET_KEY"] = dir, demo.fernetKey
		testbin.MustRun(s.t, env, "seed", "--demo")
	}
	s.env["FERNET_KEY"] = demo.fernetKey
	if err := os.CopyFS(s.env["FIREMODE_DATA"], os.DirFS(demo.dir)); err != nil {
		s.t.Fatal(err)
	}
}

func (s *story) device(token string) *device {
	d := &device{token: token}
	d.base.Store(&s.server.URL)
	return d
}

// login is what a tablet does at the start of the day.
func (s *story) login(username string) *device {
	s.t.Helper()
	d := s.device("")
	var got struct {
		Token string `json:"access_token"`
		User  struct {
			ID string `json:"id"`
		} `json:"user"`
	}
	s.must(d, "POST", "/v1/auth/login", 200, map[string]any{"identity": username, "password": demoPassword}, &got)
	d.token, d.user = got.Token, got.User.ID
	return d
}

// must sends one request that has to be answered with want.
func (s *story) must(d *device, method, path string, want int, body, into any) {
	s.t.Helper()
	a, err := d.until(s.ctx, method, path, map[string]string{"Idempotency-Key": uuid.NewString()}, body)
	if err != nil {
		s.t.Fatalf("%s %s: %v", method, path, err)
	}
	if a.status != want {
		s.t.Fatalf("%s %s: got %d, want %d: %.500s", method, path, a.status, want, a.body)
	}
	if into != nil {
		if err := a.decode(into); err != nil {
			s.t.Fatalf("%s %s: %v", method, path, err)
		}
	}
}

// sharedBuilding is the first building that everybody on this job may see.
func (s *story) sharedBuilding() string {
	s.t.Helper()
	var common []string
	for i, d := range []*device{s.manager, s.inspectors[0], s.inspectors[1]} {
		var list struct {
			Data []struct {
				ID string `json:"id"`
			} `json:"data"`
		}
		s.must(d, "GET", "/v1/buildings?limit=100", 200, nil, &list)
		var seen []string
		for _, b := range list.Data {
			seen = append(seen, b.ID)
		}
		if i == 0 {
			common = seen
			continue
		}
		common = slices.DeleteFunc(common, func(id string) bool { return !slices.Contains(seen, id) })
	}
	if len(common) == 0 {
		s.t.Fatal("the demo data has no building that the manager and both inspectors may see")
	}
	return common[0]
}

// workAndCrash lets both devices send what they recorded offline, cuts the
// power in the middle, starts the server again and waits for the devices.
func (s *story) workAndCrash() {
	s.t.Helper()
	// Both have the same, empty session on screen when they lose the network.
	for _, d := range s.inspectors {
		s.must(d, "GET", "/v1/tests/sessions/"+s.session, 200, nil, nil)
	}
	var work sync.WaitGroup
	errs := make(chan error, 2*(resultsPerInspector+photosPerInspector))
	for i, d := range s.inspectors {
		work.Go(func() { s.sendResults(i, d, errs) })
		work.Go(func() { s.sendPhotos(i, d, errs) })
	}
	work.Go(s.crash)
	work.Wait()
	close(errs)
	for err := range errs {
		s.t.Error(err)
	}
	if s.t.Failed() {
		s.t.Fatalf("the devices could not deliver:\n%s", s.server.Log())
	}
}

// crash kills the server once killAfter results are acknowledged and starts it
// again on the same data and the same address.
func (s *story) crash() {
	defer close(s.restarted)
	for s.ackCount.Load() < killAfter {
		select {
		case <-s.ctx.Done():
			return
		case <-time.After(time.Millisecond):
		}
	}
	s.server.Kill()
	s.server = testbin.Start(s.t, s.env)
}

// sendResults posts one result per request, parallel at a time, every fifth
// twice at once as an impatient device does.
func (s *story) sendResults(who int, d *device, errs chan<- error) {
	var group sync.WaitGroup
	slots := make(chan struct{}, parallel)
	for n := range resultsPerInspector {
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			copies := 1
			if n%5 == 0 {
				copies = 2
			}
			if err := s.sendResult(who, d, n, copies); err != nil {
				errs <- fmt.Errorf("inspector %d, result %d: %w", who, n, err)
			}
		})
	}
	group.Wait()
}

func (s *story) sendResult(who int, d *device, n, copies int) error {
	item := fmt.Sprintf("FE-%03d", n)
	if n >= sharedItems {
		item = fmt.Sprintf("FE-%d-%03d", who, n)
	}
	// Digits that a float64 would lose, and a value no other request carries.
	value := fmt.Sprintf("%d%03d.50", 9007199254740990+who, n)
	path := "items/" + item + "/value"
	body := map[string]any{"changes": []any{map[string]any{"op": "set", "path": path, "value": rawNumber(value)}}}
	header := map[string]string{"Idempotency-Key": uuid.NewString()}

	answers := make([]answer, copies)
	failures := make([]error, copies)
	var twins sync.WaitGroup
	for i := range copies {
		twins.Go(func() {
			answers[i], failures[i] = d.until(s.ctx, "POST", "/v1/tests/sessions/"+s.session+"/results", header, body)
		})
	}
	twins.Wait()
	ack := acknowledged{user: d.user, path: path, value: value}
	for i, a := range answers {
		if failures[i] != nil {
			return failures[i]
		}
		var got struct {
			Status string   `json:"status"`
			Ops    []string `json:"ops"`
		}
		if err := a.decode(&got); err != nil {
			return err
		}
		if a.status != 200 || got.Status != "processed" {
			return fmt.Errorf("answer %d: %.300s", a.status, a.body)
		}
		ack.dots = append(ack.dots, got.Ops...)
	}
	s.mu.Lock()
	s.acks = append(s.acks, ack)
	s.mu.Unlock()
	s.ackCount.Add(1)
	return nil
}

func (s *story) sendPhotos(who int, d *device, errs chan<- error) {
	random := rand.New(rand.NewPCG(uint64(who), 1851))
	for n := range photosPerInspector {
		photo := picture(random)
		body, err := photoForm(s.session, photo)
		if err != nil {
			errs <- err
			return
		}
		a, err := d.until(s.ctx, "POST", "/v1/evidence", map[string]string{"Idempotency-Key": uuid.NewString()}, body)
		if err != nil {
			errs <- fmt.Errorf("inspector %d, photo %d: %w", who, n, err)
			return
		}
		var got struct {
			EvidenceID string `json:"evidence_id"`
		}
		if err := a.decode(&got); err != nil || a.status/100 != 2 || got.EvidenceID == "" {
			errs <- fmt.Errorf("inspector %d, photo %d: answer %d: %.300s (%v)", who, n, a.status, a.body, err)
			return
		}
		s.mu.Lock()
		s.photos[got.EvidenceID] = photo
		s.mu.Unlock()
	}
}
