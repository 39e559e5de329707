package api_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"

	"firemode/collections"

	"github.com/pocketbase/dbx"
)

// act posts to an operation of the world's session.
func (w *world) act(as, operation string, body map[string]any) answer {
	w.t.Helper()
	return w.do(request{method: "POST", path: "/v1/tests/sessions/" + w.session + operation, as: as, body: body})
}

func (w *world) get(as, operation string) answer {
	w.t.Helper()
	return w.do(request{method: "GET", path: "/v1/tests/sessions/" + w.session + operation, as: as})
}

// disagree lets two people record different results, and returns the two operations.
func (w *world) disagree(path string) (pass, fail string) {
	w.t.Helper()
	one := w.results("inspector", "disagree-a-"+path, map[string]any{"changes": []any{set("/"+path, "pass")}}).want(200)
	two := w.results("manager", "disagree-b-"+path, map[string]any{"changes": []any{set("/"+path, "fail")}}).want(200)
	return one.member("ops").([]any)[0].(string), two.member("ops").([]any)[0].(string)
}

func TestResolveConflict(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const path = "items/FE-001/result"
	pass, fail := w.disagree(path)
	body := map[string]any{"path": path, "choose": fail, "seen": []string{pass, fail}, "reason": "the gauge was read again"}
	w.act("owner", "/conflicts/resolve", body).want(403)
	w.act("auditor", "/conflicts/resolve", body).want(403)
	w.act("stranger", "/conflicts/resolve", body).want(404)
	w.act("", "/conflicts/resolve", body).want(401)

	done := w.act("officer", "/conflicts/resolve", body).want(200)
	if len(done.member("conflicts").([]any)) != 0 || len(done.member("ops").([]any)) != 1 {
		t.Errorf("answer: got %s", done.body)
	}
	if left := w.get("officer", "/conflicts").want(200).items(); len(left) != 0 {
		t.Errorf("conflicts afterwards: got %v", left)
	}
	history := w.get("owner", "/history?path="+path).want(200).items()
	if len(history) != 3 || history[0]["reason"] != "the gauge was read again" || history[0]["value"] != "fail" || len(history[0]["seen"].([]any)) != 2 {
		t.Errorf("history: got %v", history)
	}
	if doc := w.get("owner", "").want(200); !strings.Contains(string(doc.body), "the gauge was read again") {
		t.Errorf("the document does not say why: %s", doc.body)
	}
	var kept string
	if err := w.app.DB().NewQuery("SELECT new_values FROM audit_log WHERE action = 'merge' ORDER BY seq DESC LIMIT 1").Row(&kept); err != nil || !strings.Contains(kept, "the gauge was read again") {
		t.Errorf("audit entry: got %s (%v)", kept, err)
	}
	var pages []any
	for cursor := ""; ; {
		page := w.get("owner", "/history?limit=2&path="+path+"&cursor="+cursor).want(200)
		for _, e := range page.items() {
			pages = append(pages, e["n"])
		}
		if page.member("has_more") != true {
			break
		}
		cursor = page.text("next_cursor")
	}
	if len(pages) != 3 || pages[0] != history[0]["n"] || pages[2] != history[2]["n"] {
		t.Errorf("history by pages: got %v", pages)
	}
	w.get("owner", "/history?path="+path+"&cursor=x").want(400)
	again := w.act("manager", "/conflicts/resolve", body).want(409)
	if again.member("data").(map[string]any)["code"] != "settled" {
		t.Errorf("decided twice: got %s", again.body)
	}
}

// A value that the decider did not see survives the decision.
func TestResolveKeepsWhatWasNotSeen(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const path = "items/FE-002/value"
	pass, fail := w.disagree(path)
	late := w.results("client", "late-0001", map[string]any{"changes": []any{set("/"+path, "12.5")}}).want(200).member("ops").([]any)[0].(string)
	done := w.act("officer", "/conflicts/resolve", map[string]any{"path": path, "value": "12.0", "seen": []string{pass, fail}, "reason": "read together"}).want(200)
	left := done.member("conflicts").([]any)
	if len(left) != 1 || !strings.Contains(fmt.Sprint(left), late) {
		t.Errorf("conflicts: got %s, want the value that arrived meanwhile", done.body)
	}
}

