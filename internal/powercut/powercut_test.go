package powercut

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"firemode/internal/sqlite"

	"github.com/pocketbase/pocketbase/core"
)

// A size is how much is done: recordings, requests of each tablet in one, cuts of one.
type size struct{ worlds, requests, cuts int }

func sizeOf(short, long size) size {
	if os.Getenv("FIREMODE_SOAK") != "" {
		return long
	}
	return short
}

// seedEnv repeats a run's choices. What the disk sees also depends on which goroutine comes
// first, so a directory in which something is wrong is kept as well.
const seedEnv = "FIREMODE_TEST_SEED"

func seedOf(t *testing.T) uint64 {
	t.Helper()
	seed := rand.Uint64()
	if text := os.Getenv(seedEnv); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("%s: %v", seedEnv, err)
		}
	}
	return seed
}

// tally is what a run comes to.
type tally struct {
	cuts, pending, copying int // pending: something was not synced; copying: from the log into the database
	writes, syncs          int
	logs                   int // times the log was begun: the first, and when it is written over
	acked, lost            int // operations, summed over the cuts
	losing                 int // cuts that lost something acknowledged
}

// moments chooses moments to cut at: any, those right after an acknowledgement, and those
// while the log is copied into the database.
func (w *world) moments(rng *rand.Rand, n int, sum *tally) (cuts []int) {
	var copying []int
	for i := w.began; i < len(w.events); i++ {
		if w.inodeOf("data.db") == w.events[i].inode {
			copying = append(copying, i+1)
		}
	}
	for i := range n {
		switch {
		case i%3 == 1:
			cuts = append(cuts, w.acts[rng.IntN(len(w.acts))].acked)
		case i%3 == 2 && len(copying) > 0:
			cuts = append(cuts, copying[rng.IntN(len(copying))])
			sum.copying++
		default:
			cuts = append(cuts, rng.IntN(len(w.events)+1))
		}
	}
	slices.Sort(cuts)
	return cuts
}

// inodeOf is the first inode that had the name.
func (w *world) inodeOf(name string) int {
	if i := slices.IndexFunc(w.start, func(f named) bool { return f.name == name }); i >= 0 {
		return i
	}
	i := slices.IndexFunc(w.events, func(e event) bool { return e.kind == made && e.name == name })
	return w.events[i].inode
}

// cutAll cuts the power at n moments, checks what is found each time, and reports what is
// wrong; with lossy, losses alone are not.
func (w *world) cutAll(t *testing.T, rng *rand.Rand, n int, lossy bool, sum *tally) {
	t.Helper()
	log := w.inodeOf("data.db-wal")
	for _, e := range w.events {
		switch e.kind {
		case wrote:
			sum.writes++
			if e.inode == log && e.off == 0 {
				sum.logs++
			}
		case synced:
			sum.syncs++
		}
	}
	d := NewDisk(w.Recording)
	for i, cut := range w.moments(rng, n, sum) {
		d.Advance(cut)
		fate := AnyFate(rng)
		if lossy && i%3 < 2 {
			fate = Fate{} // nothing pending is kept: no luck is needed to see a loss
		}
		found := d.Cut(fate, rng)
		v := w.checkFiles(t, found, cut)
		sum.cuts++
		sum.acked += v.acked
		sum.lost += v.lost
		if d.Pending() > 0 {
			sum.pending++
		}
		if v.lost > 0 {
			sum.losing++
		}
		if len(v.wrong) > 0 || v.lost > 0 && !lossy {
			t.Errorf("cut at %d of %d with %+v: %d of %d acknowledged operations lost, %v; kept in %s",
				cut, len(w.events), fate, v.lost, v.acked, v.wrong, keep(t, found))
		}
	}
}

// checkFiles checks found in a directory that is gone afterwards: thousands would fill a disk.
func (w *world) checkFiles(t *testing.T, found map[string][]byte, cut int) verdict {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "found")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := WriteFiles(dir, found); err != nil {
		t.Fatal(err)
	}
	v := w.check(dir, cut)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	return v
}

