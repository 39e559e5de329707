package api_test

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"

	"firemode/collections"
	"firemode/crdt"
)

// results posts changes under a fresh key.
func (w *world) results(as, key string, body map[string]any) answer {
	w.t.Helper()
	return w.do(request{method: "POST", path: "/v1/tests/sessions/" + w.session + "/results", as: as, body: body, header: map[string]string{"Idempotency-Key": key}})
}

func set(path string, value any) map[string]any {
	return map[string]any{"op": "set", "path": path, "value": value}
}

func TestResults(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.results("inspector", "res-0001", map[string]any{"changes": []any{
		set("/items/FE-001/result", "pass"), map[string]any{"op": "set", "path": "/items/FE-001/pressure", "value": json.RawMessage("12.50")},
	}}).want(200)
	if first.text("status") != "processed" || first.member("server_seq").(float64) != 2 {
		t.Errorf("answer: got %s", first.body)
	}
	doc := w.do(request{method: "GET", path: "/v1/tests/sessions/" + w.session, as: "manager"}).want(200)
	if !bytes.Contains(doc.body, []byte("12.50")) {
		t.Errorf("12.50 lost its digits: %s", doc.body)
	}
	// Somebody who saw nothing adds a conflict; it overwrites nothing.
	second := w.results("manager", "res-0002", map[string]any{"changes": []any{set("/items/FE-001/result", "fail")}}).want(200)
	if got := second.member("conflicts").([]any); len(got) != 1 {
		t.Errorf("conflicts: got %s, want one", second.body)
	}
	path := "/v1/tests/sessions/" + w.session
	if got := w.do(request{method: "GET", path: path + "/conflicts", as: "owner"}).want(200).items(); len(got) != 1 || len(got[0]["entries"].([]any)) != 2 {
		t.Errorf("conflicts: got %v", got)
	}
	if got := w.do(request{method: "GET", path: path + "/history?path=/items/FE-001/result", as: "owner"}).want(200).items(); len(got) != 2 {
		t.Errorf("history: got %d entries, want 2", len(got))
	}
	// Who saw both settles it.
	clock := w.do(request{method: "GET", path: path, as: "inspector"}).want(200).member("vector_clock")
	third := w.results("inspector", "res-0003", map[string]any{"changes": []any{set("/items/FE-001/result", "fail")}, "vector_clock": clock}).want(200)
	if got := third.member("conflicts").([]any); len(got) != 0 {
		t.Errorf("conflicts after a decision: got %s", third.body)
	}
	ops := w.do(request{method: "GET", path: path + "/ops?limit=2", as: "auditor"}).want(200)
	if len(ops.items()) != 2 || ops.member("has_more") != true || ops.member("after").(float64) != 2 {
		t.Errorf("ops: got %s", ops.body)
	}
	for _, spelling := range []string{"offline-bundle", "offline_bundle"} {
		b := w.do(request{method: "GET", path: path + "/" + spelling, as: "inspector"}).want(200)
		if b.member("building").(map[string]any)["name"] != "Harbour Tower" {
			t.Errorf("bundle: got %s", b.body)
		}
	}
	for _, sub := range []string{"/ops", "/conflicts", "/history?path=a", "/offline-bundle"} {
		w.do(request{method: "GET", path: path + sub, as: "stranger"}).want(404)
	}
}

func TestResultsRefusals(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	good := map[string]any{"changes": []any{set("/a", 1)}}
	w.results("owner", "ref-0001", good).want(403)
	w.results("stranger", "ref-0002", good).want(404)
	w.results("", "ref-0003", good).want(401)
	w.results("inspector", "", good).want(422)
	w.results("inspector", "with space", good).want(422)
	w.results("inspector", "ref-0004", map[string]any{"changes": []any{set("/a", 1)}, "idempotency_key": "another"}).want(422)
	w.results("inspector", "", map[string]any{"changes": []any{set("/a", 1)}, "idempotency_key": "in-the-body"}).want(200)
	for name, row := range map[string]struct {
		body    any
		pointer string
	}{
		"no changes":   {map[string]any{"changes": []any{}}, "/changes"},
		"unknown op":   {map[string]any{"changes": []any{map[string]any{"op": "drop", "path": "/a"}}}, "/changes/0/op"},
		"unknown key":  {map[string]any{"changes": []any{map[string]any{"op": "set", "path": "/a", "value": 1, "when": 1}}}, "/changes/0/when"},
		"no path":      {map[string]any{"changes": []any{map[string]any{"op": "set", "value": 1}}}, "/changes/0"},
		"inc by text":  {map[string]any{"changes": []any{map[string]any{"op": "inc", "path": "/a", "value": "1"}}}, "/changes/0/value"},
		"seen no dot":  {map[string]any{"changes": []any{map[string]any{"op": "set", "path": "/a", "value": 1, "seen": []string{"x"}}}}, "/changes/0/seen"},
		"clock below":  {map[string]any{"changes": []any{set("/a", 1)}, "vector_clock": map[string]any{"x": -1}}, "/vector_clock/x"},
		"the 2nd one":  {map[string]any{"changes": []any{set("/a", 1), set("", 1)}}, "/changes/1/path"},
		"reserved key": {map[string]any{"changes": []any{set("/a", map[string]any{"$num": 1})}}, "/changes/0/value"},
	} {
		a := w.do(request{method: "POST", path: "/v1/tests/sessions/" + w.session + "/results", as: "inspector", body: row.body,
			header: map[string]string{"Idempotency-Key": "bad-" + strings.ReplaceAll(name, " ", "-")}})
		if a.status != 422 || len(a.pointers()) == 0 || !strings.HasPrefix(a.pointers()[0], row.pointer) {
			t.Errorf("%s: got %d %v, want 422 %s\n%s", name, a.status, a.pointers(), row.pointer, a.body)
		}
	}
	if n, _ := w.app.CountRecords(collections.IdempotencyKeys); n != 1 {
		t.Errorf("stored answers: got %d, want 1", n)
	}
}

