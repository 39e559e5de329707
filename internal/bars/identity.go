package main

const (
	revocation = "BenchmarkRevocationCheck"
	revealed   = "BenchmarkRevealedList/counted"
	timesStock = "x-stock"
	crowd      = "BenchmarkLoginStorm"
)

// identity has its peers, a stock PocketBase and the other kind of account, in the benchmarks
// themselves: both are asked in turn, and the ratio is one of their figures.
var identity = []bar{
	{what: "a small request with 100,000 live revocations: against a stock PocketBase", want: "<= 1.15x", name: revocation, unit: timesStock, most: 1.15, format: "%.2fx", scale: 1},
	{what: "the same, median", want: "no bar", name: revocation, unit: "ours-ns", format: "%.0f µs", scale: 1e3},
	{what: "the same at the stock PocketBase, median", want: "no bar", name: revocation, unit: "stock-ns", format: "%.0f µs", scale: 1e3},
	{what: "a list of 30 rows with two sealed fields revealed: against plain fields of a stock PocketBase", want: "<= 1.3x", name: revealed, unit: timesStock, most: 1.3, format: "%.2fx", scale: 1},
	{what: "the same, median", want: "no bar", name: revealed, unit: "ours-ns", format: "%.0f µs", scale: 1e3},
	{what: "the same at the stock PocketBase, median", want: "no bar", name: revealed, unit: "stock-ns", format: "%.0f µs", scale: 1e3},
	{what: "the same list without the count of all records", want: "no bar", name: "BenchmarkRevealedList/uncounted", unit: timesStock, format: "%.2fx", scale: 1},
	{what: "200 people who sign in at once until all are in: peak memory of the server", want: "<= 512 MB", name: crowd, unit: "peak-rss-MB", most: 512, format: "%.0f MiB", scale: 1},
	{what: "of them signed in", want: "200", name: crowd, unit: "passed", least: 200, format: "%.0f", scale: 1},
	{what: "failed logins of known accounts with hashes of 1 MiB: against unknown ones", want: "no bar", name: "BenchmarkFailedLogin", unit: "known/unknown", format: "%.2fx", scale: 1},
}
