package api_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"firemode/collections"
	"firemode/crdt"
	"firemode/merge"

	"github.com/pocketbase/dbx"
)

// tablet makes operations under an actor of its own and syncs them with the world's session.
type tablet struct {
	w     *world
	as    string
	actor string
	clock crdt.Clock
	epoch string // that it names, when it does
	chain [32]byte
	seq   uint64
	seen  []crdt.Dot // by whoever makes the next operations
}

func (w *world) tablet(as string) *tablet {
	w.t.Helper()
	d := &tablet{w: w, as: as}
	d.actor = w.do(request{method: "POST", path: "/v1/tests/actors", as: as, body: map[string]any{"device": "tablet of " + as}}).want(200).text("actor")
	d.chain = crdt.ChainStart(w.session, d.actor)
	return d
}

// sync sends one value per path, and returns the answer.
func (d *tablet) sync(value string, paths ...string) answer {
	d.w.t.Helper()
	prev, from := d.chain, d.seq+1
	var lines strings.Builder
	for _, path := range paths {
		d.seq++
		op := crdt.Op{Dot: crdt.Dot{Actor: d.actor, Seq: d.seq}, Time: d.clock.Next(), Kind: crdt.Put, Path: path, Val: value, Seen: d.seen}
		line, _, err := op.Encode()
		if err != nil {
			d.w.t.Fatal(err)
		}
		d.chain = crdt.Chain(d.chain, line)
		lines.Write(line)
		lines.WriteByte('\n')
	}
	b64 := base64.StdEncoding.EncodeToString
	head := fmt.Sprintf(`{"v":1,"epoch":"%s","since":0,"actor":"%s","from":%d,"prev":"%s","head":"%s"}`+"\n", d.epoch, d.actor, from, b64(prev[:]), b64(d.chain[:]))
	return d.w.do(request{method: "POST", path: "/v1/tests/sessions/" + d.w.session + "/sync", as: d.as, body: head + lines.String(),
		header: map[string]string{"Content-Type": "application/x-ndjson"}})
}

// An inspector's grant ends while they are on a roof without network. What they recorded
// arrives in quarantine, the queue moves on, and an officer admits it.
func TestLapsedRightsAreQuarantined(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.tablet("inspector")
	d.sync(`"pass"`, "items/FE-001/result").want(200)
	if _, err := w.app.NonconcurrentDB().Update(collections.BuildingGrants, dbx.Params{"ends_at": "2020-02-01 00:00:00.000Z"}, nil).Execute(); err != nil {
		t.Fatal(err)
	}
	// The memory of the right ends with the change through the application.
	grant, err := w.app.FindFirstRecordByData(collections.BuildingGrants, "building_id", w.building)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.app.Save(grant); err != nil {
		t.Fatal(err)
	}
	a := d.sync(`"fail"`, "items/FE-002/result", "items/FE-003/result").want(200)
	first, rest, _ := strings.Cut(string(a.body), "\n")
	var ack struct {
		Acked       int
		Quarantined bool
	}
	if err := json.Unmarshal([]byte(first), &ack); err != nil || ack.Acked != 3 || !ack.Quarantined || rest != "" {
		t.Errorf("answer: got %s, want an acknowledgement alone", a.body)
	}
	w.get("inspector", "/ops").want(404)
	w.results("inspector", "lapsed-0001", map[string]any{"changes": []any{set("/a", 1)}}).want(404)
	// The client's right has ended too, and it never wrote to this session: its grant tells.
	w.tablet("client").sync(`"x"`, "items/FE-004/remark").want(200)
	// Somebody who never had a right is refused as before.
	w.tablet("stranger").sync(`"x"`, "items/FE-004/remark").want(404)

	list := w.get("officer", "/quarantine").want(200).items()
	if len(list) != 3 || list[0]["path"] != "items/FE-002/result" || fmt.Sprint(list[0]["causes"]) != "[lapsed_right]" {
		t.Fatalf("quarantine: got %v", list)
	}
	// By pages, each operation once.
	var paged []string
	for path := "/quarantine?limit=2"; path != ""; {
		page := w.get("officer", path).want(200)
		for _, item := range page.items() {
			paged = append(paged, fmt.Sprint(item["dot"]))
		}
		next, _ := page.member("next_cursor").(string)
		if path = ""; next != "" {
			path = "/quarantine?limit=2&cursor=" + next
		}
	}
	if len(paged) != 3 || paged[0] != list[0]["dot"] || paged[2] != list[2]["dot"] {
		t.Errorf("by pages: got %v, want %v", paged, list)
	}
	w.get("officer", "/quarantine?cursor=x").want(400)
	w.get("stranger", "/quarantine").want(404)
	body := map[string]any{"dots": []any{list[0]["dot"]}, "reason": "the visit was agreed on the telephone"}
	w.act("owner", "/quarantine/admit", body).want(403)
	w.act("stranger", "/quarantine/admit", body).want(404)
	w.act("", "/quarantine/admit", body).want(401)
	w.act("officer", "/quarantine/admit", map[string]any{"dots": []any{}, "reason": "x"}).want(422)
	w.act("officer", "/quarantine/admit", map[string]any{"dots": []any{"x"}, "reason": "x"}).want(422)
	w.act("officer", "/quarantine/admit", map[string]any{"dots": []any{list[0]["dot"]}}).want(422)
	w.act("officer", "/quarantine/admit", body).want(200)
	w.act("officer", "/quarantine/admit", body).want(422)
	if doc := string(w.get("owner", "").want(200).body); strings.Count(doc, `"$value":"fail"`) != 1 || !strings.Contains(doc, "agreed on the telephone") {
		t.Errorf("document: got %s", doc)
	}
	history := w.get("owner", "/history?path=items/FE-002/result").want(200).items()
	if history[0]["admitted"] != true || history[0]["live"] != true {
		t.Errorf("history: got %v", history)
	}
	if r, err := w.deps.Merge.Verify(t.Context(), w.session); err != nil || r.Finding != nil {
		t.Errorf("verify: %+v %v", r, err)
	}
}

