package merge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"firemode/crdt"
)

// write is one value that somebody recorded and was told is stored.
type write struct{ path, value string }

// compare counts the acknowledged writes that are not kept, and those kept more than once.
func compare(acknowledged []write, kept map[write]int) (lost, doubled int) {
	for _, w := range acknowledged {
		switch n := kept[w]; {
		case n == 0:
			lost++
		case n > 1:
			doubled++
		}
	}
	return lost, doubled
}

// Writers of the real thing, and of the controls, which need no more to fail.
const (
	stormWriters   = 1000
	controlWriters = 200
)

// storm lets every writer record two values at the same time as all others, one of them on
// a field they share, and returns what was acknowledged.
func storm(t *testing.T, writers int, record func(writer int, writes []write) error) []write {
	t.Helper()
	var mu sync.Mutex
	var acknowledged []write
	var ready, done sync.WaitGroup
	start := make(chan struct{})
	ready.Add(writers)
	for w := range writers {
		done.Go(func() {
			writes := []write{{"items/FE-1/remark", fmt.Sprintf("shared by %d", w)}, {fmt.Sprintf("items/FE-%d/result", w), "pass"}}
			ready.Done()
			<-start
			if err := record(w, writes); err != nil {
				t.Errorf("writer %d: %v", w, err)
				return
			}
			mu.Lock()
			acknowledged = append(acknowledged, writes...)
			mu.Unlock()
		})
	}
	ready.Wait()
	close(start)
	done.Wait()
	return acknowledged
}

func TestThousandWritersOnOneSession(t *testing.T) {
	t.Parallel()
	s, app := service(t, Config{})
	id := session(t, app)
	acknowledged := storm(t, stormWriters, func(w int, writes []write) error {
		req := ChangeRequest{SessionID: id, UserID: fmt.Sprintf("user %d", w)}
		for _, v := range writes {
			req.Changes = append(req.Changes, set(v.path, `"`+v.value+`"`))
		}
		_, err := tryChange(s, req)
		return err
	})
	if len(acknowledged) != 2*stormWriters {
		t.Fatalf("acknowledged: got %d writes, want %d", len(acknowledged), 2*stormWriters)
	}
	inLog, inDocument := keptInLog(t, s, id), keptInDocument(t, s, id)
	for name, kept := range map[string]map[write]int{"log": inLog, "document": inDocument} {
		if lost, doubled := compare(acknowledged, kept); lost > 0 || doubled > 0 || len(kept) != len(acknowledged) {
			t.Errorf("%s: %d lost, %d doubled, %d kept, want each of %d once", name, lost, doubled, len(kept), len(acknowledged))
		}
	}
	conflicts, err := s.Conflicts(context.Background(), id)
	if err != nil || len(conflicts) != 1 || len(conflicts[0].Entries) != stormWriters {
		t.Errorf("conflicts: got %d (%v), want one field with all %d values", len(conflicts), err, stormWriters)
	}
	sound(t, s, id)
}

func keptInLog(t *testing.T, s *Service, id string) map[write]int {
	t.Helper()
	kept := map[write]int{}
	for after := int64(0); ; {
		rows, err := s.Ops(context.Background(), id, after, 0)
		if err != nil {
			t.Fatal(err)
		}
		if len(rows) == 0 {
			return kept
		}
		for _, r := range rows {
			op, err := crdt.ParseOp(r.Line)
			if err != nil {
				t.Fatal(err)
			}
			kept[write{op.Path, strings.Trim(op.Val, `"`)}]++
			after = r.N
		}
	}
}

func keptInDocument(t *testing.T, s *Service, id string) map[write]int {
	t.Helper()
	type node struct {
		Entries []struct{ Value string } `json:"$entries"`
	}
	var doc struct{ Items map[string]map[string]node }
	if err := json.Unmarshal(read(t, s, id).Data, &doc); err != nil {
		t.Fatal(err)
	}
	kept := map[write]int{}
	for item, fields := range doc.Items {
		for field, n := range fields {
			for _, e := range n.Entries {
				kept[write{"items/" + item + "/" + field, e.Value}]++
			}
		}
	}
	return kept
}

// The comparison sees a writer that answers before the commit: here some commits fail after
// the answer, as in a crash.
func TestComparisonCatchesEarlyAcknowledgement(t *testing.T) {
	t.Parallel()
	s, app := service(t, Config{})
	id := session(t, app)
	crash := errors.New("crash before the commit")
	acknowledged := storm(t, controlWriters, func(w int, writes []write) error {
		answer := make(chan error, 1)
		err := s.Do(context.Background(), func(b *Batch) error {
			_, err := b.Change(ChangeRequest{SessionID: id, UserID: fmt.Sprint(w), Changes: []Change{set(writes[0].path, `"`+writes[0].value+`"`), set(writes[1].path, `"pass"`)}})
			answer <- err
			if w%20 == 7 {
				return crash
			}
			return err
		})
		if err != nil && !errors.Is(err, crash) {
			return err
		}
		return <-answer
	})
	if lost, _ := compare(acknowledged, keptInLog(t, s, id)); lost != 2*controlWriters/20 {
		t.Errorf("lost: got %d, want the %d that never reached the disk", lost, 2*controlWriters/20)
	}
}

// The comparison sees a merge in which the last writer wins.
func TestComparisonCatchesLastWriterWins(t *testing.T) {
	t.Parallel()
	_, app := service(t, Config{})
	id := session(t, app)
	acknowledged := storm(t, controlWriters, func(_ int, writes []write) error {
		var raw string
		if err := app.DB().NewQuery("SELECT session_data FROM test_sessions WHERE id = {:id}").Bind(map[string]any{"id": id}).Row(&raw); err != nil {
			return err
		}
		doc := map[string]string{}
		if err := json.Unmarshal([]byte(raw), &doc); err != nil {
			return err
		}
		for _, w := range writes {
			doc[w.path] = w.value
		}
		merged, _ := json.Marshal(doc)
		_, err := app.DB().NewQuery("UPDATE test_sessions SET session_data = {:d} WHERE id = {:id}").Bind(map[string]any{"d": string(merged), "id": id}).Execute()
		return err
	})
	var raw string
	if err := app.DB().NewQuery("SELECT session_data FROM test_sessions").Row(&raw); err != nil {
		t.Fatal(err)
	}
	doc := map[string]string{}
	if err := json.Unmarshal([]byte(raw), &doc); err != nil {
		t.Fatal(err)
	}
	kept := map[write]int{}
	for path, value := range doc {
		kept[write{path, value}]++
	}
	lost, _ := compare(acknowledged, kept)
	if lost < controlWriters-1 {
		t.Errorf("lost: got %d, want at least the %d values of the shared field that the last one replaced", lost, controlWriters-1)
	}
	t.Logf("read, change, write: %d writes acknowledged, %d lost", len(acknowledged), lost)
}
