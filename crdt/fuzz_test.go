package crdt

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// seedDirs are the fuzz targets; each MUST have seeds under testdata/fuzz.
var seedDirs = []string{"FuzzParseOp", "FuzzCanonicalJSON", "FuzzHistory", "FuzzSnapshot"}

// readSeeds returns the inputs stored for a fuzz target.
func readSeeds(t testing.TB, target string) [][]byte {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", "fuzz", target, "*"))
	if err != nil {
		t.Fatal(err)
	}
	var seeds [][]byte
	for _, name := range files {
		raw, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		version, body, _ := strings.Cut(string(raw), "\n")
		literal := strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(body), "[]byte("), ")")
		seed, err := strconv.Unquote(literal)
		if version != "go test fuzz v1" || err != nil {
			t.Fatalf("%s: no seed of one []byte: %v", name, err)
		}
		seeds = append(seeds, []byte(seed))
	}
	return seeds
}

// TestSeedsAreThere fails when a loader would find nothing and pass for that reason, and
// when the seeds do not reach both verdicts of the parser.
func TestSeedsAreThere(t *testing.T) {
	t.Parallel()
	for _, target := range seedDirs {
		if n := len(readSeeds(t, target)); n < 3 {
			t.Errorf("%s: got %d seeds, want 3 or more", target, n)
		}
	}
	good, bad := 0, 0
	for _, seed := range readSeeds(t, "FuzzParseOp") {
		if _, err := ParseOp(seed); err == nil {
			good++
		} else {
			bad++
		}
	}
	if good == 0 || bad == 0 {
		t.Errorf("FuzzParseOp: got %d good and %d bad seeds, want both", good, bad)
	}
}

func FuzzParseOp(f *testing.F) {
	for _, line := range goodLines {
		f.Add([]byte(line))
	}
	f.Fuzz(func(t *testing.T, line []byte) { compareReaders(t, line) })
}

func FuzzCanonicalJSON(f *testing.F) {
	f.Add([]byte(`{"b":[1.50,-0,{"$num":"1e3"}],"a":"\ud83d\ude00\u0000"}`))
	f.Fuzz(func(t *testing.T, raw []byte) { checkCanonical(t, raw) })
}

// FuzzHistory takes the input for the choices of a session, so that the fuzzer mutates what
// people do rather than bytes of lines.
func FuzzHistory(f *testing.F) {
	f.Add([]byte("0123456789 a session in which nothing special happens 9876543210"))
	f.Fuzz(func(t *testing.T, choices []byte) {
		i := 0
		h := play(func(n int) int {
			if i >= len(choices) {
				return 0
			}
			i++
			return int(choices[i-1]) % n
		}, min(len(choices)/3, 60))
		if err := checkHistory(h, h.spec().text(), 3, seeded(uint64(len(choices))), newDoc); err != nil {
			t.Fatal(err)
		}
	})
}
