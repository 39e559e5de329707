package api_test

import (
	"fmt"
	"testing"
)

// The list over all sessions shows what the caller may see, by pages, and filters.
func TestListAllConflicts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.disagree("items/FE-001/result")
	pass, fail := w.disagree("items/FE-002/value")
	w.disagree("items/FE-003/result")
	list := func(as, query string) answer {
		return w.do(request{method: "GET", path: "/v1/conflicts" + query, as: as})
	}
	list("", "").want(401)
	if got := list("stranger", "").want(200).items(); len(got) != 0 {
		t.Errorf("somebody of another organisation sees %v", got)
	}
	for _, as := range []string{"officer", "inspector", "owner"} {
		got := list(as, "").want(200).items()
		if len(got) != 3 || got[0]["path"] != "items/FE-003/result" || got[0]["session_id"] != w.session || got[0]["building_id"] != w.building ||
			got[0]["policy"] != "worst" || got[0]["values"] != 2.0 || got[0]["resolved_at"] != nil || got[0]["session_name"] == "" {
			t.Errorf("%s: got %v", as, got)
		}
	}
	w.act("officer", "/conflicts/resolve", map[string]any{"path": "items/FE-002/value", "choose": fail, "seen": []string{pass, fail}, "reason": "read again"}).want(200)
	for query, want := range map[string]int{
		"": 2, "?status=resolved": 1, "?status=all": 3, "?policy=mv": 0, "?policy=mv&status=all": 1, "?path=items/FE-001": 1,
		"?path=items%25": 0, "?session_id=" + w.session: 2, "?session_id=other": 0, "?building_id=" + w.building: 2, "?building_id=other": 0,
	} {
		if got := list("officer", query).want(200).items(); len(got) != want {
			t.Errorf("%s: got %d, want %d", query, len(got), want)
		}
	}
	seen := map[string]bool{}
	for cursor := ""; ; {
		page := list("officer", "?status=all&limit=1&cursor="+cursor).want(200)
		seen[fmt.Sprint(page.items()[0]["path"])] = true
		if page.member("has_more") != true {
			break
		}
		cursor = page.text("next_cursor")
	}
	if len(seen) != 3 {
		t.Errorf("pages: got %v, want each conflict once", seen)
	}
	next := list("officer", "?limit=1").want(200).text("next_cursor")
	list("officer", "?limit=1&status=all&cursor="+next).want(400)
	list("officer", "?cursor=nonsense").want(400)
	list("officer", "?status=lost").want(422)
}
