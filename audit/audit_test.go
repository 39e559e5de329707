package audit_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"firemode/audit"
	"firemode/internal/testapp"

	"github.com/pocketbase/pocketbase/core"
)

func TestMain(m *testing.M) {
	code := m.Run()
	testapp.Cleanup()
	os.Exit(code)
}

func appendEntry(t *testing.T, app core.App, a audit.Actor, e audit.Entry) {
	t.Helper()
	err := app.RunInTransaction(func(tx core.App) error {
		defer audit.Attribute(tx, a)()
		_, err := audit.Append(tx, e)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func verify(t *testing.T, app core.App) (int64, *audit.Finding) {
	t.Helper()
	n, bad, err := audit.Verify(context.Background(), app, nil)
	if err != nil {
		t.Fatal(err)
	}
	return n, bad
}

func TestAppendNumbersWithoutGaps(t *testing.T) {
	t.Parallel()
	app := testapp.New(t)
	const writers, each = 8, 10
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for range each {
				appendEntry(t, app, audit.Actor{ID: "u"}, audit.Entry{Action: "create", ResourceType: "buildings", New: map[string]any{"name": "A & B <C>"}})
			}
		})
	}
	wg.Wait()
	if n, bad := verify(t, app); n != writers*each || bad != nil {
		t.Errorf("verify: got %d entries, finding %+v; want %d and none", n, bad, writers*each)
	}
}

func TestAppendNeedsATransaction(t *testing.T) {
	t.Parallel()
	if _, err := audit.Append(testapp.New(t), audit.Entry{Action: "x", ResourceType: "y"}); !errors.Is(err, audit.ErrNoTransaction) {
		t.Errorf("append outside a transaction: got %v, want ErrNoTransaction", err)
	}
}

func TestEffectAndEntryStandOrFallTogether(t *testing.T) {
	t.Parallel()
	app := testapp.New(t)
	boom := errors.New("boom")
	err := app.RunInTransaction(func(tx core.App) error {
		if _, err := audit.Append(tx, audit.Entry{Action: "create", ResourceType: "buildings"}); err != nil {
			return err
		}
		return boom
	})
	if !errors.Is(err, boom) {
		t.Fatalf("got %v, want %v", err, boom)
	}
	if n, _ := verify(t, app); n != 0 {
		t.Errorf("entries after a rollback: got %d, want 0", n)
	}
}

func TestActorIsBoundToItsTransactionOnly(t *testing.T) {
	t.Parallel()
	app := testapp.New(t)
	audit.Install(app, audit.Config{System: audit.Actor{UserAgent: "firemode seed"}})
	err := app.RunInTransaction(func(tx core.App) error {
		release := audit.Attribute(tx, audit.Actor{ID: "a"})
		inner := audit.Attribute(tx, audit.Actor{ID: "b"})
		if got := audit.ActorOf(tx).ID; got != "b" {
			t.Errorf("inner actor: got %q, want b", got)
		}
		inner()
		if got := audit.ActorOf(tx).ID; got != "a" {
			t.Errorf("outer actor: got %q, want a", got)
		}
		release()
		if got := audit.ActorOf(tx); got.Role != audit.SystemRole || got.UserAgent != "firemode seed" {
			t.Errorf("released: got %+v, want the system of the process", got)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := audit.ActorOf(app).Role; got != audit.SystemRole {
		t.Errorf("outside: got %q, want system", got)
	}
}

func TestLogIsAppendOnly(t *testing.T) {
	t.Parallel()
	app := testapp.New(t)
	appendEntry(t, app, audit.Actor{}, audit.Entry{Action: "create", ResourceType: "buildings"})
	for _, stmt := range []string{"UPDATE audit_log SET action = 'x'", "DELETE FROM audit_log"} {
		if _, err := app.DB().NewQuery(stmt).Execute(); err == nil || !strings.Contains(err.Error(), "append-only") {
			t.Errorf("%s: got %v, want it refused as append-only", stmt, err)
		}
	}
}

// Every kind of tampering that the leaf hashes can show is shown, and names the entry.
func TestVerifyFindsTampering(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	for stmt, wantSeq := range map[string]int64{
		`UPDATE audit_log SET user_id = 'someone else' WHERE seq = 2`:                      2,
		`UPDATE audit_log SET new_values = '{"name":"B"}' WHERE seq = 3`:                   3,
		`UPDATE audit_log SET created_at = '2020-01-01 00:00:00.000Z'`:                     1,
		`UPDATE audit_log SET leaf_hash = '` + strings.Repeat("0", 64) + `' WHERE seq = 4`: 4,
		`DELETE FROM audit_log WHERE seq = 2`:                                              2,
		`UPDATE audit_log SET seq = 9 WHERE seq = 4`:                                       4,
	} {
		app := testapp.New(t)
		audit.Install(app, audit.Config{Now: func() time.Time { return at }, Version: "1.2.3"})
		for range 4 {
			appendEntry(t, app, audit.Actor{ID: "u", Role: "officer"}, audit.Entry{Action: "update", ResourceType: "buildings", Old: map[string]any{"name": "A"}, New: map[string]any{"name": "A2"}})
		}
		if _, bad := verify(t, app); bad != nil {
			t.Fatalf("honest log: finding %+v", bad)
		}
		for _, trigger := range []string{"audit_log_no_update", "audit_log_no_delete"} {
			if _, err := app.DB().NewQuery("DROP TRIGGER " + trigger).Execute(); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := app.DB().NewQuery(stmt).Execute(); err != nil {
			t.Fatal(err)
		}
		if _, bad := verify(t, app); bad == nil || bad.Seq != wantSeq {
			t.Errorf("%s: got finding %+v, want entry %d", stmt, bad, wantSeq)
		}
	}
}

func TestEntryTextsAreBoundedAndClean(t *testing.T) {
	t.Parallel()
	app := testapp.New(t)
	appendEntry(t, app, audit.Actor{UserAgent: strings.Repeat("é", 600) + "\x00\xff", RequestID: "a\x00b"}, audit.Entry{Action: "create", ResourceType: "buildings"})
	var agent, request string
	if err := app.DB().NewQuery("SELECT user_agent, request_id FROM audit_log").Row(&agent, &request); err != nil {
		t.Fatal(err)
	}
	if len(agent) > 512 || strings.ContainsRune(agent, 0) || request != "ab" {
		t.Errorf("got agent of %d bytes and request id %q", len(agent), request)
	}
}
