package adminui_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"firemode/adminui"
	"firemode/collections"

	"github.com/pocketbase/pocketbase/apis"
)

// No answer to a restricted role carries a hidden or sealed value: not in lists,
// views or expands.
func TestHiddenValuesStayOnTheServer(t *testing.T) {
	t.Parallel()
	w := newWorld(t, adminui.Config{})
	paths := []string{
		"/api/collections/buildings/records", "/api/collections/buildings/records/" + w.ids["buildings"],
		"/api/collections/users/records", "/api/collections/users/records/" + w.ids["users"],
		"/api/collections/buildings/records?expand=owner_id,test_sessions_via_building_id.building_id",
		"/api/collections/building_grants/records?expand=user_id,building_id",
	}
	for _, path := range paths {
		if _, raw, _ := w.raw("GET", path, w.token(adminEmail), nil); !strings.Contains(string(raw), sealedName) {
			t.Errorf("admin GET %s: no sealed name, so the check below proves nothing", path)
		}
		for _, email := range []string{officerEmail, auditorEmail} {
			_, raw, _ := w.raw("GET", path, w.token(email), nil)
			for _, secret := range []string{sealedName, sealedPhone, "tokenKey", "phone_index", "contact_name", "tokens_valid_after"} {
				if strings.Contains(string(raw), secret) {
					t.Errorf("%s GET %s: the answer holds %s", email, path, secret)
				}
			}
		}
	}
	_, raw, _ := w.raw("GET", "/api/collections/evidence/records", w.token(auditorEmail), nil)
	if strings.Contains(string(raw), "-37.8") {
		t.Error("auditor: evidence carries the place of the photograph")
	}
	_, raw, _ = w.raw("GET", "/api/collections/audit_log/records", w.token(auditorEmail), nil)
	if strings.Contains(string(raw), "192.0.2.7") {
		t.Error("auditor: the audit log carries addresses")
	}
}

func TestCollectionsAreDescribedWithoutSecrets(t *testing.T) {
	t.Parallel()
	w := newWorld(t, adminui.Config{})
	for _, email := range []string{officerEmail, auditorEmail} {
		status, raw, _ := w.raw("GET", "/api/collections?perPage=500&skipTotal=1", w.token(email), nil)
		if status != http.StatusOK {
			t.Fatalf("%s: got %d, want 200", email, status)
		}
		var page struct {
			Items []struct {
				Name   string
				Fields []struct{ Name, Type, CollectionID string }
			}
		}
		if err := json.Unmarshal(raw, &page); err != nil {
			t.Fatal(err)
		}
		seen := map[string]bool{}
		for _, c := range page.Items {
			seen[c.Name] = true
			for _, f := range c.Fields {
				if c.Name == collections.Buildings && f.Name == collections.FieldOwnerID {
					want := "relation"
					if email == auditorEmail {
						want = "text"
					}
					if f.Type != want {
						t.Errorf("%s: buildings.owner_id: got type %s, want %s", email, f.Type, want)
					}
				}
			}
		}
		for name, e := range readable {
			if seen[name] != e.of(email) {
				t.Errorf("%s: collection %s described: got %v, want %v", email, name, seen[name], e.of(email))
			}
		}
		for _, part := range []string{"@request", "tokenKey", "phone_index", "CREATE INDEX", "passwordAuth", "authToken"} {
			if strings.Contains(string(raw), part) {
				t.Errorf("%s: the description holds %q", email, part)
			}
		}
	}
	_, settings, _ := w.raw("GET", "/api/settings", w.token(officerEmail), nil)
	for _, part := range []string{"smtp", "s3", "backups", "rateLimits", "trustedProxy", "sender"} {
		if strings.Contains(string(settings), part) {
			t.Errorf("officer: settings hold %q: %s", part, settings)
		}
	}
}

func TestFilesFollowTheTable(t *testing.T) {
	t.Parallel()
	w := newWorld(t, adminui.Config{})
	path := "/api/files/evidence/" + w.ids[collections.Evidence] + "/" + w.fileName
	for email, status := range map[string]int{adminEmail: 200, officerEmail: 200, auditorEmail: 403} {
		code, body := w.do("POST", "/api/files/token", w.token(email), nil)
		token, _ := body["token"].(string)
		if code != http.StatusOK || token == "" {
			t.Fatalf("%s file token: got %d %v", email, code, body)
		}
		// The browser sends the file token alone.
		if got, _ := w.do("GET", path+"?token="+token, "", nil); got != status {
			t.Errorf("%s GET evidence file: got %d, want %d", email, got, status)
		}
		if email != adminEmail {
			if got, _ := w.do("GET", "/api/backups/x.zip?token="+token, "", nil); got != http.StatusForbidden {
				t.Errorf("%s GET backup: got %d, want 403", email, got)
			}
		}
	}
	if got, _ := w.do("GET", path, "", nil); got != http.StatusNotFound {
		t.Errorf("no token: got %d, want 404", got)
	}
}

