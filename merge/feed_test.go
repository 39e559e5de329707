package merge

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"firemode/collections"
	"firemode/internal/testapp"

	"github.com/pocketbase/pocketbase/apis"
	"github.com/pocketbase/pocketbase/core"
	"github.com/pocketbase/pocketbase/tools/subscriptions"
)

// manager makes a manager of an organisation and returns its token.
func manager(t *testing.T, app core.App, organisation string) (token string) {
	t.Helper()
	c, err := app.FindCollectionByNameOrId(collections.Users)
	if err != nil {
		t.Fatal(err)
	}
	r := core.NewRecord(c)
	name := "m" + strings.ReplaceAll(organisation, "-", "")
	r.Load(map[string]any{"username": name, "email": name + "@example.com", "full_name": "M", "role": collections.RoleManager, "is_active": true, "organisation_id": organisation})
	r.SetRaw("password", &core.PasswordFieldValue{Hash: "$argon2id$never-used"})
	r.RefreshTokenKey()
	if err := app.SaveNoValidate(r); err != nil {
		t.Fatal(err)
	}
	if token, err = r.NewAuthToken(); err != nil {
		t.Fatal(err)
	}
	return token
}

// stream is one realtime connection.
type stream struct {
	url, id  string
	messages chan subscriptions.Message
}

func connect(t *testing.T, url string) *stream {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	req, _ := http.NewRequestWithContext(ctx, "GET", url+"/api/realtime", nil)
	client := &http.Client{Transport: &http.Transport{}}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	s := &stream{url: url, messages: make(chan subscriptions.Message, 10_000)}
	done := make(chan struct{})
	t.Cleanup(func() {
		cancel()
		res.Body.Close()
		<-done
		client.CloseIdleConnections()
	})
	go func() {
		defer close(done)
		defer close(s.messages)
		var m subscriptions.Message
		for lines := bufio.NewScanner(res.Body); lines.Scan(); {
			switch key, value, _ := strings.Cut(lines.Text(), ":"); key {
			case "event":
				m.Name = value
			case "data":
				m.Data = []byte(value)
			case "":
				s.messages <- m
			}
		}
	}()
	var hello struct{ ClientID string }
	if err := json.Unmarshal(s.next(t).Data, &hello); err != nil {
		t.Fatal(err)
	}
	s.id = hello.ClientID
	return s
}

func (s *stream) next(t *testing.T) subscriptions.Message {
	t.Helper()
	select {
	case m := <-s.messages:
		return m
	case <-time.After(20 * time.Second):
		t.Fatal("no realtime message")
	}
	return subscriptions.Message{}
}

func (s *stream) subscribe(t *testing.T, token string, topics ...string) int {
	t.Helper()
	body, _ := json.Marshal(map[string]any{"clientId": s.id, "subscriptions": topics})
	req, _ := http.NewRequest("POST", s.url+"/api/realtime", bytes.NewReader(body))
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", token)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	return res.StatusCode
}

func TestFeedIsInOrderAndChecked(t *testing.T) {
	t.Parallel()
	const recordInterval = 50 * time.Millisecond
	s, app := service(t, Config{RecordInterval: recordInterval})
	id := session(t, app)
	var owner string
	if err := app.DB().NewQuery("SELECT organisation_id FROM buildings").Row(&owner); err != nil {
		t.Fatal(err)
	}
	other := save(t, app, collections.Organisations, map[string]any{"name": "Another", "kind": "contractor"}).Id
	url := testapp.Serve(t, app)
	mine, theirs := manager(t, app, owner), manager(t, app, other)

	c := connect(t, url)
	for _, refused := range []struct{ token, topic string }{
		{"", Topic(id)}, {theirs, Topic(id)}, {mine, Topic("no-such-session")}, {mine, "sessions/" + id}, {mine, "sessions/" + id + "/ops/x"}, {mine, "sessions/*/ops"},
	} {
		if got := c.subscribe(t, refused.token, refused.topic); got != http.StatusForbidden {
			t.Errorf("subscribe to %s: got %d, want 403", refused.topic, got)
		}
	}
	if got := c.subscribe(t, mine, Topic(id), "test_sessions/*"); got != http.StatusNoContent {
		t.Fatalf("subscribe: got %d, want 204", got)
	}
	const n = 60
	started := time.Now()
	for i := range n {
		change(t, s, ChangeRequest{SessionID: id, UserID: "anna", Changes: []Change{{Op: OpAppend, Path: "notes", Value: fmt.Appendf(nil, `"note %d"`, i)}}})
	}
	var last int64
	var record struct {
		Action string
		Record struct {
			ServerSeq int64 `json:"server_seq"`
		}
	}
	records := 0
	for last < n || record.Record.ServerSeq < n {
		m := c.next(t)
		if m.Name != Topic(id) {
			records++
			if err := json.Unmarshal(m.Data, &record); err != nil || record.Action != "update" {
				t.Fatalf("record event: got %s (%v)", m.Data, err)
			}
			continue
		}
		var got news
		if err := json.Unmarshal(m.Data, &got); err != nil {
			t.Fatal(err)
		}
		if got.After != last || got.N <= last || len(got.Rows) != int(got.N-got.After) || got.Rows[0].N != last+1 {
			t.Fatalf("message after %d: got %s", last, m.Data)
		}
		last = got.N
	}
	if most := int(time.Since(started)/recordInterval) + 2; records > most {
		t.Errorf("record events: got %d in %v, want at most %d", records, time.Since(started), most)
	}
}

