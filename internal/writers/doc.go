// Package writers holds what is measured and proven with a thousand people who write to
// one session at once, over HTTP and against the built binary.
//
// BenchmarkWriters is the load: devices that only send, each its own chain of operations in
// requests of five, none having seen another's. It reports acknowledged operations per
// second, latencies, the server's memory, and reads everything back afterwards.
//
// TestWritersKeepWhatWasAcknowledged gives a crowd of writers to the merge that this project
// replaces, rebuilt in original_test.go, and to ours, and asks one checker what was kept.
// The original is the checker's negative control: it MUST be found losing.
//
// TestKillStorm kills the server, kill -9, while the crowd writes. Each writer keeps its own
// account; inspect_test.go holds what is read back against it, by its own reading of the
// rules, and is shown a dozen lies that it MUST find, a server that acknowledges before it has
// stored anything among them.
//
// TestHistoriesAreLinearizable records what clients asked and were answered, across a kill,
// and has porcupine search for an order of all requests that explains every answer: the log is
// one, whole requests are appended to it, and nobody reads the past. Histories with one
// answer changed MUST have no such order.
package writers
