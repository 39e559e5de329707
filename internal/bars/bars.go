// Command bars reads benchmark results from standard input and holds them against the bars
// that merging test sessions ("bars merge"), identity and secrets ("bars identity") or the
// PostgreSQL mirror ("bars mirror") have to clear. It prints the table in Markdown.
//
// A figure that the input does not have is "not measured", never met.
package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// results are the figures by benchmark name and unit, such as
// results["BenchmarkOpen/log"]["ns/op"]. Of several runs the last counts.
type results map[string]map[string]float64

// procs is the number of cores that Go appends to a benchmark's name.
var procs = regexp.MustCompile(`-\d+$`)

// parse also returns the processor that the input names.
func parse(r io.Reader) (results, string, error) {
	all, cpu := results{}, ""
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		if name, found := strings.CutPrefix(lines.Text(), "cpu: "); found {
			cpu = name
		}
		fields := strings.Fields(lines.Text())
		if len(fields) < 4 || !strings.HasPrefix(fields[0], "Benchmark") {
			continue
		}
		figures := map[string]float64{}
		for i := 2; i+1 < len(fields); i += 2 {
			if v, err := strconv.ParseFloat(fields[i], 64); err == nil {
				figures[fields[i+1]] = v
			}
		}
		all[procs.ReplaceAllString(fields[0], "")] = figures
	}
	return all, cpu, lines.Err()
}

// A bar compares a figure with another one of the same run, or with a limit.
type bar struct {
	what, want  string
	name, unit  string
	other       string  // benchmark to divide by; "" for none
	least, most float64 // bound of the figure, or of the ratio; 0 for none
	inverse     bool    // the ratio is other / figure: how many times faster
	format      string
	scale       float64 // figures are shown divided by it
}

const (
	ours     = "BenchmarkWireToState/ops=100000"
	applied  = "ns/op-applied"
	sessions = "BenchmarkWriters"
)

// A set is what one run measures.
type set struct {
	title string
	bars  []bar
}

// sets by their name, which is that of the make target too.
var sets = map[string]set{"merge": {"Merging", merging}, "identity": {"Identity and secrets", identity}, "mirror": {"The PostgreSQL mirror", mirror}}

var merging = []bar{
	{what: "wire to state, W1, Go: against Yjs", want: ">= 4x per operation", name: ours, unit: applied, other: "BenchmarkPeer/yjs/ops=100000", least: 4, inverse: true, format: "%.1f µs", scale: 1e3},
	{what: "wire to state, W1, Go: against Loro", want: "no bar", name: ours, unit: applied, other: "BenchmarkPeer/loro/ops=100000", inverse: true, format: "%.1f µs", scale: 1e3},
	{what: "wire to state, W1 of 10,000, Go: against Automerge", want: "no bar", name: "BenchmarkWireToState/ops=10000", unit: applied, other: "BenchmarkPeer/automerge/ops=10000", inverse: true, format: "%.1f µs", scale: 1e3},
	{what: "wire to state, W1, Go: against gotomerge", want: ">= 2x per operation", name: ours, unit: applied, other: "BenchmarkPeer/gotomerge/ops=100000", least: 2, inverse: true, format: "%.1f µs", scale: 1e3},
	{what: "wire to state, W1, JavaScript: against Yjs", want: "no bar", name: "BenchmarkPeer/ours/ops=100000", unit: applied, other: "BenchmarkPeer/yjs/ops=100000", inverse: true, format: "%.1f µs", scale: 1e3},
	{what: "a put applied to 100,000 live values allocates", want: "0 times", name: "BenchmarkApplyPut/live=100000", unit: "allocs/op", most: 0, format: "%.0f", scale: 1},
	{what: "durable ingest, 100 per request: against raw inserts of the operation's row, one per statement", want: ">= 50 %", name: "BenchmarkIngest/service/per-request=100", unit: "ops/s", other: "BenchmarkIngest/row/per-commit=4000", least: .5, format: "%.0f ops/s", scale: 1},
	{what: "the same against raw inserts of the line alone, without a further index", want: "no bar", name: "BenchmarkIngest/service/per-request=100", unit: "ops/s", other: "BenchmarkIngest/raw/per-commit=4000", format: "%.0f ops/s", scale: 1},
	{what: "durable ingest, 5 per request: against the same", want: "no bar", name: "BenchmarkIngest/service/per-request=5", unit: "ops/s", other: "BenchmarkIngest/raw/per-commit=4000", format: "%.0f ops/s", scale: 1},
	{what: "durable ingest, 1 per request: against raw inserts, one per commit", want: "no bar", name: "BenchmarkIngest/service/per-request=1", unit: "ops/s", other: "BenchmarkIngest/raw/per-commit=1", format: "%.0f ops/s", scale: 1},
	{what: "1,000 HTTP writers, 5 per request", want: ">= 10,000 acknowledged ops/s", name: sessions, unit: "ops/s", least: 10_000, format: "%.0f ops/s", scale: 1},
	{what: "1,000 HTTP writers, p99", want: "<= 1 s", name: sessions, unit: "p99-ms", most: 1000, format: "%.0f ms", scale: 1},
	{what: "1,000 HTTP writers, memory of the server", want: "<= 256 MB", name: sessions, unit: "peak-rss-MB", most: 256, format: "%.0f MB", scale: 1},
	{what: "1,000 HTTP writers, histories read back that differ", want: "0", name: sessions, unit: "chains-lost", most: 0, format: "%.0f", scale: 1},
	{what: "values of 1,000 writers kept by ours", want: "1000", name: "BenchmarkKept/ours", unit: "kept", least: 1000, format: "%.0f", scale: 1},
	{what: "values of 1,000 writers kept by the original's merge", want: "< 1000, and seen", name: "BenchmarkKept/original", unit: "kept", most: 999, format: "%.0f", scale: 1},
	{what: "5 operations on 100,000 live values: against an empty session", want: "<= 1.5x", name: "BenchmarkGrowth/live=100000", unit: "ns/op", other: "BenchmarkGrowth/live=0", most: 1.5, format: "%.2f ms", scale: 1e6},
	{what: "bytes written by them: against an empty session", want: "<= 1.5x", name: "BenchmarkGrowth/live=100000", unit: "disk-B/op", other: "BenchmarkGrowth/live=0", most: 1.5, format: "%.0f B", scale: 1},
	{what: "open a session of 100,000 operations, cold", want: "<= 0.5 s", name: "BenchmarkOpen/log", unit: "ns/op", most: 5e8, format: "%.0f ms", scale: 1e6},
	{what: "open it with a snapshot", want: "<= 50 ms", name: "BenchmarkOpen/snapshot", unit: "ns/op", most: 5e7, format: "%.0f ms", scale: 1e6},
}

