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
package writers
