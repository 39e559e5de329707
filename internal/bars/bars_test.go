package main

import (
	"strings"
	"testing"
)

func TestBarsAreJudged(t *testing.T) {
	t.Parallel()
	good := `cpu: A Processor
BenchmarkWireToState/ops=100000-2 	 3	 1 ns/op	 3000 ns/op-applied
BenchmarkPeer/yjs/ops=100000	1	1 ns/op	20000 ns/op-applied
BenchmarkApplyPut/live=100000-2 	 3	 200 ns/op	 8 B/op	 0 allocs/op
BenchmarkWriters-2 	 1	 1 ns/op	 12000 ops/s	 900 p99-ms
BenchmarkKept/original-2 	 1	 1 ns/op	 84 kept
BenchmarkGrowth/live=0-2 	 9	 1000000 ns/op
BenchmarkGrowth/live=100000-2 	 9	 1400000 ns/op
BenchmarkRevocationCheck-2   	    1000	   1031455 ns/op	    437611 ours-ns	    400161 stock-ns	         1.094 x-stock
BenchmarkLoginStorm-2   	    1	   1031455 ns/op	    200.0 passed	    456.0 peak-rss-MB
BenchmarkDrain-2   	    5	   1031455 ns/op	    0.2243 x-copy-wall	  0.2936 x-read-by-apply-cpu
BenchmarkIdle-2   	    5	   1031455 ns/op	    0.1500 %-of-a-core
`
	for row, broken := range map[string]struct{ from, to string }{
		"against Yjs":       {"3000 ns/op-applied", "6000 ns/op-applied"},
		"allocates":         {"0 allocs/op", "1 allocs/op"},
		"5 per request | >": {"12000 ops/s", "9999 ops/s"},
		"HTTP writers, p99": {"900 p99-ms", "1001 p99-ms"},
		"the original":      {"84 kept", "1000 kept"},
		"5 operations on":   {"1400000 ns/op", "1600000 ns/op"},
		"live revocations":  {"1.094 x-stock", "1.151 x-stock"},
		"peak memory":       {"456.0 peak-rss-MB", "512.1 peak-rss-MB"},
		"B2: a backlog":     {"0.2243 x-copy-wall", "0.1199 x-copy-wall"},
		"B2: reading":       {"0.2936 x-read", "0.6100 x-read"},
		"without work":      {"0.1500 %-of", "0.2100 %-of"},
		"signed in":         {"200.0 passed", "199.0 passed"},
	} {
		if got := verdict(t, good, row); got != "met" {
			t.Errorf("%s: got %q, want met", row, got)
		}
		if got := verdict(t, strings.Replace(good, broken.from, broken.to, 1), row); got != "**missed**" {
			t.Errorf("%s, broken: got %q, want missed", row, got)
		}
		if got := verdict(t, strings.Replace(good, broken.from, "x y", 1), row); got != "not measured" {
			t.Errorf("%s, not measured: got %q", row, got)
		}
	}
}

// verdict returns the last cell of the first row that holds text.
func verdict(t *testing.T, input, text string) string {
	t.Helper()
	all, _, err := parse(strings.NewReader(input))
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, s := range sets {
		write(&b, s.bars, all)
	}
	for row := range strings.Lines(b.String()) {
		if strings.Contains(row, text) {
			cells := strings.Split(strings.TrimSpace(row), "|")
			return strings.TrimSpace(cells[len(cells)-2])
		}
	}
	t.Fatalf("no row holds %q", text)
	return ""
}