// Two officers decide at once: whoever is second either sees it refused or stands beside
// the first. Nothing is lost.
func TestResolveTogether(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const path = "items/FE-003/result"
	pass, fail := w.disagree(path)
	var wg sync.WaitGroup
	status := map[int]int{}
	var mu sync.Mutex
	for i := range 8 {
		wg.Go(func() {
			as := []string{"officer", "manager"}[i%2]
			a := w.act(as, "/conflicts/resolve", map[string]any{"path": path, "choose": []string{pass, fail}[i/2%2], "seen": []string{pass, fail}, "reason": fmt.Sprint("by ", i)})
			mu.Lock()
			status[a.status]++
			mu.Unlock()
		})
	}
	wg.Wait()
	if status[200] != 1 || status[409] != 7 {
		t.Errorf("answers: got %v, want one 200 and seven 409", status)
	}
	if history := w.get("officer", "/history?path="+path).want(200).items(); len(history) != 3 {
		t.Errorf("history: got %d entries, want 3", len(history))
	}
}

func TestResolveRefusals(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const path = "items/FE-004/result"
	pass, fail := w.disagree(path)
	elsewhere, _ := w.disagree("items/FE-005/result")
	good := func(change map[string]any) map[string]any {
		body := map[string]any{"path": path, "value": "pass", "seen": []string{pass, fail}, "reason": "why"}
		for k, v := range change {
			if body[k] = v; v == nil {
				delete(body, k)
			}
		}
		return body
	}
	many := make([]string, 4097)
	for i := range many {
		many[i] = pass
	}
	for name, row := range map[string]struct {
		change  map[string]any
		pointer string
	}{
		"no reason":        {map[string]any{"reason": nil}, ""},
		"blank reason":     {map[string]any{"reason": "  "}, "/reason"},
		"long reason":      {map[string]any{"reason": strings.Repeat("x", 2001)}, "/reason"},
		"no value":         {map[string]any{"value": nil}, "/value"},
		"value and choose": {map[string]any{"choose": pass}, "/value"},
		"nothing seen":     {map[string]any{"seen": []string{}}, "/seen"},
		"seen unknown":     {map[string]any{"seen": []string{"aaaaaaaaaaaa.1"}}, "/seen/0"},
		"seen no dot":      {map[string]any{"seen": []string{pass, "x"}}, "/seen/1"},
		"4,097 seen":       {map[string]any{"seen": many}, "/seen"},
		"other path":       {map[string]any{"value": nil, "choose": elsewhere}, "/choose"},
		"empty segment":    {map[string]any{"path": "items//result"}, "/path"},
		"257 bytes":        {map[string]any{"path": strings.Repeat("x", 257)}, "/path"},
		"reserved key":     {map[string]any{"value": map[string]any{"$num": "1"}}, "/value"},
	} {
		a := w.act("officer", "/conflicts/resolve", good(row.change))
		if a.status != 422 || len(a.pointers()) == 0 || !strings.HasPrefix(a.pointers()[0], row.pointer) {
			t.Errorf("%s: got %d %v, want 422 %s\n%s", name, a.status, a.pointers(), row.pointer, a.body)
		}
	}
	if left := w.get("officer", "/conflicts").want(200).items(); len(left) != 2 {
		t.Errorf("conflicts afterwards: got %d, want both", len(left))
	}
}

func TestConflictFilters(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.disagree("items/FE-001/result")
	w.disagree("items/FE-001/value")
	w.results("client", "filter-c", map[string]any{"changes": []any{set("/items/FE-001/value", "na")}}).want(200)
	client := w.get("client", "/history?path=items/FE-001/value").want(200).items()[0]["user_id"].(string)
	for query, want := range map[string]int{
		"": 2, "?path=items/FE-001/v": 1, "?path=items/FE-009": 0, "?policy=worst": 1, "?policy=mv": 1, "?policy=lww": 0, "?user_id=" + client: 1,
		"?policy=worst&user_id=" + client: 0,
	} {
		if got := w.get("officer", "/conflicts"+query).want(200).items(); len(got) != want {
			t.Errorf("conflicts%s: got %d, want %d", query, len(got), want)
		}
	}
	w.get("officer", "/conflicts?policy=best").want(422)
	w.get("officer", "/conflicts?pth=x").want(422)
}

