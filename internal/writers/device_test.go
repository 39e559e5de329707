package writers

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"firemode/crdt"
	"firemode/internal/testbin"
)

// writers is how many a benchmark has, and a test in the long run.
const writers = 1000

// retryAfter is how long a device waits when the server has too much to do; it says a second.
const retryAfter = time.Second

// attemptTimeout bounds one request; a thousand wait for two cores.
const attemptTimeout = 2 * time.Minute

// site is a server with one open session.
type site struct {
	env            testbin.Env
	server         *testbin.Server
	url            string // of the API; a server that was killed comes back there
	client         *http.Client
	token, session string
}

func newSite(tb testing.TB) *site {
	tb.Helper()
	env := testbin.Env{
		"FIREMODE_DATA": tb.TempDir() + "/data", "JWT_SECRET": strings.Repeat("writers secret ", 4),
		"FERNET_KEY":                 strings.TrimSpace(testbin.MustRun(tb, nil, "keys", "generate")),
		"FIREMODE_WRITES_PER_SECOND": "0", // a thousand writers share one account
	}
	testbin.MustRun(tb, env, "seed", "--scale", "1")
	token := testbin.MustRun(tb, env, "token", "--user", "load.inspector")
	s := &site{env: env, server: testbin.Start(tb, env), client: newClient(tb), token: strings.TrimSpace(token)}
	s.url = s.server.URL
	s.newSession(tb)
	return s
}

// newClient keeps a connection per writer.
func newClient(tb testing.TB) *http.Client {
	c := &http.Client{Timeout: attemptTimeout, Transport: &http.Transport{MaxIdleConnsPerHost: writers, MaxIdleConns: 0}}
	tb.Cleanup(c.CloseIdleConnections)
	return c
}

func (s *site) send(req *http.Request, contentType string) ([]byte, error) {
	req.Header.Set("Content-Type", contentType)
	if s.token != "" {
		req.Header.Set("Authorization", "Bearer "+s.token)
	}
	res, err := s.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode == http.StatusServiceUnavailable {
		return raw, errBusy
	}
	if err == nil && res.StatusCode/100 != 2 {
		err = &statusError{fmt.Sprintf("%s %s: status %d: %.300s", req.Method, req.URL.Path, res.StatusCode, raw)}
	}
	return raw, err
}

// statusError is an answer that is neither a success nor "busy".
type statusError struct{ text string }

func (e *statusError) Error() string { return e.text }

func (s *site) call(method, path string, body, into any) error {
	raw, err := json.Marshal(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequest(method, s.url+path, bytes.NewReader(raw))
	if err != nil {
		return err
	}
	answer, err := s.send(req, "application/json")
	if err != nil {
		return err
	}
	return json.Unmarshal(answer, into)
}

// errBusy is the honest answer of a server with too much to do: nothing was promised.
var errBusy = errors.New("busy, try again later")

// device is a tablet that only sends.
type device struct {
	site  *site
	actor string
	seq   uint64
	chain [32]byte
}

// devices registers n devices.
func (s *site) devices(tb testing.TB, n int) []*device {
	tb.Helper()
	all := make([]*device, n)
	err := each(n, func(i int) error {
		var issued struct {
			Actor string `json:"actor"`
		}
		if err := s.call("POST", "/v1/tests/actors", map[string]any{"device": "tablet " + strconv.Itoa(i)}, &issued); err != nil {
			return err
		}
		all[i] = &device{site: s, actor: issued.Actor, chain: crdt.ChainStart(s.session, issued.Actor)}
		return nil
	})
	if err != nil {
		tb.Fatal(err)
	}
	return all
}

// put records one value per path and returns when the server has acknowledged all of them.
func (d *device) put(ctx context.Context, value string, paths ...string) error {
	prev, from := d.chain, d.seq+1
	var lines bytes.Buffer
	for _, path := range paths {
		d.seq++
		op := crdt.Op{
			Dot: crdt.Dot{Actor: d.actor, Seq: d.seq}, Time: crdt.NewTime(uint64(time.Now().UnixMilli()), 0),
			Kind: crdt.Put, Path: path, Val: strconv.Quote(value),
		}
		line, _, err := op.Encode()
		if err != nil {
			return err
		}
		d.chain = crdt.Chain(d.chain, line)
		lines.Write(line)
		lines.WriteByte('\n')
	}
	head := fmt.Sprintf(`{"v":1,"send_only":true,"actor":%q,"from":%d,"prev":%q,"head":%q}`+"\n", d.actor, from,
		base64.StdEncoding.EncodeToString(prev[:]), base64.StdEncoding.EncodeToString(d.chain[:]))
	var raw []byte
	for err := errBusy; errors.Is(err, errBusy); {
		var req *http.Request
		req, err = http.NewRequestWithContext(ctx, "POST", d.site.url+"/v1/tests/sessions/"+d.site.session+"/sync",
			io.MultiReader(strings.NewReader(head), bytes.NewReader(lines.Bytes())))
		if err != nil {
			return err
		}
		raw, err = d.site.send(req, "application/x-ndjson")
		switch {
		case errors.Is(err, errBusy):
			<-time.After(retryAfter) // the same lines again are no error
		case err != nil:
			return err
		}
	}
	var ack struct {
		Acked uint64 `json:"acked"`
		Chain []byte `json:"chain"`
	}
	if err := json.Unmarshal(raw, &ack); err != nil {
		return err
	}
	if ack.Acked != d.seq || !bytes.Equal(ack.Chain, d.chain[:]) {
		return fmt.Errorf("device %s: acknowledged %d with chain %x, want %d with %x", d.actor, ack.Acked, ack.Chain, d.seq, d.chain)
	}
	return nil
}

// readBack rebuilds the document from the operations that the server gives out, and each
// actor's chain from their bytes.
func (s *site) readBack() (*crdt.Doc, map[string][32]byte, error) {
	doc, chains := crdt.New(), map[string][32]byte{}
	for after := int64(0); ; {
		var page struct {
			Data []struct {
				Op json.RawMessage `json:"op"`
			} `json:"data"`
			After   int64 `json:"after"`
			HasMore bool  `json:"has_more"`
		}
		if err := s.call("GET", fmt.Sprintf("/v1/tests/sessions/%s/ops?after=%d", s.session, after), nil, &page); err != nil {
			return nil, nil, err
		}
		for _, row := range page.Data {
			op, err := crdt.ParseOp(row.Op)
			if err != nil {
				return nil, nil, err
			}
			if added, err := doc.Apply(&op); err != nil || !added {
				return nil, nil, fmt.Errorf("operation %s does not apply: added %t, %w", op.Dot, added, err)
			}
			chain, known := chains[op.Actor]
			if !known {
				chain = crdt.ChainStart(s.session, op.Actor)
			}
			chains[op.Actor] = crdt.ChainSum(chain, op.Sum())
		}
		if after = page.After; !page.HasMore {
			return doc, chains, nil
		}
	}
}

// each runs fn for 0 to n-1, all at the same time, and joins their errors.
func each(n int, fn func(int) error) error {
	errs := make([]error, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { errs[i] = fn(i) })
	}
	all.Wait()
	return errors.Join(errs...)
}
