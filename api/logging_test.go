package api_test

import (
	"strings"
	"testing"

	"github.com/pocketbase/pocketbase/tools/logger"
)

// A file's address carries the token that opens it; the activity log keeps the
// address without it.
func TestFileTokensStayOutOfTheLog(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.app.Settings().Logs.MaxDays = 1
	for _, path := range []string{"/api/files/evidence/x/y?token=a.secret.token&thumb=1", "/api/backups/one.zip?thumb=2&token=a.secret.token"} {
		w.do(request{method: "GET", path: path})
	}
	if err := w.app.Logger().Handler().(*logger.BatchHandler).WriteAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	var entries []string
	if err := w.app.AuxDB().Select("data").From("_logs").Column(&entries); err != nil {
		t.Fatal(err)
	}
	text := strings.Join(entries, "\n")
	if strings.Contains(text, "a.secret.token") || !strings.Contains(text, "token=hidden") || !strings.Contains(text, "thumb=2") {
		t.Errorf("activity log: got\n%s", text)
	}
}
