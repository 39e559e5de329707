package powercut

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
)

// A Disk plays a recording. It is for one goroutine.
type Disk struct {
	events []event
	at     int // events before this one have happened
	drop   int // a write that the disk loses although it was synced, or -1
	files  map[int]*file
	names  map[string]int // durable names
	moves  []int          // pending events made and unlinked
}

type file struct {
	durable []byte
	pending []int // events wrote and truncated
}

// NewDisk returns the disk as it was when r began. What r records later is not seen.
func NewDisk(r *Recording) *Disk {
	r.mu.Lock()
	defer r.mu.Unlock()
	d := &Disk{events: r.events[:len(r.events):len(r.events)], drop: -1, files: map[int]*file{}, names: map[string]int{}}
	for i, f := range r.start {
		d.names[f.name] = i
		d.files[i] = &file{durable: bytes.Clone(f.data)}
	}
	return d
}

// Drop makes the disk a faulty one: it loses the write at event i, synced or not.
func (d *Disk) Drop(i int) { d.drop = i }

// Advance goes on to the moment after n events. It never goes back.
func (d *Disk) Advance(n int) {
	for ; d.at < n; d.at++ {
		e := &d.events[d.at]
		switch e.kind {
		case made:
			d.files[e.inode] = &file{}
			d.moves = append(d.moves, d.at)
		case wrote, truncated:
			f := d.files[e.inode]
			f.pending = append(f.pending, d.at)
		case synced:
			f := d.files[e.inode]
			f.pending = slices.DeleteFunc(f.pending, func(i int) bool {
				if i < e.upto && i != d.drop {
					f.durable = d.apply(f.durable, i)
				}
				return i < e.upto
			})
			if e.names {
				d.syncNames(e.upto)
			}
		case unlinked:
			d.moves = append(d.moves, d.at)
			if e.names {
				d.syncNames(d.at + 1)
			}
		}
	}
}

func (d *Disk) syncNames(upto int) {
	d.moves = slices.DeleteFunc(d.moves, func(i int) bool {
		if i < upto {
			d.move(d.names, i)
		}
		return i < upto
	})
}

func (d *Disk) move(names map[string]int, i int) {
	if e := &d.events[i]; e.kind == made {
		names[e.name] = e.inode
	} else {
		delete(names, e.name)
	}
}

func (d *Disk) apply(data []byte, i int) []byte {
	e := &d.events[i]
	if e.kind == truncated {
		return resize(data, int(e.off))
	}
	return write(data, int(e.off), e.data)
}

func write(data []byte, off int, p []byte) []byte {
	if off+len(p) > len(data) {
		data = resize(data, off+len(p))
	}
	copy(data[off:], p)
	return data
}

func resize(data []byte, n int) []byte {
	if n <= len(data) {
		return data[:n]
	}
	was := len(data)
	data = slices.Grow(data, n-was)[:n]
	clear(data[was:]) // may hold what was truncated
	return data
}

// Pending is the number of writes and names that a cut now may lose.
func (d *Disk) Pending() int {
	n := len(d.moves)
	for _, f := range d.files {
		n += len(f.pending)
	}
	return n
}

// A Fate says what becomes of what is pending.
type Fate struct {
	Sector  int     // bytes; 0 leaves writes whole
	Keep    float64 // the share of pieces that is kept
	Garble  float64 // the share of the kept that holds garbage from some byte on
	Names   float64 // the share of names made and removed that is kept
	Shuffle bool    // pieces land in any order
}

// AnyFate draws a fate. Losing everything and losing nothing are among them.
func AnyFate(rng *rand.Rand) Fate {
	f := Fate{Sector: []int{512, 4096}[rng.IntN(2)], Keep: rng.Float64(), Names: rng.Float64()}
	switch rng.IntN(6) {
	case 0:
		f.Keep, f.Names = 0, 0
	case 1:
		f.Keep, f.Names = 1, 1
	case 2:
		f.Keep = 0.95 // holes in what is there are the hardest to see
	}
	if rng.IntN(2) == 0 {
		f.Garble = 0.1
	}
	f.Shuffle = rng.IntN(2) == 0
	return f
}

// A piece is a part of a pending write within one sector, or a whole truncation.
type piece struct {
	off      int
	data     []byte
	truncate bool
}

func (d *Disk) pieces(f *file, sector int) (all []piece) {
	for _, i := range f.pending {
		e := &d.events[i]
		if e.kind == truncated {
			all = append(all, piece{off: int(e.off), truncate: true})
			continue
		}
		for off, rest := int(e.off), e.data; len(rest) > 0; {
			n := len(rest)
			if sector > 0 {
				n = min(n, sector-off%sector)
			}
			all = append(all, piece{off: off, data: rest[:n]})
			off, rest = off+n, rest[n:]
		}
	}
	return all
}

// Cut returns the files that are found after a cut of the power now, by name. The disk
// stays as it is, so that it can go on and be cut again. rng may be nil when fate leaves
// nothing to chance.
func (d *Disk) Cut(fate Fate, rng *rand.Rand) map[string][]byte {
	chance := func(share float64) bool { return share >= 1 || share > 0 && rng.Float64() < share }
	names := make(map[string]int, len(d.names))
	for name, inode := range d.names {
		names[name] = inode
	}
	for _, i := range d.moves {
		if chance(fate.Names) {
			d.move(names, i)
		}
	}
	found := make(map[string][]byte, len(names))
	// In the order of the names, so that a seed always draws the same.
	sorted := make([]string, 0, len(names))
	for name := range names {
		sorted = append(sorted, name)
	}
	slices.Sort(sorted)
	for _, name := range sorted {
		f := d.files[names[name]]
		data, pieces := bytes.Clone(f.durable), d.pieces(f, fate.Sector)
		if fate.Shuffle {
			rng.Shuffle(len(pieces), func(i, j int) { pieces[i], pieces[j] = pieces[j], pieces[i] })
		}
		for _, p := range pieces {
			switch {
			case !chance(fate.Keep):
			case p.truncate:
				data = resize(data, p.off)
			case chance(fate.Garble):
				data = write(data, p.off, garbled(p.data, rng))
			default:
				data = write(data, p.off, p.data)
			}
		}
		found[name] = data
	}
	return found
}

func garbled(p []byte, rng *rand.Rand) []byte {
	p = bytes.Clone(p)
	for i := rng.IntN(len(p)); i < len(p); i++ {
		p[i] = byte(rng.Uint32())
	}
	return p
}

// WriteFiles puts found files into dir.
func WriteFiles(dir string, files map[string][]byte) error {
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			return fmt.Errorf("write image: %w", err)
		}
	}
	return nil
}
