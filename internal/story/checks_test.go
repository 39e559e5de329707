package story

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"time"
)

// rawNumber is sent as a JSON number with exactly these digits.
type rawNumber string

func (n rawNumber) MarshalJSON() ([]byte, error) { return []byte(n), nil }

// picture is a small PNG of its own.
func picture(random *rand.Rand) []byte {
	img := image.NewRGBA(image.Rect(0, 0, 64, 48))
	for i := range img.Pix {
		img.Pix[i] = uint8(random.UintN(256))
	}
	img.Set(0, 0, color.White)
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		panic(err) // a buffer takes every byte
	}
	return b.Bytes()
}

// operation is one row of the operation log as GET …/ops gives it.
type operation struct {
	N  int64           `json:"n"`
	Op json.RawMessage `json:"op"`
}

// log reads the whole operation log of the session, page by page.
func (s *story) log() []operation {
	s.t.Helper()
	var all []operation
	for after := int64(0); ; {
		var page struct {
			Data    []operation `json:"data"`
			HasMore bool        `json:"has_more"`
		}
		s.must(s.manager, "GET", fmt.Sprintf("/v1/tests/sessions/%s/ops?after=%d&limit=100", s.session, after), 200, nil, &page)
		all = append(all, page.Data...)
		if !page.HasMore {
			return all
		}
		after = page.Data[len(page.Data)-1].N
	}
}

// everyResultOnce: each acknowledged result is in the operation log exactly once,
// and nothing is there that nobody sent.
func (s *story) everyResultOnce() {
	s.t.Helper()
	if err := onceEach(s.acks, s.log()); err != nil {
		s.t.Error(err)
	}
	// The checker can fail: it must notice a lost and a doubled operation.
	ops := s.log()
	if onceEach(s.acks, ops[1:]) == nil || onceEach(s.acks, append(slices.Clone(ops), ops[0])) == nil {
		s.t.Error("the checker does not notice a lost or a doubled operation")
	}
}

// onceEach compares what was acknowledged with what the log holds.
func onceEach(acks []acknowledged, log []operation) error {
	if want := 2 * resultsPerInspector; len(acks) != want {
		return fmt.Errorf("acknowledged results: got %d, want %d", len(acks), want)
	}
	count := map[string]int{}
	for i, op := range log {
		if op.N != int64(i+1) {
			return fmt.Errorf("the log's position %d follows %d", op.N, i)
		}
		var line struct {
			Path  string          `json:"p"`
			Value json.RawMessage `json:"v"`
		}
		if err := json.Unmarshal(op.Op, &line); err != nil {
			return fmt.Errorf("operation %d: %w", op.N, err)
		}
		count[line.Path+"="+string(line.Value)]++
	}
	for _, a := range acks {
		key := ""
		for k := range count {
			if strings.HasPrefix(k, a.path+"=") && strings.Contains(k, a.value) {
				key = k
			}
		}
		if count[key] != 1 {
			return fmt.Errorf("%s = %s is in the log %d times, want once", a.path, a.value, count[key])
		}
		for _, dot := range a.dots {
			if dot != a.dots[0] {
				return fmt.Errorf("%s: the two copies of one request made %s and %s", a.path, a.dots[0], dot)
			}
		}
	}
	if len(log) != len(acks) {
		return fmt.Errorf("the log holds %d operations, want %d", len(log), len(acks))
	}
	return nil
}

// conflictsAreReadable: where both inspectors recorded a value without seeing
// the other's, both stand in the document and in the list of conflicts.
func (s *story) conflictsAreReadable() {
	s.t.Helper()
	var conflicts struct {
		Data []struct {
			Path    string `json:"path"`
			Entries []struct {
				Value  json.RawMessage `json:"value"`
				UserID string          `json:"user_id"`
			} `json:"entries"`
		} `json:"data"`
	}
	s.must(s.manager, "GET", "/v1/tests/sessions/"+s.session+"/conflicts", 200, nil, &conflicts)
	if len(conflicts.Data) != sharedItems {
		s.t.Errorf("conflicts: got %d, want one per shared item, %d", len(conflicts.Data), sharedItems)
	}
	values := map[string]map[string]string{} // path -> user -> value
	for _, c := range conflicts.Data {
		values[c.Path] = map[string]string{}
		for _, e := range c.Entries {
			values[c.Path][e.UserID] = string(e.Value)
		}
	}
	var doc struct {
		SessionData json.RawMessage `json:"session_data"`
	}
	s.must(s.manager, "GET", "/v1/tests/sessions/"+s.session, 200, nil, &doc)
	for _, a := range s.acks {
		if !bytes.Contains(doc.SessionData, []byte(a.value)) {
			s.t.Errorf("the document does not show %s = %s", a.path, a.value)
		}
		if shared(a.path) && values[a.path][a.user] != a.value {
			s.t.Errorf("conflict on %s: got %v, want %s by %s among them", a.path, values[a.path], a.value, a.user)
		}
	}
}

