package powercut

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// kind says what happened to a file.
type kind uint8

const (
	made      kind = iota // a name was given to a new inode
	wrote                 // data at off
	truncated             // to size off
	synced                // all of the inode before upto is durable; with names the directory too
	unlinked              // a name was taken away
)

type event struct {
	kind  kind
	inode int
	name  string // of made and unlinked
	off   int64
	data  []byte
	upto  int  // of synced: events before this one had happened when the sync began
	names bool // of synced and unlinked: the directory was synced as well
}

// A Recording is what happened to the database files of one directory. Its methods are
// safe for many goroutines.
type Recording struct {
	dir   string
	start []named // what lay there; durable

	// still is held for reading while something happens to a file and is noted, so that
	// Compare finds both or neither.
	still sync.RWMutex

	mu     sync.Mutex // guards the rest
	events []event
	inodes map[string]int
	count  int // of inodes
}

type named struct {
	name string
	data []byte
}

// Record begins to record dir. No database in it may be open.
func Record(dir string) (*Recording, error) {
	if err := Install(); err != nil {
		return nil, err
	}
	dir, err := filepath.EvalSymlinks(dir) // SQLite resolves links before it opens
	if err != nil {
		return nil, fmt.Errorf("find directory: %w", err)
	}
	r := &Recording{dir: dir, inodes: map[string]int{}}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("read directory: %w", err)
	}
	for _, e := range entries {
		if !isDatabase(e.Name()) {
			continue
		}
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, fmt.Errorf("read file: %w", err)
		}
		r.start = append(r.start, named{e.Name(), data})
		r.inodes[e.Name()] = r.count
		r.count++
	}
	layer.mu.Lock()
	defer layer.mu.Unlock()
	layer.records[dir] = r
	return r, nil
}

// isDatabase tells a database, its log and its journal from other files. The shared memory
// of the WAL index is not part of the database.
func isDatabase(name string) bool {
	return strings.HasSuffix(strings.TrimSuffix(strings.TrimSuffix(name, "-wal"), "-journal"), ".db")
}

// Stop ends the recording. The databases MUST be closed, or not be written to any more.
func (r *Recording) Stop() {
	layer.mu.Lock()
	defer layer.mu.Unlock()
	delete(layer.records, r.dir)
}

// Now is the number of events so far: the moment that a cut after them is at.
func (r *Recording) Now() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.events)
}

func (r *Recording) add(e event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
}

// opened returns the inode that name stands for, a new one when it was not there.
func (r *Recording) opened(name string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	inode, ok := r.inodes[name]
	if !ok {
		inode = r.count
		r.count++
		r.inodes[name] = inode
		r.events = append(r.events, event{kind: made, inode: inode, name: name})
	}
	return inode
}

func (r *Recording) removed(name string, durable bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	inode, ok := r.inodes[name]
	if !ok {
		return
	}
	delete(r.inodes, name)
	r.events = append(r.events, event{kind: unlinked, inode: inode, name: name, names: durable})
}

// Compare reports the first difference between the files as they are and the recording
// when nothing of it is lost: something has passed the layer by. Others who write wait.
func (r *Recording) Compare() error {
	r.still.Lock()
	defer r.still.Unlock()
	d := NewDisk(r)
	d.Advance(r.Now())
	want := d.Cut(Fate{Keep: 1, Names: 1}, nil)
	entries, err := os.ReadDir(r.dir)
	if err != nil {
		return fmt.Errorf("read directory: %w", err)
	}
	seen := 0
	for _, e := range entries {
		if !isDatabase(e.Name()) {
			continue
		}
		seen++
		got, err := os.ReadFile(filepath.Join(r.dir, e.Name()))
		if err != nil {
			return fmt.Errorf("read file: %w", err)
		}
		if recorded, ok := want[e.Name()]; !ok || !bytes.Equal(got, recorded) {
			return fmt.Errorf("compare recording: %s has %d bytes and the recording of it %d, which differ", e.Name(), len(got), len(recorded))
		}
	}
	if seen != len(want) {
		return fmt.Errorf("compare recording: %d files, and %d were recorded", seen, len(want))
	}
	return nil
}
