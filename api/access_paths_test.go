//go:build !race

package api_test

import (
	"bufio"
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"firemode/collections"

	"github.com/pocketbase/pocketbase/core"
)

// The read paths beside lists: expand, files, realtime messages, batch.

// expandable are the names that expand takes on a collection, with what each leads to.
func (c *census) expandable(collection *core.Collection) map[string]*core.Collection {
	out := map[string]*core.Collection{}
	for _, f := range relations(collection) {
		out[f.Name] = c.collection(f.CollectionId)
	}
	for _, from := range c.all {
		for _, f := range relations(from) {
			if f.CollectionId == collection.Id {
				out[from.Name+"_via_"+f.Name] = from
			}
		}
	}
	return out
}

// checkExpand expands every relation of a collection, forward and back, which
// shows exactly what may be seen, and further ones from one record, which show
// no more.
func (c *census) checkExpand(p person, collection *core.Collection) {
	steps := c.expandable(collection)
	shown := c.visible(p, collection.Name)
	if len(steps) == 0 || len(shown) == 0 {
		return
	}
	var deep []string
	for step, next := range steps {
		for further := range c.expandable(next) {
			if !strings.Contains(step+further, "_via_") { // wide, and the same code decides
				deep = append(deep, step+"."+further)
			}
		}
	}
	var one shownRecord
	path := recordsOf(collection) + "/" + shown[len(shown)-1].Id + "?" + url.Values{"expand": {strings.Join(deep, ",")}}.Encode()
	if err := json.Unmarshal(c.ask(p, http.MethodGet, path, nil).body, &one); err != nil {
		c.t.Fatal(err)
	}
	first, _ := one["expand"].(map[string]any)
	for _, expand := range first {
		c.shownIn(p, collection, expand)
	}
	for _, item := range c.list(p, collection, url.Values{"sort": {"id"}, "expand": {strings.Join(slices.Collect(maps.Keys(steps)), ",")}}).items {
		r := c.byID(collection.Name, item.text("id"))
		expand, _ := item["expand"].(map[string]any)
		for step, next := range steps {
			var want []string
			for _, x := range c.visible(p, next.Name) {
				_, field, back := strings.Cut(step, "_via_")
				if back && slices.Contains(x.GetStringSlice(field), r.Id) || !back && slices.Contains(r.GetStringSlice(step), x.Id) {
					want = append(want, x.Id)
				}
			}
			var got []string
			for _, x := range c.shownIn(p, collection, expand[step]) {
				got = append(got, x.text("id"))
			}
			slices.Sort(got)
			if !slices.Equal(got, want) {
				c.report("%s expands %s of %s: got %d records, want %d", p.name, step, collection.Name, len(got), len(want))
			}
		}
	}
}

// shownIn are the records of an expand. All of them, and what is expanded in
// them, must be ones that the person may read.
func (c *census) shownIn(p person, from *core.Collection, expand any) (out []shownRecord) {
	switch x := expand.(type) {
	case []any:
		for _, one := range x {
			out = append(out, c.shownIn(p, from, one)...)
		}
	case map[string]any:
		name, _ := x["collectionName"].(string)
		if r := c.byID(name, shownRecord(x).text("id")); r == nil || !c.reaches(p, c.cell(p, name).View, r) {
			c.report("%s expands %s: shows a hidden record of %s", p.name, from.Name, name)
		}
		deeper, _ := x["expand"].(map[string]any)
		for _, more := range deeper {
			c.shownIn(p, from, more)
		}
		out = append(out, x)
	}
	return out
}

// checkFile downloads the protected files of a collection with the person's own
// file token and without one.
func (c *census) checkFile(p person, collection *core.Collection) {
	if len(fileFields(collection)) == 0 {
		return
	}
	var issued struct{ Token string }
	_ = json.Unmarshal(c.ask(p, http.MethodPost, "/api/files/token", nil).body, &issued) // none for nobody
	for _, r := range slices.Concat(ends(c.visible(p, collection.Name)), ends(c.hidden(p, collection.Name))) {
		for _, field := range fileFields(collection) {
			path := "/api/files/" + collection.Name + "/" + r.Id + "/" + r.GetString(field)
			if got := c.ask(p, http.MethodGet, path, nil).status; got/100 != 4 {
				c.report("%s gets a file of %s without a file token: %d", p.name, collection.Name, got)
			}
			want := c.reaches(p, c.cell(p, collection.Name).View, r)
			if got := c.ask(p, http.MethodGet, path+"?token="+issued.Token, nil).status; (got == http.StatusOK) != want || !want && got/100 != 4 {
				c.report("%s gets a file of %s: got %d, want shown=%v", p.name, collection.Name, got, want)
			}
		}
	}
}

