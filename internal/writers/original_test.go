package writers

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"testing"

	"firemode/internal/sqlite"
	"firemode/internal/testbin"

	"github.com/pocketbase/dbx"
)

// original answers as the service did that this project replaces: it reads the document,
// copies the members of each change over it, takes the greater of the stored and the sent
// clocks, and writes the whole document, without a transaction around it.
func original(db *dbx.DB) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var in struct {
			Changes []map[string]any `json:"changes"`
			Clock   map[string]int   `json:"vector_clock"`
		}
		var data, clock string
		err := json.NewDecoder(r.Body).Decode(&in)
		if err == nil {
			err = db.NewQuery("SELECT session_data, vector_clock FROM original WHERE id = 1").Row(&data, &clock)
		}
		merged, clocks := map[string]any{}, map[string]int{}
		if err == nil {
			err = json.Unmarshal([]byte(data), &merged)
		}
		if err == nil {
			err = json.Unmarshal([]byte(clock), &clocks)
		}
		if err == nil {
			for actor, n := range in.Clock {
				clocks[actor] = max(clocks[actor], n)
			}
			for _, change := range in.Changes {
				maps.Copy(merged, change)
			}
			newData, _ := json.Marshal(merged)
			newClock, _ := json.Marshal(clocks)
			_, err = db.NewQuery("UPDATE original SET session_data = {:data}, vector_clock = {:clock} WHERE id = 1").
				Bind(dbx.Params{"data": string(newData), "clock": string(newClock)}).Execute()
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		fmt.Fprint(w, `{"status":"processed"}`)
	}
}

// originalKeeps lets every writer record one value with the original and returns what was
// acknowledged and what the document holds afterwards.
func originalKeeps(tb testing.TB, n int) (acked, kept map[string]string) {
	tb.Helper()
	db, err := sqlite.Connect(tb.TempDir() + "/original.db")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = db.Close() })
	db.DB().SetMaxOpenConns(sqlite.DataMaxOpenConns)
	for _, sql := range []string{
		"CREATE TABLE original (id INTEGER PRIMARY KEY, session_data TEXT, vector_clock TEXT)",
		"INSERT INTO original VALUES (1, '{}', '{}')",
	} {
		if _, err := db.NewQuery(sql).Execute(); err != nil {
			tb.Fatal(err)
		}
	}
	server := httptest.NewServer(original(db))
	tb.Cleanup(server.Close)
	s := &site{server: &testbin.Server{URL: server.URL}, client: newClient(tb)}
	acks := make([]bool, n)
	err = each(n, func(i int) error {
		body, err := json.Marshal(map[string]any{
			"changes":      []map[string]any{{key(i): value(i)}},
			"vector_clock": map[string]int{"w" + strconv.Itoa(i): 1},
		})
		if err != nil {
			return err
		}
		req, err := http.NewRequest("POST", server.URL, bytes.NewReader(body))
		if err != nil {
			return err
		}
		_, err = s.send(req, "application/json")
		acks[i] = err == nil // a busy database is an honest error: nothing was promised
		return nil
	})
	if err != nil {
		tb.Fatal(err)
	}
	var data string
	if err := db.NewQuery("SELECT session_data FROM original WHERE id = 1").Row(&data); err != nil {
		tb.Fatal(err)
	}
	if err := json.Unmarshal([]byte(data), &kept); err != nil {
		tb.Fatal(err)
	}
	acked = map[string]string{}
	for i, ok := range acks {
		if ok {
			acked[key(i)] = value(i)
		}
	}
	return acked, kept
}

// oursKeeps is originalKeeps for the product.
func oursKeeps(tb testing.TB, n int) (acked, kept map[string]string) {
	tb.Helper()
	s := newSite(tb)
	devices := s.devices(tb, n)
	if err := each(n, func(i int) error { return devices[i].put(tb.Context(), value(i), key(i)) }); err != nil {
		tb.Fatal(err)
	}
	doc, _, err := s.readBack()
	if err != nil {
		tb.Fatal(err)
	}
	acked, kept = map[string]string{}, map[string]string{}
	for i := range n {
		acked[key(i)] = value(i)
		for _, e := range doc.Values(key(i)) {
			if kept[key(i)], err = strconv.Unquote(e.Val); err != nil {
				tb.Fatal(err)
			}
		}
	}
	return acked, kept
}

func key(i int) string   { return fmt.Sprintf("items/w%04d/result", i) }
func value(i int) string { return fmt.Sprintf("pass %d", i) }

// lost returns the keys that were acknowledged and are not kept as they were sent.
func lost(acked, kept map[string]string) []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(acked)), func(k string) bool {
		got, held := kept[k]
		return held && got == acked[k]
	})
}

// shortWriters are enough for the original to lose, and few enough for a race detector.
const shortWriters = 100

// A thousand in the long run, a hundred otherwise.
func TestWritersKeepWhatWasAcknowledged(t *testing.T) {
	t.Parallel()
	n := shortWriters
	if os.Getenv("FIREMODE_SOAK") != "" {
		n = writers
	}
	acked, kept := originalKeeps(t, n)
	if gone := lost(acked, kept); len(gone) == 0 {
		t.Errorf("the original kept all of %d acknowledged values: this test proves nothing", len(acked))
	}
	acked, kept = oursKeeps(t, n)
	if gone := lost(acked, kept); len(acked) != n || len(gone) > 0 {
		t.Errorf("acknowledged %d of %d, lost %d: %.5q", len(acked), n, len(gone), gone)
	}
}

// BenchmarkKept reports how many of a thousand concurrent writes are there afterwards.
func BenchmarkKept(b *testing.B) {
	for name, keeps := range map[string]func(testing.TB, int) (acked, kept map[string]string){"original": originalKeeps, "ours": oursKeeps} {
		b.Run(name, func(b *testing.B) {
			var acked, kept map[string]string
			for b.Loop() {
				acked, kept = keeps(b, writers)
			}
			b.ReportMetric(float64(len(acked)), "acked")
			b.ReportMetric(float64(len(acked)-len(lost(acked, kept))), "kept")
		})
	}
}
