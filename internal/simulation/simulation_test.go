package simulation

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
)

var (
	seedFlag = flag.Uint64("seed", 1, "the seed that TestReplay runs")
	actsFlag = flag.Int("acts", actsPerSeed, "acts of the seed that TestReplay runs")
)

// actsPerSeed is enough for a tablet to be restored, found out and restored again.
const actsPerSeed = 120

type serverMaker func(session string, now *int64) server

func onModel(session string, now *int64) server { return newModel(session, now) }

// caught runs fn and returns the promise that it found broken, or nil.
func caught(fn func()) (err error) {
	defer func() {
		if p := recover(); p != nil {
			v, ours := p.(violation)
			if !ours {
				panic(p)
			}
			err = errors.New(v.what)
		}
	}()
	fn()
	return nil
}

// run lets acts happen in the world of a seed and returns the promise that was broken, or
// nil. trace and counts may be nil.
func run(seed uint64, acts []act, srv serverMaker, b broken, trace *[]string, counts map[string]int) error {
	return caught(func() {
		w := newWorld(seed, srv, b)
		w.trace = trace
		if counts != nil {
			w.counts = counts
		}
		w.play(acts)
	})
}

// play lets acts happen and then ends all trouble; first those of the network, then, when
// everything lies in the log, those of rights.
func (w *world) play(acts []act) {
	for i, a := range acts {
		w.now += 500
		w.note("%d %s", i, a.kind.name)
		w.counts[a.kind.name]++
		a.do(w)
	}
	w.heal()
	clear(w.lapsed)
	w.note("rights return, and a supervisor looks at what is in quarantine")
	w.admit(w.devices[0], rand.New(rand.NewPCG(w.seed, 3)))
	w.heal()
	w.counts["operations"] += len(w.ledger.rows)
}

// shrink takes acts out as long as the world still finds something broken.
func shrink(seed uint64, acts []act, srv serverMaker, b broken) []act {
	tries := 0
	for size := len(acts) / 2; size > 0; size /= 2 {
		for from := 0; from+size <= len(acts) && tries < shrinkTriesMax; {
			tries++
			fewer := append(append([]act{}, acts[:from]...), acts[from+size:]...)
			if run(seed, fewer, srv, b, nil, nil) != nil {
				acts = fewer
			} else {
				from += size
			}
		}
	}
	return acts
}

const shrinkTriesMax = 1000

// report describes a failed seed by the fewest acts that still fail.
func report(seed uint64, acts []act, srv serverMaker, b broken) string {
	acts = shrink(seed, acts, srv, b)
	var trace []string
	err := run(seed, acts, srv, b, &trace, nil)
	return fmt.Sprintf("seed %d: %v\n%s\nafter %d acts; again: go test ./internal/simulation -run Replay -seed %d",
		seed, err, strings.Join(trace, "\n"), len(acts), seed)
}

func soaking() bool { return os.Getenv("FIREMODE_SOAK") != "" }

// Whatever a seed does to the world, everything that was promised holds.
func TestWorld(t *testing.T) {
	t.Parallel()
	seeds := 250
	if soaking() {
		seeds = 50_000
	}
	counts := map[string]int{}
	for seed := range uint64(seeds) {
		acts := plan(seed, actsPerSeed)
		if err := run(seed, acts, onModel, broken{}, nil, counts); err != nil {
			t.Fatal(report(seed, acts, onModel, broken{}))
		}
	}
	for _, what := range []string{
		"rows in quarantine", "late rows", "admissions", "admissions in quarantine", "operations issued again",
		"operations issued again beside their original", "transactions lost", "tablets restored", "servers restored that lacked something",
		"reissue after fork", "reissue after foreign", "removals of nothing",
		"redact", "erased acts that come again", "reissue after erased",
	} {
		if counts[what] == 0 {
			t.Errorf("%s: none in %d seeds, which prove nothing about them", what, seeds)
		}
	}
	t.Logf("%d seeds: %v", seeds, counts)
}

// TestReplay runs one seed on both servers and, with -v, tells what happened.
func TestReplay(t *testing.T) {
	t.Parallel()
	acts := plan(*seedFlag, *actsFlag)
	if err := run(*seedFlag, acts, onModel, broken{}, nil, nil); err != nil {
		t.Fatal(report(*seedFlag, acts, onModel, broken{}))
	}
	trace, err := onBoth(t, *seedFlag, acts)
	t.Log(trace)
	if err != nil {
		t.Error(err)
	}
}

// onBoth runs a seed on a model and a service with a data directory of its own.
func onBoth(t *testing.T, seed uint64, acts []act) (trace string, err error) {
	t.Helper()
	var lines []string
	err = run(seed, acts, modelAnd(services(t)), broken{}, &lines, nil)
	return strings.Join(lines, "\n"), err
}

func modelAnd(other serverMaker) serverMaker {
	return func(session string, now *int64) server { return pair{newModel(session, now), other(session, now)} }
}

// The service gives the model's answers, whatever a seed does to both.
func TestServiceIsTheModel(t *testing.T) {
	t.Parallel()
	seeds := 20
	if soaking() {
		seeds = 1000
	}
	counts := map[string]int{}
	var last *service
	maker := services(t)
	both := modelAnd(func(session string, now *int64) server {
		last = maker(session, now).(*service)
		return last
	})
	for seed := range uint64(seeds) {
		acts := plan(seed, actsPerSeed)
		if err := run(seed, acts, both, broken{}, nil, counts); err != nil {
			trace, again := onBoth(t, seed, acts)
			t.Fatalf("seed %d: %v\nagain: %v\n%s", seed, err, again, trace)
		}
	}
	if n := last.snapshots(); n < seeds/2 {
		t.Errorf("%d snapshots in %d seeds: documents were read from the log alone", n, seeds)
	}
	t.Logf("%d seeds: %v", seeds, counts)
}

// A report names the seed and the few acts that matter, and the same acts fail the same way.
func TestReportIsShort(t *testing.T) {
	t.Parallel()
	const seed = 6
	b := broken{noOrigin: true}
	acts := plan(seed, actsPerSeed)
	few := shrink(seed, acts, onModel, b)
	first, second := run(seed, few, onModel, b, nil, nil), run(seed, few, onModel, b, nil, nil)
	if first == nil || second == nil || first.Error() != second.Error() {
		t.Errorf("run twice: got %v and %v, want the same violation", first, second)
	}
	text := report(seed, acts, onModel, b)
	if len(few) > actsPerSeed/4 || !strings.HasPrefix(text, "seed 6: every act counts once") || !strings.Contains(text, "-run Replay -seed 6") {
		t.Errorf("%d of %d acts left: %s", len(few), len(acts), text)
	}
}
