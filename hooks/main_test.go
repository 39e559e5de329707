package hooks

import (
	"os"
	"testing"

	"firemode/collections"
	"firemode/internal/testapp"
	"firemode/sealed"

	"go.uber.org/goleak"
)

// testKey is the keyring of every test in this package.
const testKey = "cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4="

func TestMain(m *testing.M) {
	ring, err := sealed.Parse(testKey)
	if err != nil {
		panic(err)
	}
	collections.UseSealer(ring)
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		testapp.Cleanup()
		os.Exit(code)
	}))
}
