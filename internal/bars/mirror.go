package main

const (
	apply   = "BenchmarkApply"
	backlog = "BenchmarkDrain"
	lag     = "BenchmarkLag/nudged"
	capture = "BenchmarkCapture"
	copied  = "BenchmarkCopyBare"
)

// mirror has its peers in the benchmarks themselves: COPY of the same rows, an insert of the same moment, the same table
// without triggers. CPU is that of this program and of PostgreSQL's backend together.
var mirror = []bar{
	{what: "B1: rows applied by 1,000, CPU: against COPY into a table with the same indexes", want: "<= 1.7x", name: apply, unit: "x-indexed-cpu", most: 1.7, format: "%.2fx", scale: 1},
	{what: "B1: the same against COPY into a bare table", want: "<= 4.0x", name: apply, unit: "x-copy-cpu", most: 4, format: "%.2fx", scale: 1},
	{what: "B1: the same in rows per second: against COPY into a table with the same indexes", want: ">= 0.35x", name: apply, unit: "x-indexed-wall", least: .35, format: "%.2fx", scale: 1},
	{what: "one row per transaction, CPU: against 1,000", want: "no bar", name: apply, unit: "single-x-ours-cpu", format: "%.1fx", scale: 1},
	{what: "B2: a backlog carried end to end, rows per second: against bare COPY", want: ">= 0.12x", name: backlog, unit: "x-copy-wall", least: .12, format: "%.2fx", scale: 1},
	{what: "B2: reading, decoding and hashing it, CPU: against the rest", want: "<= 0.6x", name: backlog, unit: "x-read-by-apply-cpu", most: .6, format: "%.2fx", scale: 1},
	{what: "a backlog carried end to end", want: "no bar", name: backlog, unit: "rows/s", format: "%.0f rows/s", scale: 1},
	{what: "B3: a record created through PocketBase with capture, CPU: against without", want: "<= 1.5x", name: capture, unit: "create-x-plain", most: 1.5, format: "%.2fx", scale: 1},
	{what: "B3: a record updated, CPU: against without", want: "<= 1.8x", name: capture, unit: "update-x-plain", most: 1.8, format: "%.2fx", scale: 1},
	{what: "B3: rows inserted by one statement, CPU: against without", want: "<= 3.2x", name: capture, unit: "bulk-x-plain", most: 3.2, format: "%.2fx", scale: 1},
	{what: "B4: from commit to commit, median: against one prepared insert in PostgreSQL", want: "<= 4x", name: lag, unit: "p50-x-insert", most: 4, format: "%.1fx", scale: 1},
	{what: "B4: the same, p99", want: "<= 10x", name: lag, unit: "p99-x-insert", most: 10, format: "%.1fx", scale: 1},
	{what: "from commit to commit, median", want: "no bar", name: lag, unit: "p50-us", format: "%.0f µs", scale: 1},
	{what: "B4: noticed by looking only, median, beyond four inserts", want: "<= 20 ms", name: "BenchmarkLag/polled", unit: "p50-ms-above-4-inserts", most: 20, format: "%.1f ms", scale: 1},
	{what: "B5: rows of SQLite compared by values and hashed, per second: against bare COPY", want: ">= 0.4x", name: "BenchmarkSealedSource", unit: "rows/s", other: copied, least: .4, format: "%.0f rows/s", scale: 1},
	{what: "B5: rows of PostgreSQL, per second: against bare COPY", want: ">= 0.4x", name: "BenchmarkSealedMirror", unit: "rows/s", other: copied, least: .4, format: "%.0f rows/s", scale: 1},
	{what: "B6: an update with history, CPU of the server: against without", want: "<= 1.7x", name: "BenchmarkHistory/with", unit: "cpu-µs/row", other: "BenchmarkHistory/without", most: 1.7, format: "%.1f µs", scale: 1},
	{what: "P12: a save beside a PostgreSQL that never answers, median: against one that works", want: "<= 1.1x", name: "BenchmarkWriteLatency/blackholed", unit: "p50-us", other: "BenchmarkWriteLatency/healthy", most: 1.1, format: "%.0f µs", scale: 1},
	{what: "P12: the same, p99", want: "<= 1.1x", name: "BenchmarkWriteLatency/blackholed", unit: "p99-us", other: "BenchmarkWriteLatency/healthy", most: 1.1, format: "%.0f µs", scale: 1},
	{what: "B7: a worker without work", want: "<= 0.2 % of a core", name: "BenchmarkIdle", unit: "%-of-a-core", most: .2, format: "%.2f %%", scale: 1},
}
