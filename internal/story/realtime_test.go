package story

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// subscriber follows a realtime topic the way the field app does: it connects
// again when the stream ends.
type subscriber struct {
	mu     sync.Mutex // guards highest and events
	high   int64
	events int
}

// seen returns the highest server position announced and how many messages came.
func (s *subscriber) seen() (high int64, events int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.high, s.events
}

// subscribe follows topic until ctx ends and returns once the first stream stands.
func subscribe(t *testing.T, ctx context.Context, d *device, topic string) *subscriber {
	t.Helper()
	s := &subscriber{}
	connected := make(chan struct{}, 1)
	go func() {
		for ctx.Err() == nil {
			s.follow(ctx, d, topic, connected)
			select {
			case <-ctx.Done():
			case <-time.After(retryEvery):
			}
		}
	}()
	select {
	case <-connected:
	case <-ctx.Done():
		t.Fatal("the realtime stream did not start")
	}
	return s
}

// follow reads one stream to its end.
func (s *subscriber) follow(ctx context.Context, d *device, topic string, connected chan<- struct{}) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.url("/api/realtime"), nil)
	if err != nil {
		return
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return
	}
	defer res.Body.Close()
	var event string
	for lines := bufio.NewScanner(res.Body); lines.Scan(); {
		switch line := lines.Text(); {
		case strings.HasPrefix(line, "event:"):
			event = strings.TrimSpace(strings.TrimPrefix(line, "event:"))
		case strings.HasPrefix(line, "data:"):
			s.receive(ctx, d, topic, event, strings.TrimPrefix(line, "data:"), connected)
		}
	}
}

func (s *subscriber) receive(ctx context.Context, d *device, topic, event, data string, connected chan<- struct{}) {
	if event == "PB_CONNECT" {
		var hello struct {
			ClientID string `json:"clientId"`
		}
		if json.Unmarshal([]byte(data), &hello) != nil {
			return
		}
		a, err := d.once(ctx, http.MethodPost, "/api/realtime", nil, map[string]any{"clientId": hello.ClientID, "subscriptions": []string{topic}})
		if err == nil && a.status == http.StatusNoContent {
			select {
			case connected <- struct{}{}:
			default:
			}
		}
		return
	}
	var message struct {
		N int64 `json:"n"`
	}
	if event != topic || json.Unmarshal([]byte(data), &message) != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events++
	s.high = max(s.high, message.N)
}
