package identity

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"firemode/internal/sqlite"
	"firemode/internal/testapp"
	"firemode/internal/testbin"

	"github.com/pocketbase/dbx"
)

const (
	// attemptTimeout bounds one request; a crowd waits for two cores.
	attemptTimeout = 2 * time.Minute
	// retryEvery is how long a client waits when the server did not answer: it may be dead.
	retryEvery = 50 * time.Millisecond

	rootEmail, rootPassword = "root@example.com", "correct horse battery"
)

func TestMain(m *testing.M) {
	testbin.Shipped()
	code := m.Run()
	testbin.Cleanup()
	testapp.Cleanup()
	os.Exit(code)
}

// long says whether the long form of a proof is asked for.
func long() bool { return os.Getenv("FIREMODE_SOAK") != "" }

func newKey(tb testing.TB) string {
	tb.Helper()
	return strings.TrimSpace(testbin.MustRun(tb, nil, "keys", "generate"))
}

// newEnv is the environment of a fresh data directory.
func newEnv(tb testing.TB, keys string) testbin.Env {
	tb.Helper()
	return testbin.Env{
		"FIREMODE_DATA": tb.TempDir() + "/data", "FERNET_KEY": keys, "FIREMODE_WRITES_PER_SECOND": "0",
		"JWT_SECRET": strings.Repeat("identity secret ", 3), "JWT_EXPIRES_IN_SECONDS": "86400",
	}
}

// openDB opens the database of a data directory past every hook.
func openDB(tb testing.TB, env testbin.Env) *dbx.DB {
	tb.Helper()
	db, err := sqlite.Connect(filepath.Join(env["FIREMODE_DATA"], "data.db"))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = db.Close() })
	return db
}

// client sends requests on the account of a token.
type client struct {
	http       *http.Client
	url, token string
}

func newClient(tb testing.TB, url string) *client {
	c := &client{http: &http.Client{Timeout: attemptTimeout, Transport: &http.Transport{MaxIdleConnsPerHost: 256}}, url: url}
	tb.Cleanup(c.http.CloseIdleConnections)
	return c
}

// as is the same client with another token.
func (c *client) as(token string) *client {
	other := *c
	other.token = token
	return &other
}

// statusError is an answer other than a success.
type statusError struct {
	code   int
	header http.Header
	text   string
}

func (e *statusError) Error() string { return e.text }

// send makes one request; into may be nil. An answer that is no success is a *statusError.
func (c *client) send(method, path string, body, into any) error {
	var reader io.Reader
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			return err
		}
		reader = bytes.NewReader(raw)
	}
	req, err := http.NewRequest(method, c.url+path, reader)
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	if res.StatusCode/100 != 2 {
		return &statusError{res.StatusCode, res.Header, fmt.Sprintf("%s %s: status %d: %.300s", method, path, res.StatusCode, raw)}
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(raw, into)
}

// deliver sends a request until it is answered, over as many deaths of the server as it takes,
// and returns how often it was repeated.
func (c *client) deliver(method, path string, body any) (repeated int, err error) {
	for {
		err := c.send(method, path, body, nil)
		var refused *statusError
		switch {
		case err == nil:
			return repeated, nil
		case errors.As(err, &refused) && refused.code != http.StatusServiceUnavailable:
			return repeated, err
		}
		repeated++
		<-time.After(retryEvery)
	}
}

// login returns the token of an account.
func (c *client) login(collection, identity, password string) (string, error) {
	var out struct{ Token string }
	err := c.send("POST", "/api/collections/"+collection+"/auth-with-password", map[string]string{"identity": identity, "password": password}, &out)
	return out.Token, err
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// record is the path of a record, or of all of them for an empty id.
func record(collection, id string) string {
	return strings.TrimSuffix("/api/collections/"+collection+"/records/"+id, "/")
}
