//go:build race

package testbin

// raceDetector says whether this test process, and so the binary it builds,
// runs under the race detector.
const raceDetector = true