// One key from many at once: exactly one effect. A repeat gets the same bytes.
func TestResultsIdempotency(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	body := map[string]any{"changes": []any{map[string]any{"op": "inc", "path": "/counts/heads", "value": 1}}}
	var wg sync.WaitGroup
	var mu sync.Mutex
	fresh, replayed := 0, 0
	for range 20 {
		wg.Go(func() {
			a := w.results("inspector", "race-0001", body)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case a.status == 200 && a.header.Get("Idempotent-Replayed") == "":
				fresh++
			case a.status == 200:
				replayed++
			case a.status == 409 && a.header.Get("Retry-After") != "" && a.member("retryable") == true:
			default:
				t.Errorf("got %d %s", a.status, a.body)
			}
		})
	}
	wg.Wait()
	if fresh != 1 {
		t.Errorf("fresh answers: got %d, want 1 (replayed %d)", fresh, replayed)
	}
	doc := w.do(request{method: "GET", path: "/v1/tests/sessions/" + w.session, as: "inspector"}).want(200)
	if !bytes.Contains(doc.body, []byte(`"$count":1`)) {
		t.Errorf("counted more than once: %s", doc.body)
	}
	one := w.results("inspector", "race-0001", body).want(200)
	two := w.results("inspector", "race-0001", body).want(200)
	if !bytes.Equal(one.body, two.body) || one.header.Get("Idempotent-Replayed") != "true" {
		t.Errorf("replays differ: %s and %s", one.body, two.body)
	}
	w.results("inspector", "race-0001", map[string]any{"changes": []any{set("/b", 1)}}).want(409)
	// Another principal, another session: another scope.
	if a := w.results("manager", "race-0001", body).want(200); a.header.Get("Idempotent-Replayed") != "" {
		t.Error("an answer was replayed to somebody else")
	}
}