// keep writes found where it stays for whoever looks into it.
func keep(t *testing.T, found map[string][]byte) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "firemode-powercut-")
	if err == nil {
		err = WriteFiles(dir, found)
	}
	if err != nil {
		t.Error(err)
	}
	return dir
}

// TestAcknowledgedSurvivesAPowerCut is the proof.
func TestAcknowledgedSurvivesAPowerCut(t *testing.T) {
	t.Parallel()
	seed, n := seedOf(t), sizeOf(size{1, 24, 16}, size{12, 120, 200})
	var sum tally
	for i := range n.worlds {
		w := record(t, sqlite.Connect, seed+uint64(i), n.requests)
		w.cutAll(t, rand.New(rand.NewPCG(seed, uint64(i))), n.cuts, false, &sum)
	}
	t.Logf("FULL: seed %d, %+v", seed, sum)
	if sum.pending < sum.cuts/4 || sum.copying < sum.cuts/4 || sum.acked == 0 {
		t.Errorf("got %+v, want at least a quarter of the cuts with something to lose and a quarter during a copy", sum)
	}
}

// TestNormalLoses is the negative control: our own way to open a database with that one word
// changed, and PocketBase's, do not sync the log at a commit and lose what was acknowledged,
// and the checker sees it. They lose whole commits from the end: nothing else may be found.
func TestNormalLoses(t *testing.T) {
	t.Parallel()
	seed, n := seedOf(t), sizeOf(size{1, 10, 4}, size{2, 120, 200})
	for name, c := range map[string]connect{"ours with NORMAL": connectNormal, "PocketBase's": core.DefaultDBConnect} {
		var sum tally
		for i := range n.worlds {
			w := record(t, c, seed+uint64(i), n.requests)
			w.cutAll(t, rand.New(rand.NewPCG(seed, uint64(i))), n.cuts, true, &sum)
		}
		t.Logf("%s: seed %d, %+v", name, seed, sum)
		if sum.lost == 0 {
			t.Errorf("%s: nothing was lost in %d cuts", name, sum.cuts)
		}
	}
}

// TestOneLostWriteIsFound is the other negative control: a disk that keeps everything but
// one write which it had confirmed to have synced before the acknowledgement.
func TestOneLostWriteIsFound(t *testing.T) {
	t.Parallel()
	seed, n := seedOf(t), sizeOf(size{1, 8, 2}, size{4, 120, 50})
	tried := 0
	for i := range n.worlds {
		w := record(t, sqlite.Connect, seed+uint64(i), n.requests)
		rng := rand.New(rand.NewPCG(seed, uint64(i)))
		rng.Shuffle(len(w.acts), func(i, j int) { w.acts[i], w.acts[j] = w.acts[j], w.acts[i] })
		left := n.cuts
		for _, a := range w.acts {
			drop := w.syncedWrite(a)
			if left == 0 || drop < 0 {
				continue
			}
			left--
			tried++
			d := NewDisk(w.Recording)
			d.Drop(drop)
			d.Advance(a.acked)
			v := w.checkFiles(t, d.Cut(Fate{Keep: 1, Names: 1}, rng), a.acked)
			if v.lost == 0 && len(v.wrong) == 0 {
				t.Errorf("cut at %d, write %d lost: nothing was found", a.acked, drop)
			}
		}
	}
	t.Logf("seed %d, %d writes lost one by one, all to be found", seed, tried)
	if tried == 0 {
		t.Error("no write was lost")
	}
}

// syncedWrite is the last write of the first sync of the log while a was in the making, or
// -1 when the log was copied meanwhile, so that the database may have it too.
func (w *world) syncedWrite(a act) int {
	data, log := w.inodeOf("data.db"), w.inodeOf("data.db-wal")
	drop := -1
	for i := a.begun; i < a.acked; i++ {
		e := w.events[i]
		if e.inode == data {
			return -1
		}
		if drop >= 0 || e.kind != synced || e.inode != log {
			continue
		}
		for j := e.upto - 1; j >= 0 && drop < 0; j-- {
			if w.events[j].kind == wrote && w.events[j].inode == log {
				drop = j
			}
		}
	}
	return drop
}
