package api_test

import (
	"strings"
	"testing"

	"firemode/collections"

	"github.com/pocketbase/dbx"
)

// An officer erases a name; nobody else may, and every way of reading shows that it is gone.
func TestRedactOperations(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.tablet("inspector")
	d.sync(`"Jane Citizen let us in"`, "items/FE-001/remark").want(200)
	body := map[string]any{"dots": []any{d.actor + ".1"}, "reason": "a name, on request of its bearer"}
	for as, status := range map[string]int{"": 401, "stranger": 404, "inspector": 403, "manager": 403, "owner": 403, "auditor": 403} {
		w.act(as, "/redactions", body).want(status)
	}
	w.act("officer", "/redactions", map[string]any{"dots": []any{"zzzz.1"}, "reason": "x"}).want(422)
	w.act("officer", "/redactions", map[string]any{"dots": []any{d.actor + ".1"}}).want(422)
	done := w.act("officer", "/redactions", body).want(200)
	if len(done.member("ops").([]any)) != 1 {
		t.Errorf("answer: got %s", done.body)
	}
	w.act("officer", "/redactions", body).want(422) // erased already

	pull := w.do(request{method: "POST", path: "/v1/tests/sessions/" + w.session + "/sync", as: "inspector", body: `{"v":1,"since":0}`,
		header: map[string]string{"Content-Type": "application/x-ndjson"}}).want(200)
	if !strings.Contains(string(pull.body), `,"h":"`) {
		t.Errorf("sync: got %s, want the hash of the original line", pull.body)
	}
	ops := w.get("owner", "/ops").want(200)
	if first := ops.items()[0]; len(first["redacted"].(string)) != 64 {
		t.Errorf("ops: got %v", first)
	}
	history := w.get("owner", "/history?path=items/FE-001/remark").want(200)
	if history.items()[0]["redacted"] != true {
		t.Errorf("history: got %s", history.body)
	}
	for _, a := range []answer{pull, ops, history, w.get("owner", "").want(200), w.get("owner", "/conflicts").want(200), w.get("owner", "/offline-bundle").want(200)} {
		if strings.Contains(string(a.body), "Jane") {
			t.Errorf("still there: %s", a.body)
		}
	}
	var entry string
	err := w.app.DB().NewQuery("SELECT new_values FROM audit_log WHERE action = 'redact' AND resource_id = {:id}").Bind(dbx.Params{"id": w.session}).Row(&entry)
	if err != nil || !strings.Contains(entry, d.actor+".1") || !strings.Contains(entry, "on request") {
		t.Errorf("audit entry: got %s (%v)", entry, err)
	}
	if r, err := w.deps.Merge.Verify(t.Context(), w.session); err != nil || r.Finding != nil {
		t.Errorf("verify: %+v %v", r, err)
	}
}

// Nothing is erased while evidence is under legal hold.
func TestLegalHoldBlocksRedaction(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.tablet("inspector")
	d.sync(`"Jane Citizen"`, "items/FE-001/remark").want(200)
	w.save(collections.Evidence, map[string]any{"session_id": w.session, "evidence_type": "photo", "checksum": strings.Repeat("a", 64), "size": 1,
		"media_type": "image/png", "legal_hold": true, "retain_until": "2040-01-01 00:00:00.000Z"})
	a := w.act("officer", "/redactions", map[string]any{"dots": []any{d.actor + ".1"}, "reason": "a name"}).want(409)
	if a.member("data").(map[string]any)["code"] != "legal_hold" {
		t.Errorf("got %s", a.body)
	}
}
