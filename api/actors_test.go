package api_test

import (
	"strings"
	"testing"

	"firemode/collections"
)

// A lost tablet is revoked by its owner or by staff; what it still sends is kept
// without effect.
func TestActors(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	issue := func(as string) string {
		return w.do(request{method: "POST", path: "/v1/tests/actors", as: as, body: map[string]any{"device": "tablet of " + as}}).want(200).text("actor")
	}
	mine, theirs := issue("inspector"), issue("stranger")
	list := func(as string) string {
		var ids []string
		for _, a := range w.do(request{method: "GET", path: "/v1/tests/actors", as: as}).want(200).items() {
			ids = append(ids, a["actor"].(string))
		}
		return strings.Join(ids, " ")
	}
	for as, want := range map[string]string{"inspector": mine, "officer": mine, "manager": mine, "client": "", "stranger": theirs} {
		if got := list(as); got != want {
			t.Errorf("actors seen by %s: got %q, want %q", as, got, want)
		}
	}
	admin := w.superuser(collections.RoleAdmin)
	if got := w.do(request{method: "GET", path: "/v1/tests/actors", token: admin}).want(200).items(); len(got) != 2 {
		t.Errorf("actors seen by the administrator: got %d, want 2", len(got))
	}

	revoke := func(as, actor string, body map[string]any) answer {
		return w.do(request{method: "POST", path: "/v1/tests/actors/" + actor + "/revoke", as: as, body: body})
	}
	why := map[string]any{"reason": "left on a roof"}
	revoke("inspector", mine, map[string]any{}).want(422)
	revoke("client", mine, why).want(404)
	revoke("stranger", mine, why).want(404)
	revoke("officer", theirs, why).want(404)
	revoke("officer", "nosuchactor2", why).want(404)
	revoke("", mine, why).want(401)
	revoke("officer", mine, why).want(200)
	revoke("inspector", mine, why).want(200) // already; one entry
	var n int
	if err := w.app.DB().NewQuery("SELECT count(*) FROM audit_log WHERE action = 'revoke' AND resource_id = {:id} AND new_values LIKE '%left on a roof%'").
		Bind(map[string]any{"id": mine}).Row(&n); err != nil || n != 1 {
		t.Errorf("audit entries: got %d (%v), want 1", n, err)
	}
	if got := w.do(request{method: "GET", path: "/v1/tests/actors", as: "inspector"}).want(200).items(); got[0]["revoked"] != true {
		t.Errorf("actor afterwards: got %v", got)
	}
	if again := issue("inspector"); again == mine {
		t.Error("a revoked actor id is issued again")
	}
}