// judge returns the cells of the bar's row: figure, peer's figure, ratio, verdict.
func (b bar) judge(all results) (figure, other, ratio, verdict string) {
	bounded := b.want != "no bar"
	show := func(v float64) string { return fmt.Sprintf(b.format, v/b.scale) }
	figure, other, ratio, verdict = "–", "–", "–", "not measured"
	v, measured := all[b.name][b.unit]
	if measured {
		figure = show(v)
	}
	if b.other != "" {
		w, known := all[b.other][b.unit]
		if known {
			other = show(w)
		}
		measured = measured && known && v > 0 && w > 0
		if b.inverse {
			v, w = w, v
		}
		if v /= w; measured {
			ratio = fmt.Sprintf("%.2f", v)
		}
	}
	switch {
	case !measured:
	case !bounded:
		verdict = "–"
	case b.least > 0 && v < b.least, b.least == 0 && v > b.most:
		verdict = "**missed**"
	default:
		verdict = "met"
	}
	return figure, other, ratio, verdict
}

// write writes the table and returns how many bars were not met.
func write(w io.Writer, bars []bar, all results) (unmet int) {
	fmt.Fprintln(w, "| What | Bar | Figure | Compared with | Ratio | |\n|---|---|---|---|---|---|")
	for _, b := range bars {
		figure, other, ratio, verdict := b.judge(all)
		if b.want != "no bar" && verdict != "met" {
			unmet++
		}
		fmt.Fprintf(w, "| %s | %s | %s | %s | %s | %s |\n", b.what, b.want, figure, other, ratio, verdict)
	}
	return unmet
}

func main() {
	chosen, known := sets[strings.Join(os.Args[1:], " ")]
	if !known {
		fmt.Fprintln(os.Stderr, "bars: say which: bars merge, bars identity or bars mirror")
		os.Exit(2)
	}
	all, cpu, err := parse(os.Stdin)
	if err != nil || len(all) == 0 {
		fmt.Fprintf(os.Stderr, "bars: read results: %v, %d found\n", err, len(all))
		os.Exit(1)
	}
	fmt.Printf("# %s: the bars\n\nMeasured on %s by `make bench-%s`: %s, %d cores, %s, all in one run.\n\n",
		chosen.title, time.Now().UTC().Format(time.DateOnly), os.Args[1], cpu, runtime.NumCPU(), runtime.Version())
	fmt.Printf("\n%d not met.\n", write(os.Stdout, chosen.bars, all))
}
