package powercut

import (
	"os"
	"testing"

	"firemode/internal/testapp"
)

func TestMain(m *testing.M) {
	if err := Install(); err != nil { // before any database is opened
		panic(err)
	}
	code := m.Run()
	testapp.Cleanup()
	os.Exit(code)
}
