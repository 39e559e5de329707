//go:build !race

package testbin

const raceDetector = false