func fileFields(collection *core.Collection) (out []string) {
	for _, f := range collection.Fields {
		if f.Type() == core.FieldTypeFile {
			out = append(out, f.GetName())
		}
	}
	return out
}

// A stream is one realtime connection and what came over it.
type stream struct {
	mu   sync.Mutex // guards got and text
	got  map[string]bool
	text []byte
	news chan struct{}
}

// listen subscribes a person to everything of every collection, with every
// record that it refers to expanded.
func (c *census) listen(ctx context.Context, p person) *stream {
	c.t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url+"/api/realtime", nil)
	if err != nil {
		c.t.Fatal(err)
	}
	// The client of requests has a deadline, a stream has none.
	res, err := (&http.Client{Transport: c.client.Transport}).Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { res.Body.Close() })
	s := &stream{got: map[string]bool{}, news: make(chan struct{}, 1)}
	id := make(chan string, 1)
	go s.read(res, id)
	body := map[string]any{}
	select {
	case body["clientId"] = <-id:
	case <-time.After(10 * time.Second):
		c.t.Fatal("realtime: no connection within 10 s")
	}
	var topics []string
	for _, collection := range c.all {
		var expand []string
		for _, f := range relations(collection) {
			expand = append(expand, f.Name)
		}
		options, err := json.Marshal(map[string]any{"query": map[string]string{"expand": strings.Join(expand, ",")}})
		if err != nil {
			c.t.Fatal(err)
		}
		topics = append(topics, collection.Name+"/*?options="+url.QueryEscape(string(options)))
	}
	body["subscriptions"] = topics
	a := c.ask(p, http.MethodPost, "/api/realtime", body)
	if a.status != http.StatusNoContent && p.active() {
		c.report("%s subscribes: got %d %s", p.name, a.status, a.body)
	}
	return s
}

func (s *stream) read(res *http.Response, id chan<- string) {
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(nil, 4<<20)
	for lines.Scan() {
		data, ok := strings.CutPrefix(lines.Text(), "data:")
		var message struct {
			ClientID string
			Record   struct{ ID string }
		}
		if !ok || json.Unmarshal([]byte(data), &message) != nil {
			continue
		}
		if message.ClientID != "" {
			id <- message.ClientID
			continue
		}
		s.mu.Lock()
		s.got[message.Record.ID], s.text = true, append(s.text, data...)
		s.mu.Unlock()
		select {
		case s.news <- struct{}{}:
		default:
		}
	}
}

// await waits until every id has come.
func (s *stream) await(ids []string) bool {
	deadline := time.After(20 * time.Second)
	for {
		s.mu.Lock()
		missing := slices.ContainsFunc(ids, func(id string) bool { return !s.got[id] })
		s.mu.Unlock()
		if !missing {
			return true
		}
		select {
		case <-s.news:
		case <-deadline:
			return false
		}
	}
}

// checkRealtime changes records of every collection while everybody listens.
// Each gets a message about those that they may read, and about no other.
func (c *census) checkRealtime() {
	c.t.Helper()
	ctx, hangUp := context.WithCancel(c.t.Context())
	defer hangUp()
	streams := map[string]*stream{}
	for _, p := range c.persons {
		streams[p.name] = c.listen(ctx, p)
	}
	changed := c.change()
	c.count()
	for _, p := range c.persons {
		s, want := streams[p.name], map[string]string{}
		for _, collection := range c.all {
			for _, r := range c.visible(p, collection.Name) {
				// Entries of the audit log are no saved records, so there are no messages about them.
				if changed[r.Id] && collection.Name != collections.AuditLog {
					want[r.Id] = collection.Name
				}
			}
		}
		arrived := s.await(slices.Collect(maps.Keys(want)))
		s.mu.Lock()
		for id := range s.got {
			if want[id] == "" {
				c.report("%s hears of a record that they may not read: %s", p.name, id)
			}
			delete(want, id)
		}
		c.checkMarks(p, "hears", s.text)
		s.mu.Unlock()
		if !arrived {
			c.report("%s hears too little: nothing of %d records of %v", p.name, len(want), slices.Compact(slices.Sorted(maps.Values(want))))
		}
	}
}
