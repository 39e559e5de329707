package writers

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"firemode/crdt"
	"firemode/internal/testbin"
)

// retryEvery is how long a writer waits when the server did not answer: it may be dead.
const retryEvery = 50 * time.Millisecond

// scale of a storm: the short form, and the long one when FIREMODE_SOAK is set.
func scale() (writers, kills, batchesPerKill int) {
	if os.Getenv("FIREMODE_SOAK") != "" {
		return 1000, 15, 4000
	}
	return 60, 2, 300
}

// stormer is a device that keeps its own account of what it sent and what was acknowledged.
type stormer struct {
	*device
	url     string // of the server, which may be a lying one
	random  *rand.Rand
	journal [][]byte // by seq, from 1
	acked   int      // operations
	chains  [][32]byte
	own     crdt.Dot // its newest value on its private path
	at      int64    // position of its newest operation, 0 when its request was repeated
	resent  int
	times   []time.Duration
}

func newStormer(d *device, seed uint64) *stormer {
	return &stormer{device: d, url: d.site.url, random: rand.New(rand.NewPCG(seed, 1)), chains: [][32]byte{d.chain}}
}

// next makes one to five operations: values that nobody has seen on paths that many share,
// values in the place of the writer's own, and increments.
func (w *stormer) next() (lines [][]byte, err error) {
	for range 1 + w.random.IntN(5) {
		w.seq++
		op := crdt.Op{Dot: crdt.Dot{Actor: w.actor, Seq: w.seq}, Time: crdt.NewTime(uint64(time.Now().UnixMilli()), uint16(w.seq))}
		switch w.random.IntN(5) {
		case 0:
			op.Kind, op.Path, op.N = crdt.Inc, "heads", int64(1+w.random.IntN(9))
		case 1, 2:
			op.Kind, op.Path, op.Val = crdt.Put, fmt.Sprintf("items/shared%03d/remark", w.random.IntN(200)), strconv.Quote(op.Dot.String())
		default:
			op.Kind, op.Path, op.Val = crdt.Put, "items/"+w.actor+"/remark", strconv.Quote(op.Dot.String())
			if w.own.Seq != 0 {
				op.Seen = []crdt.Dot{w.own}
			}
			w.own = op.Dot
		}
		line, _, err := op.Encode()
		if err != nil {
			return nil, err
		}
		w.chain = crdt.Chain(w.chain, line)
		lines, w.journal, w.chains = append(lines, line), append(w.journal, line), append(w.chains, w.chain)
	}
	return lines, nil
}

// deliver sends lines until they are acknowledged, over as many deaths of the server as it takes.
func (w *stormer) deliver(lines [][]byte) error {
	b64 := base64.StdEncoding.EncodeToString
	from := w.seq - uint64(len(lines)) + 1
	body := fmt.Sprintf(`{"v":1,"send_only":true,"actor":%q,"from":%d,"prev":%q,"head":%q}`+"\n", w.actor, from, b64(w.chains[from-1][:]), b64(w.chain[:])) +
		string(bytes.Join(lines, []byte("\n"))) + "\n"
	began := time.Now()
	for {
		req, err := http.NewRequest("POST", w.url+"/v1/tests/sessions/"+w.site.session+"/sync", strings.NewReader(body))
		if err != nil {
			return err
		}
		raw, err := w.site.send(req, "application/x-ndjson")
		var refused *statusError
		switch {
		case errors.As(err, &refused):
			return err // an answer that no retry changes
		case err != nil:
			w.resent++
			<-time.After(retryEvery)
			continue
		}
		var ack struct {
			Acked uint64 `json:"acked"`
			Chain []byte `json:"chain"`
			N     int64  `json:"n"`
			Added int    `json:"added"`
		}
		if err := json.Unmarshal(raw, &ack); err != nil {
			w.resent++ // cut off in the middle
			continue
		}
		if w.at = 0; ack.Added == len(lines) {
			w.at = ack.N
		}
		if ack.Acked != w.seq || !bytes.Equal(ack.Chain, w.chain[:]) {
			return fmt.Errorf("writer %s: acknowledged %d, want %d with its own chain", w.actor, ack.Acked, w.seq)
		}
		w.acked, w.times = int(w.seq), append(w.times, time.Since(began))
		return nil
	}
}

