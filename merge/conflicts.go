package merge

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"firemode/crdt"

	"github.com/pocketbase/dbx"
)

const (
	// resultEntriesMax bounds the values listed per path in the answer to a write.
	resultEntriesMax = 20
	// conflictEntriesMax bounds the values of one list of conflicts: each is looked up.
	conflictEntriesMax = 5000
)

// A Conflict is a field with more than one distinct live value.
type Conflict struct {
	Path    string          `json:"path"`
	Policy  crdt.Policy     `json:"policy"`
	Value   json.RawMessage `json:"value"` // what the policy shows; null when it shows none
	Count   int             `json:"count"` // live values, of which Entries may hold fewer
	Entries []ConflictEntry `json:"entries"`
}

// A ConflictEntry is one live value, best first. From Seen on it is filled in by Conflicts
// only.
type ConflictEntry struct {
	Value    json.RawMessage `json:"value"`
	Dot      string          `json:"dot"`
	Time     string          `json:"time"`               // by the author's clock, RFC 3339
	Seen     []string        `json:"seen,omitempty"`     // what its author had on screen
	UserID   string          `json:"user_id,omitempty"`  // the author
	Device   string          `json:"device,omitempty"`   // "" for a client that named none
	Received string          `json:"received,omitempty"` // by the server's clock, RFC 3339
	Late     bool            `json:"late,omitempty"`     // arrived when the session was locked
}

func newConflict(v crdt.View, entriesMax int) Conflict {
	c := Conflict{Path: v.Path, Policy: v.Policy, Value: json.RawMessage("null"), Count: len(v.Entries)}
	if v.Value != "" {
		c.Value = crdt.RenderJSON(v.Value)
	}
	for _, e := range v.Entries[:min(entriesMax, len(v.Entries))] {
		c.Entries = append(c.Entries, ConflictEntry{Value: crdt.RenderJSON(e.Val), Dot: e.Dot.String(), Time: timeText(e.Time.Wall())})
	}
	return c
}

func timeText(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z07:00") }

// Conflicts returns the fields in conflict, paths in byte order, with every live value: who
// wrote it, on which device, when, having seen what. After 5,000 values only counts are
// given. Errors: ErrNoSession.
func (s *Service) Conflicts(ctx context.Context, sessionID string) ([]Conflict, error) {
	list := []Conflict{}
	room := conflictEntriesMax
	at, err := s.view(ctx, sessionID, func(d *document) {
		for _, v := range s.schema.Conflicts(d.state) {
			c := newConflict(v, room)
			room -= len(c.Entries)
			list = append(list, c)
		}
	})
	if err != nil || len(list) == 0 {
		return list, err
	}
	q := s.app.ConcurrentDB().NewQuery(`SELECT a.user, a.device, o.recv, o.q, o.line FROM crdt_ops o JOIN crdt_actors a ON a.id = o.actor
		WHERE o.doc = {:doc} AND o.seq = {:seq} AND o.actor = (SELECT id FROM crdt_actors WHERE key = {:actor})`).WithContext(ctx).Prepare()
	defer q.Close()
	for i := range list {
		for j := range list[i].Entries {
			if err := complete(q, at.id, &list[i].Entries[j]); err != nil {
				return nil, fmt.Errorf("read conflicting operation: %w", err)
			}
		}
	}
	return list, nil
}

// complete fills in what only the log knows.
func complete(q *dbx.Query, doc int64, e *ConflictEntry) error {
	dot, _ := crdt.ParseDot(e.Dot)
	var received, flags int64
	var line []byte
	err := q.Bind(dbx.Params{"doc": doc, "actor": dot.Actor, "seq": int64(dot.Seq)}).Row(&e.UserID, &e.Device, &received, &flags, &line)
	if err != nil {
		return err
	}
	op, err := parseStored(flags, nil, line)
	if err != nil {
		return err
	}
	e.Device = shownDevice(e.Device)
	e.Received = timeText(time.UnixMilli(received))
	e.Late = flags&flagLate != 0
	e.Seen = dotTexts(op.Seen)
	return nil
}

func dotTexts(dots []crdt.Dot) []string {
	texts := make([]string, len(dots))
	for i, d := range dots {
		texts[i] = d.String()
	}
	return texts
}