func shared(path string) bool {
	item := strings.Split(path, "/")[1]
	return len(item) == len("FE-000")
}

// photosComeBack: byte for byte, with their hash confirmed by the server.
func (s *story) photosComeBack() {
	s.t.Helper()
	if len(s.photos) != 2*photosPerInspector {
		s.t.Errorf("photos: got %d, want %d", len(s.photos), 2*photosPerInspector)
	}
	for id, want := range s.photos {
		a, err := s.manager.until(s.ctx, "GET", "/v1/evidence/"+id+"/download", nil, nil)
		if err != nil || a.status != 200 || !bytes.Equal(a.body, want) {
			s.t.Errorf("photo %s: got %d bytes with status %d (%v), want the %d bytes that were sent", id, len(a.body), a.status, err, len(want))
		}
		var verdict struct {
			Verified bool `json:"verified"`
		}
		s.must(s.manager, "GET", "/v1/evidence/"+id+"/verify", 200, nil, &verdict)
		if !verdict.Verified {
			s.t.Errorf("photo %s: not verified", id)
		}
	}
}

// subscriberSaw: the feed announced changes, up to the newest. A message may be
// lost with a stream; the position catches up with the next.
func (s *story) subscriberSaw() {
	s.t.Helper()
	newest := int64(2 * resultsPerInspector)
	deadline := time.Now().Add(30 * time.Second)
	for {
		high, events := s.feed.seen()
		if high == newest && events > 1 {
			return
		}
		if time.Now().After(deadline) {
			s.t.Errorf("realtime: %d messages up to position %d, want up to %d", events, high, newest)
			return
		}
		<-time.After(retryEvery)
	}
}

// auditNames: who merged, uploaded and logged in is in the log, and the log verifies.
func (s *story) auditNames() {
	s.t.Helper()
	for _, d := range s.inspectors {
		for entry, want := range map[string]int{
			`action = "merge" && resource_id = "` + s.session + `"`: resultsPerInspector,
			`action = "create" && resource_type = "evidence"`:       photosPerInspector,
			`action = "login" && resource_type = "users"`:           1,
		} {
			filter := url.QueryEscape(fmt.Sprintf("user_id = %q && %s", d.user, entry))
			var list struct {
				TotalItems int `json:"totalItems"`
			}
			s.must(s.superuser(), "GET", "/api/collections/audit_log/records?perPage=1&filter="+filter, 200, nil, &list)
			if list.TotalItems != want {
				s.t.Errorf("audit entries with %s of inspector %s: got %d, want %d", entry, d.user, list.TotalItems, want)
			}
		}
	}
}

// loggedOutTokenIsDead: after logout no route answers the token.
func (s *story) loggedOutTokenIsDead() {
	s.t.Helper()
	d := s.inspectors[0]
	s.must(d, "GET", "/v1/users/me", 200, nil, nil)
	if a, err := d.until(s.ctx, "POST", "/v1/auth/logout", nil, nil); err != nil || a.status/100 != 2 {
		s.t.Fatalf("logout: %d %v %.300s", a.status, err, a.body)
	}
	for _, route := range []string{
		"GET /v1/users/me", "GET /v1/buildings", "POST /v1/tests/sessions", "GET /v1/tests/sessions/" + s.session,
		"POST /v1/tests/sessions/" + s.session + "/results", "POST /v1/evidence", "POST /v1/auth/refresh", "POST /v1/auth/logout",
		"GET /api/collections/buildings/records", "GET /api/collections/test_sessions/records/" + s.session,
		"POST /api/collections/users/auth-refresh", "POST /api/files/token", "POST /api/realtime", "POST /api/batch",
	} {
		method, path, _ := strings.Cut(route, " ")
		a, err := d.once(s.ctx, method, path, map[string]string{"Idempotency-Key": "after-logout"}, map[string]any{})
		if err != nil {
			s.t.Errorf("%s: %v", route, err)
			continue
		}
		var problem struct {
			Code string `json:"error_code"`
		}
		if err := a.decode(&problem); err != nil || a.status != 401 || problem.Code != "FIRE-401" {
			s.t.Errorf("%s with a logged-out token: got %d %.200s, want 401 FIRE-401", route, a.status, a.body)
		}
	}
}
