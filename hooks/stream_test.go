package hooks

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"
)

// stream is one open realtime connection.
type stream struct {
	id       string
	messages chan string
	closed   chan struct{}
}

// stream opens a connection and subscribes it to topics with a token.
func (s *site) stream(token string, topics ...string) *stream {
	s.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	req, err := http.NewRequestWithContext(ctx, "GET", s.url+"/api/realtime", nil)
	if err != nil {
		s.t.Fatal(err)
	}
	res, err := (&http.Client{Transport: s.client.Transport}).Do(req)
	if err != nil {
		cancel()
		s.t.Fatal(err)
	}
	c := &stream{messages: make(chan string, 100), closed: make(chan struct{})}
	go func() {
		defer close(c.closed)
		defer res.Body.Close()
		lines := bufio.NewScanner(res.Body)
		for lines.Scan() {
			if data, ok := strings.CutPrefix(lines.Text(), "data:"); ok {
				c.messages <- data
			}
		}
	}()
	s.t.Cleanup(func() {
		cancel()
		<-c.closed
	})
	hello := struct{ ClientID string }{}
	if err := json.Unmarshal([]byte(c.next(s.t)), &hello); err != nil {
		s.t.Fatal(err)
	}
	c.id = hello.ClientID
	s.subscribe(c, token, topics...)
	return c
}

func (s *site) subscribe(c *stream, token string, topics ...string) {
	s.t.Helper()
	s.must(204, "POST", "/api/realtime", token, answer{"clientId": c.id, "subscriptions": topics})
}

func (c *stream) next(t *testing.T) string {
	t.Helper()
	select {
	case m := <-c.messages:
		return m
	case <-c.closed:
		t.Fatal("the stream was closed")
	case <-time.After(deadline):
		t.Fatal("no message arrived")
	}
	return ""
}

// ends fails the test unless the server closes the stream within limit.
func (c *stream) ends(t *testing.T, limit time.Duration) {
	t.Helper()
	select {
	case <-c.closed:
	case <-time.After(limit):
		t.Fatalf("the stream is open after %s", limit)
	}
}

func (c *stream) isOpen() bool {
	select {
	case <-c.closed:
		return false
	default:
		return true
	}
}