// listener is one realtime connection.
type listener struct {
	id     string
	events chan string // names of messages
}

func (w *world) listen() listener {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), "GET", w.url+"/api/realtime", nil)
	if err != nil {
		w.t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { res.Body.Close() })
	l := listener{events: make(chan string, 64)}
	ids := make(chan string, 1)
	go func() {
		defer close(l.events)
		scanner := bufio.NewScanner(res.Body)
		for scanner.Scan() {
			if id, ok := strings.CutPrefix(scanner.Text(), "id:"); ok && len(ids) == 0 {
				select {
				case ids <- id:
				default:
				}
			}
			if event, ok := strings.CutPrefix(scanner.Text(), "event:"); ok {
				l.events <- event
			}
			if data, ok := strings.CutPrefix(scanner.Text(), "data:"); ok && strings.Contains(data, sealedName) {
				l.events <- "LEAK " + data
			}
		}
	}()
	select {
	case l.id = <-ids:
	case <-time.After(10 * time.Second):
		w.t.Fatal("realtime: no connection message within 10 s")
	}
	return l
}

// next returns the next message but the first one of the connection.
func (l listener) next(t *testing.T) string {
	t.Helper()
	for {
		select {
		case event := <-l.events:
			if event != "PB_CONNECT" {
				return event
			}
		case <-time.After(10 * time.Second):
			t.Fatal("realtime: no message within 10 s")
		}
	}
}

func TestTopicsFollowTheTable(t *testing.T) {
	t.Parallel()
	w := newWorld(t, adminui.Config{})
	for _, email := range []string{officerEmail, auditorEmail} {
		l := w.listen()
		for name, e := range readable {
			admitted := e.of(email)
			for _, topic := range []string{name, name + "/*", name + "/x", name + "/*?options=" + `{"query":{"sort":"id"}}`} {
				status, _ := w.do("POST", "/api/realtime", w.token(email), map[string]any{"clientId": l.id, "subscriptions": []string{topic}})
				want := http.StatusForbidden
				if admitted {
					want = http.StatusNoContent
				}
				if status != want {
					t.Errorf("%s subscribe %s: got %d, want %d", email, topic, status, want)
				}
			}
		}
		for _, topic := range []string{"firemode/anything", "@oauth2", `buildings/*?options={"query":{"expand":"owner_id.x"}}`, `buildings/*?options={"query":{"filter":"contact_name!=''"}}`, `buildings/*?options=nonsense`} {
			status, _ := w.do("POST", "/api/realtime", w.token(email), map[string]any{"clientId": l.id, "subscriptions": []string{"buildings/*", topic}})
			if status != http.StatusForbidden {
				t.Errorf("%s subscribe %s: got %d, want 403", email, topic, status)
			}
		}
	}
}

// A message carries no sealed value, and a changed role counts at once.
func TestMessagesFollowTheTable(t *testing.T) {
	t.Parallel()
	w := newWorld(t, adminui.Config{})
	l := w.listen()
	status, body := w.do("POST", "/api/realtime", w.token(adminEmail), map[string]any{"clientId": l.id, "subscriptions": []string{"users/*", "idempotency_keys/*", "buildings/*"}})
	if status != http.StatusNoContent {
		t.Fatalf("subscribe: got %d %v, want 204", status, body)
	}
	building, err := w.app.FindRecordById(collections.Buildings, w.ids[collections.Buildings])
	if err != nil {
		t.Fatal(err)
	}
	rename := func(n int) {
		t.Helper()
		building.Set("name", fmt.Sprint("Renamed ", n))
		if err := w.app.Save(building); err != nil {
			t.Fatal(err)
		}
	}
	rename(1)
	// As an administrator: the message and, in its data, the sealed name.
	got := []string{l.next(t), l.next(t)}
	if !strings.Contains(got[0]+got[1], "LEAK") {
		t.Errorf("administrator: got %q, want a message with the sealed name, or the check below proves nothing", got)
	}
	// The account becomes an auditor's. Only the connection learns of it here,
	// because a saved change of role ends connections altogether.
	client, err := w.app.SubscriptionsBroker().ClientById(l.id)
	if err != nil {
		t.Fatal(err)
	}
	auditor, err := w.app.FindAuthRecordByEmail(collections.Superusers, adminEmail)
	if err != nil {
		t.Fatal(err)
	}
	auditor.Set(collections.FieldRole, collections.RoleAuditor)
	client.Set(apis.RealtimeClientAuthKey, auditor)
	w.add(collections.Users, map[string]any{"email": "new@example.com", "username": "newcomer", "role": "inspector", "organisation_id": w.org, "is_active": true, "full_name": sealedName})
	rename(2)
	if event := l.next(t); !strings.HasPrefix(event, "buildings/*") {
		t.Errorf("auditor: got message %q, want only the building's", event)
	}
	rename(3)
	if event := l.next(t); !strings.HasPrefix(event, "buildings/*") {
		t.Errorf("auditor: got message %q, want the building's without sealed values", event)
	}
}