// The road of a session: recorded, reviewed, signed, locked, and an addendum afterwards.
func TestSignAndLock(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.results("inspector", "sign-0001", map[string]any{"changes": []any{set("/items/FE-001/result", "pass")}}).want(200)
	reason := map[string]any{"reason": "all items tested"}
	w.act("manager", "/lock", reason).want(409) // still active
	w.act("owner", "/review", reason).want(403)
	w.act("inspector", "/review", reason).want(200)
	w.act("inspector", "/review", reason).want(409)
	w.act("inspector", "/reopen", reason).want(403)
	w.act("officer", "/reopen", reason).want(200)
	w.act("officer", "/review", map[string]any{}).want(200)

	code := func(a answer) any { return a.member("data").(map[string]any)["code"] }
	if a := w.act("manager", "/lock", reason).want(409); code(a) != "not_signed" {
		t.Errorf("lock unsigned: got %s", a.body)
	}
	state := w.get("inspector", "/state").want(200)
	sign := func(as string, state answer) answer {
		return w.act(as, "/sign", map[string]any{"server_seq": state.member("server_seq"), "digest": state.member("digest"), "statement": "Tested as recorded."})
	}
	for as, want := range map[string]int{"auditor": 403, "client": 403, "stranger": 404, "": 401} {
		sign(as, state).want(want)
	}
	w.act("inspector", "/sign", map[string]any{"server_seq": 1, "digest": strings.Repeat("0", 64), "statement": "x"}).want(409)
	w.act("inspector", "/sign", map[string]any{"server_seq": 1, "digest": "short", "statement": "x"}).want(422)
	w.act("inspector", "/sign", map[string]any{"server_seq": 1, "digest": strings.Repeat("0", 64), "statement": ""}).want(422)
	if got := w.get("owner", "").want(200).text("sign_off"); got != "none" {
		t.Errorf("sign_off before: got %q", got)
	}
	sign("inspector", state).want(200)
	// The state of a moment ago is not the present one.
	if a := sign("manager", state).want(409); code(a) != "state" {
		t.Errorf("sign an old state: got %s", a.body)
	}
	sign("manager", w.get("manager", "/state").want(200)).want(200)
	signed := w.get("auditor", "/sign-offs").want(200).items()
	if len(signed) != 2 || signed[0]["role"] != "manager" || signed[1]["role"] != "inspector" || signed[0]["current"] != true || signed[1]["current"] != true ||
		signed[1]["digest"] != state.member("digest") || signed[1]["schema"] != "test-session/1" {
		t.Errorf("sign-offs: got %v", signed)
	}
	w.act("inspector", "/lock", reason).want(403)
	w.act("manager", "/lock", reason).want(200)
	w.act("manager", "/lock", reason).want(409)
	w.act("officer", "/reopen", reason).want(409) // locked for good
	if got := w.get("owner", "").want(200); got.text("sign_off") != "current" || got.text("status") != "locked" {
		t.Errorf("locked session: got %s", got.body)
	}

	late := w.results("inspector", "sign-0002", map[string]any{"changes": []any{set("/items/FE-002/result", "fail")}}).want(200)
	if late.member("late") != true {
		t.Errorf("late result: got %s", late.body)
	}
	if got := w.get("owner", "").want(200).text("sign_off"); got != "outdated" {
		t.Errorf("sign_off after an addendum: got %q", got)
	}
	for _, o := range w.get("owner", "/sign-offs").want(200).items() {
		if o["current"] != false {
			t.Errorf("sign-off after an addendum: got %v", o)
		}
	}
	sign("owner", w.get("owner", "/state").want(200)).want(200)
	if got := w.get("owner", "").want(200).text("sign_off"); got != "current" {
		t.Errorf("sign_off after the new one: got %q", got)
	}
	var actions []string
	if err := w.app.DB().Select("action").From(collections.AuditLog).Where(dbx.In("action", "review", "reopen", "lock")).OrderBy("seq").Column(&actions); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(actions, " "); got != "review reopen review lock" {
		t.Errorf("audit entries: got %q", got)
	}
	for _, o := range []string{"/state", "/sign-offs"} {
		w.get("stranger", o).want(404)
	}
	if r, err := w.deps.Merge.Verify(t.Context(), w.session); err != nil || r.Finding != nil {
		t.Errorf("verify: %+v %v", r, err)
	}
}

// A repeat gets the stored answer and signs once.
func TestDecisionsAreIdempotent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const path = "items/FE-001/result"
	pass, fail := w.disagree(path)
	raw, err := json.Marshal(map[string]any{"path": path, "choose": pass, "seen": []string{pass, fail}, "reason": "once"})
	if err != nil {
		t.Fatal(err)
	}
	send := func() answer {
		return w.do(request{method: "POST", path: "/v1/tests/sessions/" + w.session + "/conflicts/resolve", as: "officer", body: raw, header: map[string]string{"Idempotency-Key": "decide-0001"}}).want(200)
	}
	first, second := send(), send()
	if string(first.body) != string(second.body) || second.header.Get("Idempotent-Replayed") != "true" {
		t.Errorf("repeat: got %s, want %s", second.body, first.body)
	}
}
