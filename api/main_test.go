package api_test

import (
	"os"
	"testing"

	"firemode/internal/testapp"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	// PocketBase keeps a cron ticker per app in a goroutine that only a process
	// exit ends; everything else has to be gone.
	code := m.Run()
	testapp.Cleanup()
	if code == 0 {
		if err := goleak.Find(goleak.IgnoreCurrent()); err != nil {
			os.Stderr.WriteString(err.Error() + "\n")
			code = 1
		}
	}
	os.Exit(code)
}
