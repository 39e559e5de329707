package writers

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"firemode/crdt"
	"firemode/internal/testbin"

	"github.com/anishathalye/porcupine"
)

// The history of a session, as its writers and readers saw it, is the history of one log to
// which whole requests are appended: there is an order of all requests, each between the moment
// it was sent and the moment it was answered, that explains every answer.

// logAct is a request: operations appended, or all operations after a position read.
type logAct struct {
	read  bool
	after int
	dots  string // of an append, each followed by a space
	at    int64  // where the server says that an append ends; 0 when it was repeated
}

// logModel has the dots of the log, in order, as its state.
var logModel = porcupine.Model{
	Init: func() any { return "" },
	Step: func(state, input, output any) (bool, any) {
		log, act := state.(string), input.(logAct)
		if !act.read {
			next := log + act.dots
			return act.at == 0 || int64(strings.Count(next, " ")) == act.at, next
		}
		rest := log
		for range act.after {
			_, next, found := strings.Cut(rest, " ")
			if !found {
				return false, log // it has read what is not there yet
			}
			rest = next
		}
		return rest == output.(string), log
	},
	DescribeOperation: func(input, output any) string {
		act := input.(logAct)
		if act.read {
			return fmt.Sprintf("after %d: %s", act.after, output)
		}
		return fmt.Sprintf("append %sup to %d", act.dots, act.at)
	},
}

// recorder keeps what clients did and when.
type recorder struct {
	mu    sync.Mutex
	began time.Time
	acts  []porcupine.Operation
}

func (r *recorder) now() int64 { return int64(time.Since(r.began)) }

func (r *recorder) note(client int, input logAct, call int64, output string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.acts = append(r.acts, porcupine.Operation{ClientId: client, Input: input, Call: call, Output: output, Return: r.now()})
}

// readAfter returns the dots after a position, each followed by a space, and how many.
func (w *stormer) readAfter(after int) (dots string, n int, err error) {
	for {
		var page struct {
			Data    []row `json:"data"`
			HasMore bool  `json:"has_more"`
		}
		err := w.site.call("GET", fmt.Sprintf("/v1/tests/sessions/%s/ops?after=%d", w.site.session, after), nil, &page)
		var refused *statusError
		switch {
		case errors.As(err, &refused):
			return "", 0, err
		case err != nil:
			<-time.After(retryEvery) // the server is dead
			continue
		}
		for _, r := range page.Data {
			var op struct {
				A string `json:"a"`
				S int    `json:"s"`
			}
			if err := json.Unmarshal(r.Line, &op); err != nil {
				return "", 0, err
			}
			dots += fmt.Sprintf("%s.%d ", op.A, op.S)
		}
		if page.HasMore {
			return "", 0, fmt.Errorf("a history of more than one page: %d", len(page.Data))
		}
		return dots, len(page.Data), nil
	}
}

// record lets clients append and read at the same time while the server is killed once.
func record(t *testing.T, s *site, clients, actsEach int) []porcupine.Operation {
	t.Helper()
	r := &recorder{began: time.Now()}
	half := make(chan struct{}, clients)
	errs := make(chan error, clients)
	var crowd sync.WaitGroup
	for c, d := range s.devices(t, clients) {
		w := newStormer(d, uint64(c))
		crowd.Go(func() {
			random := rand.New(rand.NewPCG(uint64(c), 2))
			cursor := 0
			for i := range actsEach {
				if i == actsEach/2 {
					half <- struct{}{}
				}
				if random.IntN(2) == 0 {
					lines, err := w.next()
					if err == nil {
						dots := ""
						for k := range lines {
							dots += crdt.Dot{Actor: w.actor, Seq: w.seq - uint64(len(lines)) + 1 + uint64(k)}.String() + " "
						}
						call := r.now()
						if err = w.deliver(lines); err == nil {
							r.note(c, logAct{dots: dots, at: w.at}, call, "")
						}
					}
					if err != nil {
						errs <- err
						return
					}
					continue
				}
				call := r.now()
				dots, n, err := w.readAfter(cursor)
				if err != nil {
					errs <- err
					return
				}
				r.note(c, logAct{read: true, after: cursor}, call, dots)
				cursor += n
			}
		})
	}
	<-half
	s.server.Kill()
	s.server = testbin.Start(t, s.env)
	crowd.Wait()
	close(errs)
	for err := range errs {
		t.Fatal(err)
	}
	return r.acts
}

