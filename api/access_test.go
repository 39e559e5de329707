package api_test

import (
	"encoding/json"
	"maps"
	"slices"
	"testing"

	"firemode/collections"
)

// /v1 and PocketBase's record API show the same records to everybody.
func TestListsAgreeWithTheRecordAPI(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.token["admin"] = w.superuser("admin")
	for i := range 3 {
		w.upload("inspector", "agree-000"+string(rune('a'+i)), pngOf(t, uint8(i))).want(201)
	}
	w.foreignEvidence()
	gone := w.do(request{method: "POST", path: "/v1/buildings", as: "stranger", body: map[string]any{"name": "Gone", "address": "x", "building_type": "1"}}).want(201).text("id")
	w.do(request{method: "DELETE", path: "/v1/buildings/" + gone, as: "stranger"}).want(204)
	shown := map[string]int{}
	for who := range w.token {
		for ours, theirs := range map[string]string{
			"/v1/buildings": collections.Buildings, "/v1/tests/sessions": collections.TestSessions,
			"/v1/evidence/session/" + w.session: collections.Evidence,
		} {
			a := w.do(request{method: "GET", path: ours + "?limit=100", as: who})
			got := map[string]bool{}
			if a.status == 200 {
				for _, item := range a.items() {
					got[item["id"].(string)] = true
				}
			} else {
				a.want(404) // a session that one may not see
			}
			filter := ""
			switch theirs {
			case collections.Evidence:
				filter = "&filter=session_id='" + w.session + "'"
			case collections.Buildings:
				filter = "&filter=deleted_at=''" // a superuser's list has no rule
			}
			var page struct{ Items []struct{ ID string } }
			b := w.do(request{method: "GET", path: "/api/collections/" + theirs + "/records?perPage=100" + filter, as: who}).want(200)
			if err := json.Unmarshal(b.body, &page); err != nil {
				t.Fatal(err)
			}
			want := map[string]bool{}
			for _, item := range page.Items {
				want[item.ID] = true
			}
			if !maps.Equal(got, want) {
				t.Errorf("%s, %s: got %v, the record API shows %v", who, ours, slices.Collect(maps.Keys(got)), slices.Collect(maps.Keys(want)))
			}
			shown[theirs] += len(want)
			// And one by one.
			for id := range want {
				if path := map[string]string{collections.Buildings: "/v1/buildings/", collections.TestSessions: "/v1/tests/sessions/", collections.Evidence: "/v1/evidence/"}[theirs]; path != "" {
					w.do(request{method: "GET", path: path + id, as: who}).want(200)
				}
			}
		}
	}
	for name, n := range shown {
		if n < 6 {
			t.Errorf("%s: %d records compared only", name, n)
		}
	}
}
