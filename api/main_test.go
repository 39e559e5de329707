package api_test

import (
	"os"
	"testing"

	"firemode/collections"
	"firemode/internal/browser"
	"firemode/internal/testapp"
	"firemode/sealed"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	keys, err := sealed.Parse(sealed.Generate())
	if err != nil {
		panic(err)
	}
	collections.UseSealer(keys)
	before := goleak.IgnoreCurrent()
	code := m.Run()
	testapp.Cleanup()
	browser.Cleanup()
	if code == 0 {
		if err := goleak.Find(before); err != nil {
			os.Stderr.WriteString(err.Error() + "\n")
			code = 1
		}
	}
	os.Exit(code)
}