// checkTimeout bounds the search for an order: these histories take milliseconds.
const checkTimeout = time.Minute

func TestHistoriesAreLinearizable(t *testing.T) {
	t.Parallel()
	histories := 2
	if n, _, _ := scale(); n == 1000 {
		histories = 40
	}
	s := newSite(t)
	s.env["FIREMODE_HTTP"] = strings.TrimPrefix(s.url, "http://")
	acts := 0
	for range histories {
		history := record(t, s, 6, 20)
		acts += len(history)
		if result := porcupine.CheckOperationsTimeout(logModel, history, checkTimeout); result != porcupine.Ok {
			t.Fatalf("got %s, want an order of all requests that explains every answer: %+v", result, history)
		}
		for name, lie := range lies(history) {
			if result := porcupine.CheckOperationsTimeout(logModel, lie, checkTimeout); result != porcupine.Illegal {
				t.Errorf("%s: got %s, want it found", name, result)
			}
		}
		s.newSession(t)
	}
	t.Logf("%d histories, %d requests", histories, acts)
}

// lies are the history with one answer changed.
func lies(history []porcupine.Operation) map[string][]porcupine.Operation {
	with := func(change func(act *porcupine.Operation) bool) []porcupine.Operation {
		changed := slices.Clone(history)
		slices.SortFunc(changed, func(a, b porcupine.Operation) int { return int(b.Call - a.Call) }) // the last ones first
		for i := range changed {
			if change(&changed[i]) {
				break
			}
		}
		return changed
	}
	answered := func(act *porcupine.Operation) (dots []string, ok bool) {
		if !act.Input.(logAct).read {
			return nil, false
		}
		dots = strings.Fields(act.Output.(string))
		return dots, len(dots) > 1
	}
	join := func(dots []string) string { return strings.Join(dots, " ") + " " }
	return map[string][]porcupine.Operation{
		"a stale answer": with(func(act *porcupine.Operation) bool {
			// What was acknowledged before the question is left out of the answer.
			dots, ok := answered(act)
			for cut := len(dots) - 1; ok && cut >= 0; cut-- {
				for _, other := range history {
					in := other.Input.(logAct)
					if !in.read && other.Return < act.Call && strings.HasPrefix(in.dots, dots[cut]+" ") {
						act.Output = strings.TrimPrefix(join(dots[:cut]), " ")
						return true
					}
				}
			}
			return false
		}),
		"another order": with(func(act *porcupine.Operation) bool {
			dots, ok := answered(act)
			if ok {
				dots[0], dots[len(dots)-1] = dots[len(dots)-1], dots[0]
				act.Output = join(dots)
			}
			return ok
		}),
		"half a request": with(func(act *porcupine.Operation) bool {
			in := act.Input.(logAct)
			if in.read || strings.Count(in.dots, " ") < 2 {
				return false
			}
			in.dots = in.dots[strings.Index(in.dots, " ")+1:]
			act.Input = in
			return slices.ContainsFunc(history, func(o porcupine.Operation) bool {
				return o.Input.(logAct).read && strings.Contains(o.Output.(string), in.dots)
			})
		}),
	}
}

// newSession gives the site a further session.
func (s *site) newSession(tb testing.TB) {
	tb.Helper()
	var buildings struct {
		Data []struct {
			ID string `json:"id"`
		} `json:"data"`
	}
	var created struct {
		ID string `json:"session_id"`
	}
	err := s.call(http.MethodGet, "/v1/buildings?limit=1", nil, &buildings)
	if err == nil && len(buildings.Data) == 0 {
		err = fmt.Errorf("there is no building")
	}
	if err == nil {
		err = s.call(http.MethodPost, "/v1/tests/sessions", map[string]any{"building_id": buildings.Data[0].ID, "session_name": "Annual"}, &created)
	}
	if err != nil {
		tb.Fatal(err)
	}
	s.session = created.ID
}
