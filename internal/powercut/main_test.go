package powercut

import (
	"context"
	"os"
	"strings"
	"sync"
	"testing"

	"firemode/internal/sqlite"
	"firemode/internal/testapp"

	"github.com/pocketbase/dbx"
	driver "modernc.org/sqlite"
)

func TestMain(m *testing.M) {
	if err := Install(); err != nil { // before any database is opened
		panic(err)
	}
	driver.RegisterConnectionHook(makeNormal)
	code := m.Run()
	testapp.Cleanup()
	os.Exit(code)
}

// normal holds the paths of the databases that connectNormal has opened.
var normal sync.Map

// connectNormal is the product's Connect with NORMAL for FULL.
func connectNormal(path string) (*dbx.DB, error) {
	normal.Store(path, true)
	return sqlite.Connect(path)
}

// makeNormal runs on every new connection, after its other pragmas.
func makeNormal(conn driver.ExecQuerierContext, dsn string) error {
	path, _, _ := strings.Cut(dsn, "?")
	if _, ok := normal.Load(path); !ok {
		return nil
	}
	_, err := conn.ExecContext(context.Background(), "PRAGMA synchronous = NORMAL", nil)
	return err
}
