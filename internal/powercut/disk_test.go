package powercut

import (
	"database/sql"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"
)

// recorded is a recording made by hand: file "a.db" lies there and holds "old".
func recorded(events ...event) *Recording {
	return &Recording{start: []named{{"a.db", []byte("old")}}, events: events, inodes: map[string]int{"a.db": 0}, count: 1}
}

func TestWhatIsPendingMayBeLost(t *testing.T) {
	t.Parallel()
	put := func(inode int, off int64, data string) event {
		return event{kind: wrote, inode: inode, off: off, data: []byte(data)}
	}
	log := event{kind: made, inode: 1, name: "a.db-wal"}
	for name, c := range map[string]struct {
		events         []event
		nothing, whole string // what is found when nothing of the pending is kept, and when all is
	}{
		"a write":                         {[]event{put(0, 0, "new")}, "map[a.db:old]", "map[a.db:new]"},
		"a write behind the end":          {[]event{put(0, 4, "x")}, "map[a.db:old]", "map[a.db:old\x00x]"},
		"a synced write":                  {[]event{put(0, 0, "new"), {kind: synced, upto: 1}}, "map[a.db:new]", "map[a.db:new]"},
		"a write while the sync ran":      {[]event{put(0, 0, "n"), put(0, 1, "w"), {kind: synced, upto: 1}}, "map[a.db:nld]", "map[a.db:nwd]"},
		"a truncation":                    {[]event{{kind: truncated, off: 1}}, "map[a.db:old]", "map[a.db:o]"},
		"a synced truncation":             {[]event{{kind: truncated, off: 1}, {kind: synced, upto: 1}, put(0, 2, "d")}, "map[a.db:o]", "map[a.db:o\x00d]"},
		"another file's sync":             {[]event{log, put(0, 0, "new"), {kind: synced, inode: 1, upto: 2, names: true}}, "map[a.db:old a.db-wal:]", "map[a.db:new a.db-wal:]"},
		"a synced file without its name":  {[]event{log, put(1, 0, "w"), {kind: synced, inode: 1, upto: 2}}, "map[a.db:old]", "map[a.db:old a.db-wal:w]"},
		"a synced file with its name":     {[]event{log, put(1, 0, "w"), {kind: synced, inode: 1, upto: 2, names: true}}, "map[a.db:old a.db-wal:w]", "map[a.db:old a.db-wal:w]"},
		"a removal":                       {[]event{{kind: unlinked, name: "a.db"}}, "map[a.db:old]", "map[]"},
		"a synced removal":                {[]event{{kind: unlinked, name: "a.db", names: true}}, "map[]", "map[]"},
		"a new file under a removed name": {[]event{{kind: unlinked, name: "a.db"}, {kind: made, inode: 1, name: "a.db"}, put(1, 0, "new")}, "map[a.db:old]", "map[a.db:new]"},
	} {
		d := NewDisk(recorded(c.events...))
		d.Advance(len(c.events))
		if got := fmt.Sprintf("%s", d.Cut(Fate{Sector: 512}, nil)); got != c.nothing {
			t.Errorf("%s, nothing kept: got %q, want %q", name, got, c.nothing)
		}
		if got := fmt.Sprintf("%s", d.Cut(Fate{Sector: 512, Keep: 1, Names: 1}, nil)); got != c.whole {
			t.Errorf("%s, all kept: got %q, want %q", name, got, c.whole)
		}
	}
}

// A pending write is torn at the borders of sectors and nowhere else; every combination of
// pieces comes up, and garbage too.
func TestWritesAreTornIntoSectors(t *testing.T) {
	t.Parallel()
	data := make([]byte, 1024) // from 256: a part of sector 0, sector 1, a part of sector 2
	for i := range data {
		data[i] = 1
	}
	d := NewDisk(&Recording{start: []named{{"a.db", make([]byte, 1536)}}, events: []event{{kind: wrote, off: 256, data: data}}})
	d.Advance(1)
	rng := rand.New(rand.NewPCG(1, 2))
	seen, garbage := map[[3]byte]int{}, 0
	for range 200 {
		found := d.Cut(Fate{Sector: 512, Keep: 0.5, Shuffle: true}, rng)["a.db"]
		for i, b := range found {
			outside, sector := i < 256 || i >= 1280, [3]int{256, 512, 1024}[i/512]
			if outside && b != 0 || !outside && b != found[sector] {
				t.Fatalf("byte %d: got %d, want what its sector has", i, b)
			}
		}
		seen[[3]byte{found[256], found[512], found[1024]}]++
		for _, b := range d.Cut(Fate{Sector: 512, Keep: 0.5, Garble: 0.5}, rng)["a.db"] {
			if b > 1 {
				garbage++
				break
			}
		}
	}
	if len(seen) != 8 || garbage == 0 || garbage == 200 {
		t.Errorf("got %d combinations and %d times garbage, want 8 and some", len(seen), garbage)
	}
}

// A recording that has missed a write is found by Compare.
func TestCompareFindsWhatTheLayerMissed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r, err := Record(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Stop()
	db, err := sql.Open("sqlite", filepath.Join(dir, "x.db")+"?_pragma=journal_mode(WAL)")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec("CREATE TABLE x (y); INSERT INTO x VALUES (randomblob(9000))"); err != nil {
		t.Fatal(err)
	}
	if err := r.Compare(); err != nil {
		t.Errorf("with everything recorded: %v", err)
	}
	for i, e := range r.events {
		if e.kind == wrote && len(e.data) > 1000 {
			r.events[i].data = nil
			break
		}
	}
	if r.Compare() == nil {
		t.Error("a missing write was not found")
	}
}