// A page of operations too large for a message becomes a hint.
func TestLargeNewsIsAHint(t *testing.T) {
	t.Parallel()
	line := []byte(`"` + strings.Repeat("x", feedRowsMaxBytes/2) + `"`)
	m := &news{After: 0}
	m.add([]Row{{N: 1, Line: line}})
	if len(m.Rows) != 1 {
		t.Errorf("small news: got %d rows, want 1", len(m.Rows))
	}
	m.add([]Row{{N: 2, Line: line}})
	m.add([]Row{{N: 3}})
	if m.Rows != nil || m.N != 3 || m.After != 0 {
		t.Errorf("large news: got %+v, want after 0, n 3 and no rows", m)
	}
}

// One consumer that does not read is dropped; nobody waits for it.
func TestSlowClientIsDropped(t *testing.T) {
	t.Parallel()
	s, app := service(t, Config{})
	id := session(t, app)
	superusers, err := app.FindCollectionByNameOrId(collections.Superusers)
	if err != nil {
		t.Fatal(err)
	}
	slow := newBoundedClient(3)
	brisk := newBoundedClient(clientMessagesMax)
	for _, c := range []*boundedClient{slow, brisk} {
		c.Set(apis.RealtimeClientAuthKey, core.NewRecord(superusers)) // may see every session
		c.Subscribe(Topic(id))
		app.SubscriptionsBroker().Register(c)
	}
	for i := range 6 {
		change(t, s, ChangeRequest{SessionID: id, UserID: "anna", Changes: []Change{set("title", fmt.Sprint(i))}})
		if m := <-brisk.Channel(); m.Name != Topic(id) {
			t.Errorf("brisk client: got %q", m.Name)
		}
	}
	if !slow.IsDiscarded() || brisk.IsDiscarded() {
		t.Errorf("dropped: got slow %v and brisk %v, want the slow one alone", slow.IsDiscarded(), brisk.IsDiscarded())
	}
	var ns []int64
	for m := range slow.Channel() {
		var got news
		_ = json.Unmarshal(m.Data, &got)
		ns = append(ns, got.N)
	}
	if fmt.Sprint(ns) != "[1 2 3]" {
		t.Errorf("slow client: got %v before the drop, want [1 2 3]", ns)
	}
	// A client whose account lost its tokens hears nothing more.
	brisk.Unset(apis.RealtimeClientAuthKey)
	change(t, s, ChangeRequest{SessionID: id, UserID: "anna", Changes: []Change{set("title", `"x"`)}})
	s.Stop()
	if len(brisk.Channel()) != 0 {
		t.Error("a signed-out client got a message")
	}
	slow.Discard()
	brisk.Discard()
	brisk.Discard()
	brisk.Send(subscriptions.Message{})
}

// Whoever loses the sight of a session hears no more of it on a stream that stands.
func TestFeedEndsWithTheRight(t *testing.T) {
	t.Parallel()
	s, app := service(t, Config{})
	lost, kept := session(t, app), session(t, app)
	var organisation string
	if err := app.DB().NewQuery("SELECT organisation_id FROM buildings b JOIN test_sessions s ON s.building_id = b.id WHERE s.id = {:id}").Bind(map[string]any{"id": kept}).Row(&organisation); err != nil {
		t.Fatal(err)
	}
	if _, err := app.DB().NewQuery("UPDATE buildings SET organisation_id = {:o}, name = id").Bind(map[string]any{"o": organisation}).Execute(); err != nil {
		t.Fatal(err)
	}
	c := connect(t, testapp.Serve(t, app))
	if got := c.subscribe(t, manager(t, app, organisation), Topic(lost), Topic(kept)); got != http.StatusNoContent {
		t.Fatalf("subscribe: got %d, want 204", got)
	}
	write := func(id string) {
		change(t, s, ChangeRequest{SessionID: id, UserID: "anna", Changes: []Change{{Op: OpAppend, Path: "notes", Value: []byte(`"x"`)}}})
	}
	write(lost)
	if m := c.next(t); m.Name != Topic(lost) {
		t.Fatalf("before: got %s, want the session that is seen", m.Name)
	}
	if _, err := app.DB().NewQuery("UPDATE buildings SET organisation_id = 'elsewhere' WHERE id = (SELECT building_id FROM test_sessions WHERE id = {:id})").Bind(map[string]any{"id": lost}).Execute(); err != nil {
		t.Fatal(err)
	}
	write(lost)
	for range 2 { // two rounds, since one round sends in any order
		write(kept)
		if m := c.next(t); m.Name != Topic(kept) {
			t.Fatalf("after: got %s, want the session that is still seen", m.Name)
		}
	}
}
