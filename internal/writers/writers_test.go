package writers

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"firemode/internal/testbin"
)

const (
	requestsPerWriter = 20
	opsPerRequest     = 5
	// sharedPaths are few enough that everybody writes where others do.
	sharedPaths = 2000
)

func TestMain(m *testing.M) {
	code := m.Run()
	testbin.Cleanup()
	os.Exit(code)
}

// BenchmarkWriters is a thousand devices that send as fast as they are answered. One
// iteration is 20 requests of 5 operations from each.
func BenchmarkWriters(b *testing.B) {
	s := newSite(b)
	devices := s.devices(b, writers)
	var times []time.Duration
	rss := newPeak(b, s.server.Diag)
	for b.Loop() {
		var mu sync.Mutex
		err := each(writers, func(w int) error {
			d, own := devices[w], make([]time.Duration, 0, requestsPerWriter)
			for range requestsPerWriter {
				paths := make([]string, opsPerRequest)
				for i := range paths {
					paths[i] = fmt.Sprintf("items/i%06d/result", (w*7919+int(d.seq)*104_729+i*31)%sharedPaths)
				}
				began := time.Now()
				if err := d.put(b.Context(), "pass", paths...); err != nil {
					return err
				}
				own = append(own, time.Since(began))
			}
			mu.Lock()
			defer mu.Unlock()
			times = append(times, own...)
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	elapsed := b.Elapsed()
	b.ReportMetric(rss.stop(), "peak-rss-MB")
	slices.Sort(times)
	at := func(q float64) float64 { return float64(times[int(q*float64(len(times)-1))].Microseconds()) / 1000 }
	b.ReportMetric(float64(opsPerRequest*len(times))/elapsed.Seconds(), "ops/s")
	b.ReportMetric(at(.5), "p50-ms")
	b.ReportMetric(at(.99), "p99-ms")

	_, chains, err := s.readBack()
	if err != nil {
		b.Fatal(err)
	}
	lost := 0
	for _, d := range devices {
		if chains[d.actor] != d.chain {
			lost++
		}
	}
	b.ReportMetric(float64(lost), "chains-lost")
	if lost > 0 {
		b.Errorf("%d of %d devices find another history on the server than the one it acknowledged", lost, writers)
	}
}

// peak watches the resident memory of a server.
type peak struct {
	cancel context.CancelFunc
	max    chan float64
}

const peakEvery = 100 * time.Millisecond

func newPeak(tb testing.TB, diag string) *peak {
	ctx, cancel := context.WithCancel(context.Background())
	tb.Cleanup(cancel)
	p := &peak{cancel: cancel, max: make(chan float64, 1)}
	go func() {
		tick := time.NewTicker(peakEvery)
		defer tick.Stop()
		most := 0.0
		for {
			most = max(most, resident(diag))
			select {
			case <-tick.C:
			case <-ctx.Done():
				p.max <- most
				return
			}
		}
	}()
	return p
}

// stop returns the most memory seen, in MB; 0 when it could not be read.
func (p *peak) stop() float64 {
	p.cancel()
	return <-p.max / (1 << 20)
}

func resident(diag string) float64 {
	res, err := http.Get(diag + "/metrics")
	if err != nil {
		return 0
	}
	defer res.Body.Close()
	for lines := bufio.NewScanner(res.Body); lines.Scan(); {
		if text, found := strings.CutPrefix(lines.Text(), "process_resident_memory_bytes "); found {
			bytes, _ := strconv.ParseFloat(text, 64)
			return bytes
		}
	}
	return 0
}