// A device syncs: it gets an actor, sends chained lines and receives others'.
func TestSync(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	actor := w.do(request{method: "POST", path: "/v1/tests/actors", as: "inspector", body: map[string]any{"device": "tablet 7"}}).want(200).text("actor")
	if again := w.do(request{method: "POST", path: "/v1/tests/actors", as: "inspector", body: map[string]any{"device": "tablet 7"}}).want(200).text("actor"); again != actor {
		t.Errorf("actor: got %s, want %s", again, actor)
	}
	clock := crdt.Clock{}
	chain := crdt.ChainStart(w.session, actor)
	start := chain
	var lines []string
	for i := range 3 {
		op := crdt.Op{Dot: crdt.Dot{Actor: actor, Seq: uint64(i + 1)}, Time: clock.Next(), Kind: crdt.Put, Path: fmt.Sprintf("items/FE-%d/result", i), Val: `"pass"`}
		line, _, err := op.Encode()
		if err != nil {
			t.Fatal(err)
		}
		chain = crdt.Chain(chain, line)
		lines = append(lines, string(line))
	}
	b64 := func(b [32]byte) string { return base64.StdEncoding.EncodeToString(b[:]) }
	head := func(since int, actor string, prev, head [32]byte) string {
		return `{"v":1,"since":` + strconv.Itoa(since) + `,"actor":"` + actor + `","from":1,"prev":"` + b64(prev) + `","head":"` + b64(head) + `"}`
	}
	send := func(as, body string, zip bool) answer {
		header := map[string]string{"Content-Type": "application/x-ndjson"}
		if zip {
			var b bytes.Buffer
			z := gzip.NewWriter(&b)
			_, _ = z.Write([]byte(body))
			_ = z.Close()
			body, header["Content-Encoding"] = b.String(), "gzip"
		}
		return w.do(request{method: "POST", path: "/v1/tests/sessions/" + w.session + "/sync", as: as, body: body, header: header})
	}
	whole := head(0, actor, start, chain) + "\n" + strings.Join(lines, "\n") + "\n"
	first := send("inspector", whole, true).want(200)
	got := strings.Split(strings.TrimSpace(string(first.body)), "\n")
	var ack struct {
		Acked int
		Chain string
		N     int
		Added int
	}
	if err := json.Unmarshal([]byte(got[0]), &ack); err != nil || ack.Acked != 3 || ack.N != 3 || ack.Added != 3 || ack.Chain != b64(chain) {
		t.Errorf("ack: got %s", got[0])
	}
	for i, line := range lines {
		if _, op, _ := strings.Cut(got[i+1], `"op":`); op != line+"}" {
			t.Errorf("line %d: got %s, want the author's bytes %s", i, op, line)
		}
	}
	if again := send("inspector", whole, false).want(200); !strings.Contains(string(again.body), `"duplicates":3`) {
		t.Errorf("the same again: got %s", again.body)
	}
	if only := send("inspector", strings.Replace(whole, `"v":1`, `"v":1,"send_only":true`, 1), false).want(200); strings.Contains(string(only.body), `"op":`) || !strings.Contains(string(only.body), `"acked":3`) {
		t.Errorf("sending only: got %s, want an acknowledgement alone", only.body)
	}
	if pull := send("owner", `{"v":1,"since":2}`, false).want(200); strings.Count(string(pull.body), `"op":`) != 1 {
		t.Errorf("pull: got %s, want one operation", pull.body)
	}
	code := func(a answer) any { return a.want(409).member("data").(map[string]any)["code"] }
	if got := code(send("inspector", head(0, actor, chain, chain)+"\n"+lines[0], false)); got != "chain" {
		t.Errorf("wrong chain: got %v", got)
	}
	gap := strings.Replace(lines[0], `"s":1`, `"s":9`, 1)
	if got := code(send("inspector", strings.Replace(head(0, actor, chain, crdt.Chain(chain, []byte(gap))), `"from":1`, `"from":9`, 1)+"\n"+gap, false)); got != "gap" {
		t.Errorf("gap: got %v", got)
	}
	for name, row := range map[string]struct {
		as, body string
		status   int
	}{
		"foreign actor":  {"manager", whole, 403},
		"owner writes":   {"owner", whole, 403},
		"stranger":       {"stranger", whole, 404},
		"empty":          {"inspector", "", 400},
		"no JSON":        {"inspector", "hello", 400},
		"version":        {"inspector", `{"v":2}`, 422},
		"unknown member": {"inspector", `{"v":1,"sig":"x"}`, 422},
		"no chain":       {"inspector", `{"v":1,"actor":"` + actor + `"}` + "\n" + lines[0], 422},
		"not canonical":  {"inspector", head(0, actor, start, chain) + "\n" + strings.Replace(lines[0], `,"k"`, `, "k"`, 1), 422},
		"NUL":            {"inspector", head(0, actor, start, chain) + "\n" + strings.Replace(lines[0], `pass`, "\x00", 1), 422},
		"too many lines": {"inspector", head(0, actor, start, chain) + strings.Repeat("\n"+lines[0], 1001), 413},
		"10 MB":          {"inspector", strings.Repeat("x", 10<<20), 413},
	} {
		if a := send(row.as, row.body, false); a.status != row.status {
			t.Errorf("%s: got %d, want %d\n%s", name, a.status, row.status, a.body)
		}
	}
	if a := send("inspector", strings.Repeat("\n", 5<<20), true); a.status != 413 {
		t.Errorf("a gzip bomb: got %d, want 413", a.status)
	}
}

// A right that is taken away in this process is gone at the next request.
func TestAddingStopsWithTheGrant(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.results("inspector", "grant-0001", map[string]any{"changes": []any{set("/a", 1)}}).want(200)
	w.results("inspector", "grant-0002", map[string]any{"changes": []any{set("/a", 2)}}).want(200)
	user, err := w.app.FindFirstRecordByData(collections.Users, "username", "inspector")
	if err != nil {
		t.Fatal(err)
	}
	grant, err := w.app.FindFirstRecordByData(collections.BuildingGrants, "user_id", user.Id)
	if err != nil {
		t.Fatal(err)
	}
	grant.Set(collections.FieldEndsAt, "2020-01-02 00:00:00.000Z")
	if err := w.app.Save(grant); err != nil {
		t.Fatal(err)
	}
	w.results("inspector", "grant-0003", map[string]any{"changes": []any{set("/a", 3)}}).want(404)
}
