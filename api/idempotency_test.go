package api_test

import (
	"sync/atomic"
	"testing"
	"time"

	"firemode/api"
	"firemode/collections"
)

// A key is good for a day: then the same request is a new act.
func TestIdempotencyKeysExpire(t *testing.T) {
	t.Parallel()
	var ahead atomic.Int64
	w := newWorld(t, func(d *api.Deps) { d.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) } })
	create := func(name string) answer {
		return w.do(request{method: "POST", path: "/v1/tests/sessions", as: "inspector", header: map[string]string{"Idempotency-Key": "day-0001"},
			body: map[string]any{"building_id": w.building, "session_name": name}})
	}
	first := create("one").want(201).text("session_id")
	if again := create("one").want(201); again.text("session_id") != first || again.header.Get("Idempotent-Replayed") != "true" {
		t.Errorf("a repeat: got %s, want %s", again.body, first)
	}
	if a := create("two").want(409); a.member("retryable") != false {
		t.Errorf("another body: got %s, want it not retryable", a.body)
	}
	ahead.Store(int64(25 * time.Hour))
	if again := create("one").want(201); again.text("session_id") == first {
		t.Error("the answer was replayed after a day")
	}
	if n, err := w.app.CountRecords(collections.IdempotencyKeys); err != nil || n != 1 {
		t.Errorf("rows: got %d (%v), want the new one in the place of the expired one", n, err)
	}
	ahead.Store(int64(50 * time.Hour))
	for _, job := range w.app.Cron().Jobs() {
		if job.Id() == "firemode.idempotency.sweep" || job.Id() == "firemode.evidence.sweep" {
			job.Run()
		}
	}
	if n, err := w.app.CountRecords(collections.IdempotencyKeys); err != nil || n != 0 {
		t.Errorf("rows after the sweep: got %d (%v), want none", n, err)
	}
}

// Refusals are judged anew: nothing of them is stored.
func TestIdempotencyKeepsNoRefusal(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	key := map[string]string{"Idempotency-Key": "refused-0001"}
	body := map[string]any{"name": "Depot", "address": "9 Rail Ave", "building_type": "8"}
	w.do(request{method: "POST", path: "/v1/buildings", body: body, header: key}).want(401)
	w.do(request{method: "POST", path: "/v1/buildings", as: "inspector", body: body, header: key}).want(403)
	w.do(request{method: "POST", path: "/v1/buildings", as: "manager", body: map[string]any{"name": "Depot"}, header: key}).want(422)
	w.do(request{method: "POST", path: "/v1/buildings", as: "manager", body: body, header: key}).want(201)
	w.do(request{method: "POST", path: "/v1/buildings", as: "officer", body: body, header: key}).want(409)
	if n, err := w.app.CountRecords(collections.IdempotencyKeys); err != nil || n != 1 {
		t.Errorf("stored answers: got %d (%v), want 1", n, err)
	}
}
