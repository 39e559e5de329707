package pgsync

import (
	"flag"
	"fmt"
	"os"
	"testing"
	"time"

	"firemode/internal/pgtest"
	"firemode/internal/testapp"

	"go.uber.org/goleak"
)

// everyByte makes the connection-cutting tests try every byte instead of a spread of them. A soak does so too.
var everyByte = flag.Bool("pgsync.everybyte", false, "cut the connection after every single byte")

// soak says that the long forms of the proofs are wanted.
func soak() bool { return os.Getenv("FIREMODE_SOAK") != "" }

// ignored are goroutines that PocketBase leaves behind when an app is reset; ours must all end.
var ignored = []goleak.Option{
	goleak.IgnoreAnyFunction("github.com/pocketbase/pocketbase/core.(*BaseApp).initLogger.func3"),
	goleak.IgnoreAnyFunction("github.com/pocketbase/pocketbase/core.createNotifyDirWatcher.func2"),
	goleak.IgnoreAnyFunction("github.com/fsnotify/fsnotify.(*inotify).readEvents"),
}

func TestMain(m *testing.M) {
	playRole()
	flag.Parse()
	if soak() {
		*everyByte, patience = true, 20*time.Minute
	}
	code := pgtest.Main(m)
	testapp.Cleanup()
	if dir, err := smallTemplate(); err == nil {
		_ = os.RemoveAll(dir)
	}
	if err := goleak.Find(ignored...); code == 0 && err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}
