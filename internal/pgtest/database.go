package pgtest

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
)

// shared is the one server of this test process, started by the first Database.
var shared struct {
	sync.Mutex // guards server and failed
	server     *Server
	failed     error // a start that failed once fails every test at once instead of trying again for each
}

var databases atomic.Int64

// Main runs the tests and then stops the shared server; use it as the body of TestMain:
//
//	func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }
//
// Without it the server still ends with the process, but on Linux only, and its directory stays behind.
func Main(m *testing.M) int {
	defer StopShared()
	return m.Run()
}

// StopShared stops the shared server, if one was started.
func StopShared() {
	shared.Lock()
	defer shared.Unlock()
	if shared.server != nil {
		shared.server.Stop()
		shared.server = nil
	}
}

// Database creates an empty database and returns its connection string in postgres:// form, which is also fit for
// DATABASE_URL. The database is dropped when the test ends, with every connection that is still open.
// It fails the test when there is no server to be had.
func Database(t testing.TB) string {
	t.Helper()
	ctx := context.Background()
	admin, url := cluster(t)
	name := fmt.Sprintf("t%d_%d", os.Getpid(), databases.Add(1))
	if err := execute(ctx, admin, "CREATE DATABASE "+name+" TEMPLATE template0 ENCODING 'UTF8'"); err != nil {
		t.Fatalf("create test database: %v", err)
	}
	t.Cleanup(func() {
		if err := execute(ctx, admin, "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)"); err != nil {
			t.Errorf("drop test database: %v", err)
		}
	})
	return url(name)
}

// cluster returns the connection string for administration and the way to name one of its databases.
func cluster(t testing.TB) (admin string, database func(name string) string) {
	t.Helper()
	if dsn := os.Getenv("FIREMODE_TEST_POSTGRES"); dsn != "" {
		return dsn, func(name string) string { return withDatabase(dsn, name) }
	}
	shared.Lock()
	defer shared.Unlock()
	if shared.server == nil && shared.failed == nil {
		ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
		defer cancel()
		shared.server, shared.failed = Start(ctx)
	}
	if shared.failed != nil {
		t.Fatalf("start PostgreSQL: %v", shared.failed)
	}
	return shared.server.DSN("postgres"), shared.server.URL
}

// withDatabase replaces the database of a connection string in either form.
func withDatabase(dsn, name string) string {
	if u, err := url.Parse(dsn); err == nil && strings.HasPrefix(u.Scheme, "postgres") {
		u.Path = "/" + name
		return u.String()
	}
	return dsn + " dbname=" + name // the last value of a keyword wins
}

func execute(ctx context.Context, dsn, sql string) error {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, sql)
	return err
}
