package powercut

import (
	"fmt"
	"path/filepath"
	"sync"
	"unsafe"

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"
)

// Types of the methods that the layer replaces, as the driver's translation of SQLite
// calls them.
type (
	openFunc     = func(tls *libc.TLS, vfs, name, file uintptr, flags int32, outFlags uintptr) int32
	deleteFunc   = func(tls *libc.TLS, vfs, name uintptr, syncDir int32) int32
	closeFunc    = func(tls *libc.TLS, file uintptr) int32
	writeFunc    = func(tls *libc.TLS, file, buf uintptr, n int32, off int64) int32
	truncateFunc = func(tls *libc.TLS, file uintptr, size int64) int32
	syncFunc     = func(tls *libc.TLS, file uintptr, flags int32) int32
)

// layer is the state of the one VFS that Install makes.
var layer struct {
	base uintptr // the VFS below

	mu      sync.RWMutex          // guards the rest
	records map[string]*Recording // by directory
	files   map[uintptr]*openFile // open files of recorded directories
	methods map[uintptr]uintptr   // method table of the VFS below to ours
}

// openFile is a file handle of SQLite.
type openFile struct {
	r       *Recording
	inode   int
	methods uintptr // of the VFS below
	// syncsName: the next sync of this handle also syncs its directory, as SQLite's unix
	// VFS does for journals and logs that it has opened to create.
	syncsName bool
}

// Install makes the layer SQLite's default VFS in this process, once. It MUST be called
// before the databases that are to be recorded are opened.
var Install = sync.OnceValue(func() error {
	tls := libc.NewTLS() // kept: the VFS lives as long as the process
	if rc := sqlite3.Xsqlite3_initialize(tls); rc != sqlite3.SQLITE_OK {
		return fmt.Errorf("initialise SQLite: code %d", rc)
	}
	layer.base = sqlite3.Xsqlite3_vfs_find(tls, 0)
	if layer.base == 0 {
		return fmt.Errorf("find default VFS: there is none")
	}
	layer.records, layer.files, layer.methods = map[string]*Recording{}, map[uintptr]*openFile{}, map[uintptr]uintptr{}
	name, err := libc.CString("powercut")
	if err != nil {
		return fmt.Errorf("name VFS: %w", err)
	}
	ours := sqlite3.Xsqlite3_malloc(tls, int32(unsafe.Sizeof(sqlite3.Tsqlite3_vfs{})))
	if ours == 0 {
		return fmt.Errorf("make VFS: no memory")
	}
	vfs := at[sqlite3.Tsqlite3_vfs](ours)
	*vfs = *at[sqlite3.Tsqlite3_vfs](layer.base)
	vfs.FzName, vfs.FpNext = name, 0
	vfs.FxOpen, vfs.FxDelete = pointer(openFunc(xOpen)), pointer(deleteFunc(xDelete))
	if rc := sqlite3.Xsqlite3_vfs_register(tls, ours, 1); rc != sqlite3.SQLITE_OK {
		return fmt.Errorf("register VFS: code %d", rc)
	}
	return nil
})

// at is the C structure at address p.
func at[T any](p uintptr) *T { return *(**T)(unsafe.Pointer(&p)) }

// method is the function that a C function pointer of the driver stands for.
func method[F any](p uintptr) F { return *(*F)(unsafe.Pointer(&p)) }

// pointer is the C function pointer for f, which MUST be a function at package level: the
// garbage collector does not see it there.
func pointer[F any](f F) uintptr { return *(*uintptr)(unsafe.Pointer(&f)) }

// recordingOf returns the recording of the directory that the file lies in, or nil.
func recordingOf(path string) *Recording {
	layer.mu.RLock()
	defer layer.mu.RUnlock()
	return layer.records[filepath.Dir(path)]
}

func fileOf(file uintptr) *openFile {
	layer.mu.RLock()
	defer layer.mu.RUnlock()
	return layer.files[file]
}

