package api_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// BenchmarkResults posts five changes per request from many clients at once to
// one session, over HTTP with every hook on, and reports what was acknowledged
// per second and how long requests took.
func BenchmarkResults(b *testing.B) {
	w := newWorld(b)
	const clients = 64
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: clients}}
	b.Cleanup(client.CloseIdleConnections)
	var (
		n     atomic.Int64
		mu    sync.Mutex
		times []time.Duration
	)
	began := time.Now()
	b.SetParallelism(clients / 2)
	b.RunParallel(func(pb *testing.PB) {
		var own []time.Duration
		for pb.Next() {
			i := n.Add(1)
			body := fmt.Sprintf(`{"changes":[{"op":"set","path":"/items/A-%[1]d/result","value":"pass"},{"op":"set","path":"/items/A-%[1]d/pressure","value":12.5},`+
				`{"op":"inc","path":"/counts/done","value":1},{"op":"set","path":"/items/A-%[1]d/by","value":"x"},{"op":"set","path":"/items/A-%[1]d/note","value":"ok"}],"device":"d%[2]d"}`, i%1000, i%100)
			req, err := http.NewRequest("POST", w.url+"/v1/tests/sessions/"+w.session+"/results", bytes.NewReader([]byte(body)))
			if err != nil {
				b.Error(err)
				return
			}
			req.Header.Set("Content-Type", "application/json")
			req.Header.Set("Authorization", "Bearer "+w.token["inspector"])
			req.Header.Set("Idempotency-Key", fmt.Sprintf("bench-%d-%d", began.UnixNano(), i))
			start := time.Now()
			res, err := client.Do(req)
			if err != nil {
				b.Error(err)
				return
			}
			answer, _ := io.ReadAll(res.Body)
			res.Body.Close()
			if res.StatusCode != 200 {
				b.Errorf("status %d: %s", res.StatusCode, answer)
				return
			}
			own = append(own, time.Since(start))
		}
		mu.Lock()
		defer mu.Unlock()
		times = append(times, own...)
	})
	slices.Sort(times)
	at := func(q float64) float64 { return float64(times[int(q*float64(len(times)-1))].Microseconds()) / 1000 }
	b.ReportMetric(float64(5*len(times))/time.Since(began).Seconds(), "changes/s")
	b.ReportMetric(at(.5), "p50-ms")
	b.ReportMetric(at(.95), "p95-ms")
	b.ReportMetric(at(.99), "p99-ms")
}
