package hooks

import (
	"os"
	"testing"

	"firemode/internal/testapp"
)

func TestMain(m *testing.M) {
	code := m.Run()
	testapp.Cleanup()
	os.Exit(code)
}