// TestKillStorm kills the server, kill -9, again and again while a crowd writes to one session
// over HTTP, and holds what is read back at the end against what each writer knows.
func TestKillStorm(t *testing.T) {
	t.Parallel()
	n, kills, batchesPerKill := scale()
	s := newSite(t)
	s.env["FIREMODE_HTTP"] = strings.TrimPrefix(s.url, "http://") // comes back where it was
	var all []*stormer
	for i, d := range s.devices(t, n) {
		all = append(all, newStormer(d, uint64(i)))
	}
	var acknowledged atomic.Int64
	progress := make(chan struct{}, 1)
	stop := make(chan struct{})
	errs := make(chan error, n)
	began := time.Now()
	var crowd sync.WaitGroup
	for _, w := range all {
		crowd.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				lines, err := w.next()
				if err == nil {
					err = w.deliver(lines)
				}
				if err != nil {
					errs <- err
					return
				}
				acknowledged.Add(1)
				select {
				case progress <- struct{}{}:
				default:
				}
			}
		})
	}
	wait := func(batches int64) {
		deadline := time.NewTimer(attemptTimeout)
		defer deadline.Stop()
		for acknowledged.Load() < batches {
			select {
			case <-progress:
			case err := <-errs:
				t.Fatal(err)
			case <-deadline.C:
				t.Fatalf("no progress: %d batches acknowledged, want %d\n%s", acknowledged.Load(), batches, s.server.Log())
			}
		}
	}
	for k := range kills {
		wait(int64((k + 1) * batchesPerKill))
		s.server.Kill()
		s.server = testbin.Start(t, s.env)
	}
	wait(int64((kills + 1) * batchesPerKill))
	close(stop)
	crowd.Wait()
	close(errs)
	for err := range errs {
		t.Error(err)
	}

	rows, err := s.rows()
	if err != nil {
		t.Fatal(err)
	}
	doc, err := s.document()
	if err != nil {
		t.Fatal(err)
	}
	for _, finding := range inspect(s.session, all, rows, doc) {
		t.Error(finding)
	}
	var times []time.Duration
	ops, resent := 0, 0
	for _, w := range all {
		times, ops, resent = append(times, w.times...), ops+w.acked, resent+w.resent
	}
	slices.Sort(times)
	t.Logf("%d writers, %d kills: %d operations acknowledged in %s, %.0f a second, p50 %s, p99 %s, %d requests repeated",
		n, kills, ops, time.Since(began).Round(time.Millisecond), float64(ops)/time.Since(began).Seconds(), times[len(times)/2], times[len(times)*99/100], resent)
	if resent < kills {
		t.Errorf("got %d repeated requests in %d kills: the storm killed nobody's request", resent, kills)
	}
	t.Run("lies are found", func(t *testing.T) { findLies(t, s, all, rows, doc) })
	s.server.Stop(t)
	if r := testbin.Run(t, s.env, "sessions", "verify", s.session); r.Code != 0 {
		t.Errorf("firemode sessions verify: exit code %d\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
}

// findLies makes sure that inspect finds what a server could do wrong.
func findLies(t *testing.T, s *site, all []*stormer, rows []row, doc document) {
	put := slices.IndexFunc(rows, func(r row) bool { return bytes.Contains(r.Line, []byte(`"k":"put"`)) })
	for name, lie := range map[string]struct {
		change func(rows []row, doc *document) []row
		want   string
	}{
		"a row is lost": {func(rows []row, _ *document) []row { return slices.Delete(rows, 5, 6) }, "position"},
		"a row is lost and the others move up": {func(rows []row, _ *document) []row {
			rows = slices.Delete(rows, len(rows)/2, len(rows)/2+1)
			for i := range rows {
				rows[i].N = int64(i + 1)
			}
			return rows
		}, "is not in the log"},
		"a byte is changed": {func(rows []row, _ *document) []row {
			rows[put].Line = bytes.Replace(rows[put].Line, []byte(`"v":"`), []byte(`"v":"x`), 1)
			return rows
		}, "another line"},
		"a row is doubled": {func(rows []row, _ *document) []row {
			return append(rows, row{N: int64(len(rows) + 1), Line: rows[0].Line})
		}, "twice"},
		"a row is invented": {func(rows []row, _ *document) []row {
			line := bytes.Replace(rows[put].Line, []byte(`{"a":"`), []byte(`{"a":"x`), 1)
			return append(rows, row{N: int64(len(rows) + 1), Line: line})
		}, "nobody sent"},
		"a count is wrong":   {func(rows []row, doc *document) []row { doc.heads++; return rows }, "heads"},
		"a value is missing": {func(rows []row, doc *document) []row { doc.values = doc.values[1:]; return rows }, "values"},
	} {
		copied, at := slices.Clone(rows), document{heads: doc.heads, values: slices.Clone(doc.values)}
		found := inspect(s.session, all, lie.change(copied, &at), at)
		if !strings.Contains(strings.Join(found, "\n"), lie.want) {
			t.Errorf("%s: got %q, want something about %q", name, found[:min(3, len(found))], lie.want)
		}
	}
	// A server that acknowledges before it has stored anything.
	liar := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		raw, _ := io.ReadAll(r.Body)
		lines := strings.Split(strings.TrimSpace(string(raw)), "\n")
		var head struct {
			From int
			Head string
		}
		_ = json.Unmarshal([]byte(lines[0]), &head)
		fmt.Fprintf(w, `{"acked":%d,"chain":%q}`+"\n", head.From+len(lines)-2, head.Head)
	}))
	defer liar.Close()
	victim := newStormer(s.devices(t, 1)[0], 99)
	victim.url = liar.URL
	lines, err := victim.next()
	if err == nil {
		err = victim.deliver(lines)
	}
	if err != nil {
		t.Fatal(err)
	}
	if found := inspect(s.session, append(slices.Clone(all), victim), rows, doc); !strings.Contains(strings.Join(found, "\n"), "is not in the log") {
		t.Errorf("acknowledged before the commit: got %q, want it lost", found)
	}
}