func xOpen(tls *libc.TLS, _, zName, file uintptr, flags int32, outFlags uintptr) int32 {
	path := libc.GoString(zName) // empty for a temporary file
	r := recordingOf(path)
	if r != nil {
		r.still.RLock()
		defer r.still.RUnlock()
	}
	open := method[openFunc](at[sqlite3.Tsqlite3_vfs](layer.base).FxOpen)
	rc := open(tls, layer.base, zName, file, flags, outFlags)
	if rc != sqlite3.SQLITE_OK || r == nil {
		return rc
	}
	const journals = sqlite3.SQLITE_OPEN_WAL | sqlite3.SQLITE_OPEN_MAIN_JOURNAL | sqlite3.SQLITE_OPEN_SUPER_JOURNAL
	f := &openFile{
		r: r, inode: r.opened(filepath.Base(path)), methods: at[sqlite3.Tsqlite3_file](file).FpMethods,
		syncsName: flags&sqlite3.SQLITE_OPEN_CREATE != 0 && flags&journals != 0,
	}
	layer.mu.Lock()
	defer layer.mu.Unlock()
	ours, ok := layer.methods[f.methods]
	if !ok {
		ours = sqlite3.Xsqlite3_malloc(tls, int32(unsafe.Sizeof(sqlite3.Tsqlite3_io_methods{})))
		if ours == 0 {
			return sqlite3.SQLITE_NOMEM
		}
		m := at[sqlite3.Tsqlite3_io_methods](ours)
		*m = *at[sqlite3.Tsqlite3_io_methods](f.methods)
		m.FxClose, m.FxWrite = pointer(closeFunc(xClose)), pointer(writeFunc(xWrite))
		m.FxTruncate, m.FxSync = pointer(truncateFunc(xTruncate)), pointer(syncFunc(xSync))
		layer.methods[f.methods] = ours
	}
	layer.files[file] = f
	at[sqlite3.Tsqlite3_file](file).FpMethods = ours
	return rc
}

func xClose(tls *libc.TLS, file uintptr) int32 {
	layer.mu.Lock()
	f := layer.files[file]
	delete(layer.files, file)
	layer.mu.Unlock()
	at[sqlite3.Tsqlite3_file](file).FpMethods = f.methods
	return method[closeFunc](at[sqlite3.Tsqlite3_io_methods](f.methods).FxClose)(tls, file)
}

func xWrite(tls *libc.TLS, file, buf uintptr, n int32, off int64) int32 {
	f := fileOf(file)
	f.r.still.RLock()
	defer f.r.still.RUnlock()
	rc := method[writeFunc](at[sqlite3.Tsqlite3_io_methods](f.methods).FxWrite)(tls, file, buf, n, off)
	// A failed write may have written a part: then all of it is pending.
	f.r.add(event{kind: wrote, inode: f.inode, off: off, data: append([]byte(nil), libc.GoBytes(buf, int(n))...)})
	return rc
}

func xTruncate(tls *libc.TLS, file uintptr, size int64) int32 {
	f := fileOf(file)
	f.r.still.RLock()
	defer f.r.still.RUnlock()
	rc := method[truncateFunc](at[sqlite3.Tsqlite3_io_methods](f.methods).FxTruncate)(tls, file, size)
	f.r.add(event{kind: truncated, inode: f.inode, off: size})
	return rc
}

func xSync(tls *libc.TLS, file uintptr, flags int32) int32 {
	f := fileOf(file)
	upto := f.r.Now()
	rc := method[syncFunc](at[sqlite3.Tsqlite3_io_methods](f.methods).FxSync)(tls, file, flags)
	if rc == sqlite3.SQLITE_OK {
		f.r.add(event{kind: synced, inode: f.inode, upto: upto, names: f.syncsName})
		f.syncsName = false // a handle belongs to one thread at a time
	}
	return rc
}

func xDelete(tls *libc.TLS, _, zName uintptr, syncDir int32) int32 {
	path := libc.GoString(zName)
	r := recordingOf(path)
	if r != nil {
		r.still.RLock()
		defer r.still.RUnlock()
	}
	rc := method[deleteFunc](at[sqlite3.Tsqlite3_vfs](layer.base).FxDelete)(tls, layer.base, zName, syncDir)
	if r != nil && rc == sqlite3.SQLITE_OK {
		r.removed(filepath.Base(path), syncDir != 0)
	}
	return rc
}
