package collections_test

import (
	"os"
	"testing"

	"firemode/collections"
	"firemode/internal/pgtest"
	"firemode/internal/testapp"
	"firemode/sealed"
)

func TestMain(m *testing.M) {
	ring, err := sealed.Parse("cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=")
	if err != nil {
		panic(err)
	}
	collections.UseSealer(ring)
	code := pgtest.Main(m)
	testapp.Cleanup()
	os.Exit(code)
}