// Managers write results themselves, and do not admit their own.
func TestNobodyAdmitsTheirOwn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.tablet("manager")
	w.do(request{method: "POST", path: "/v1/tests/actors/" + d.actor + "/revoke", as: "manager", body: map[string]any{"reason": "lost"}}).want(200)
	d.sync(`"pass"`, "items/FE-001/result").want(200)
	body := map[string]any{"dots": []any{d.actor + ".1"}, "reason": "I know what I saw"}
	w.act("manager", "/quarantine/admit", body).want(403)
	w.act("officer", "/quarantine/admit", body).want(200)
}

// A manager's device admits by an operation of its own; anybody else's is quarantined.
func TestDevicesOfManagersAdmit(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	lost := w.tablet("inspector")
	w.do(request{method: "POST", path: "/v1/tests/actors/" + lost.actor + "/revoke", as: "inspector", body: map[string]any{"reason": "lost"}}).want(200)
	lost.sync(`"fail"`, "items/FE-001/result").want(200)
	for _, as := range []string{"client", "manager"} {
		d := w.tablet(as)
		d.seen = []crdt.Dot{{Actor: lost.actor, Seq: 1}}
		a := d.sync(`{"reason":"seen on the photo"}`, merge.AdmittedPath).want(200)
		if got, want := strings.Contains(string(a.body), `"quarantined":true`), as != "manager"; got != want {
			t.Errorf("admission by the %s: quarantined %t, want %t", as, got, want)
		}
	}
	if got := w.get("manager", "/history?path=items/FE-001/result").want(200).items(); got[0]["live"] != true {
		t.Errorf("after the manager's admission: got %v, want it live", got)
	}
}

// A device whose position the log does not have is told that the server was restored.
func TestRestoredLogsAreNoticed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.tablet("inspector")
	d.sync(`"pass"`, "items/FE-001/result").want(200)
	ops := w.get("inspector", "/ops").want(200)
	if ops.text("epoch") == "" {
		t.Errorf("ops: got %s, want an epoch", ops.body)
	}
	pull := func(since int) answer {
		return w.do(request{method: "POST", path: "/v1/tests/sessions/" + w.session + "/sync", as: "inspector", body: fmt.Sprintf(`{"v":1,"since":%d}`, since),
			header: map[string]string{"Content-Type": "application/x-ndjson"}})
	}
	if a := pull(1).want(200); !strings.Contains(string(a.body), `"epoch":"`+ops.text("epoch")+`"`) || !strings.Contains(string(a.body), `"n":1`) {
		t.Errorf("sync: got %s", a.body)
	}
	for _, a := range []answer{pull(2), w.get("inspector", "/ops?after=2")} {
		if data := a.want(409).member("data").(map[string]any); data["code"] != "restored" || data["epoch"] != ops.text("epoch") || data["n"] != 1.0 {
			t.Errorf("beyond the end: got %s", a.body)
		}
	}
}

// A device that names another epoch than the log has is told at once and nothing of its is
// stored: the names in its operations may mean others' operations by now, which it would
// replace without having seen them.
func TestOperationsForAnotherEpochAreNotStored(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.tablet("inspector")
	d.sync(`"pass"`, "items/FE-001/result").want(200)
	d.epoch = w.get("inspector", "/ops").want(200).text("epoch")
	d.sync(`"pass"`, "items/FE-002/result").want(200)
	own := d.epoch
	d.epoch = "before the restore"
	for name, a := range map[string]answer{
		"with operations": d.sync(`"fail"`, "items/FE-003/result"),
		"without": w.do(request{method: "POST", path: "/v1/tests/sessions/" + w.session + "/sync", as: "inspector",
			body: `{"v":1,"epoch":"before the restore","since":0}`, header: map[string]string{"Content-Type": "application/x-ndjson"}}),
	} {
		if data := a.want(409).member("data").(map[string]any); data["code"] != "restored" || data["epoch"] != own {
			t.Errorf("%s: got %s, want code restored and epoch %s", name, a.body, own)
		}
	}
	if n := len(w.get("inspector", "/ops").want(200).items()); n != 2 {
		t.Errorf("got %d operations in the log, want 2", n)
	}
}
