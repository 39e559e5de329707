package simulation

import (
	"fmt"
	"os"
	"testing"

	"firemode/internal/testapp"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	code := m.Run()
	testapp.Cleanup()
	if code == 0 {
		if err := goleak.Find(pocketbaseOwn...); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// pocketbaseOwn are goroutines that PocketBase leaves behind when an app is closed.
var pocketbaseOwn = []goleak.Option{
	goleak.IgnoreAnyFunction("github.com/pocketbase/pocketbase/core.(*BaseApp).initLogger.func3"),
	goleak.IgnoreAnyFunction("github.com/pocketbase/pocketbase/core.createNotifyDirWatcher.func2"),
	goleak.IgnoreAnyFunction("github.com/fsnotify/fsnotify.(*inotify).readEvents"),
}
