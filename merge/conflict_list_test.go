package merge

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"firemode/crdt"

	"github.com/pocketbase/dbx"
	"github.com/pocketbase/pocketbase/core"
)

type listedRow struct {
	Path       string `db:"path"`
	Policy     string `db:"policy"`
	Values     int    `db:"value_count"`
	OpenedAt   int64  `db:"opened_at"`
	ResolvedAt int64  `db:"resolved_at"`
}

func listed(t testing.TB, app core.App, id string) (rows []listedRow) {
	t.Helper()
	err := app.DB().NewQuery(`SELECT c.path, c.policy, c.value_count, c.opened_at, c.resolved_at FROM crdt_conflicts c JOIN crdt_docs d ON d.id = c.doc
		WHERE d.key = {:id} ORDER BY c.path`).Bind(dbx.Params{"id": id}).All(&rows)
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

// A conflict is listed when it opens, counts its values, is resolved and may open again.
func TestConflictsAreListed(t *testing.T) {
	t.Parallel()
	s, app := service(t, Config{})
	id := session(t, app)
	const path = "items/A/result"
	one := change(t, s, ChangeRequest{SessionID: id, UserID: "anna", Changes: []Change{set(path, `"pass"`), {Op: OpAppend, Path: "notes/log", Value: []byte(`"x"`)}}})
	if rows := listed(t, app, id); len(rows) != 0 {
		t.Fatalf("one value: got %+v, want none", rows)
	}
	two := change(t, s, ChangeRequest{SessionID: id, UserID: "ben", Changes: []Change{set(path, `"fail"`), {Op: OpAppend, Path: "notes/log", Value: []byte(`"y"`)}}})
	rows := listed(t, app, id)
	if len(rows) != 1 || rows[0].Path != path || rows[0].Policy != "worst" || rows[0].Values != 2 || rows[0].ResolvedAt != 0 || rows[0].OpenedAt == 0 {
		t.Fatalf("two values: got %+v", rows)
	}
	change(t, s, ChangeRequest{SessionID: id, UserID: "cleo", Changes: []Change{set(path, `"fail"`)}})
	if rows := listed(t, app, id); rows[0].Values != 3 {
		t.Errorf("three values: got %+v", rows)
	}
	seen := append([]string{}, one.Ops[0], two.Ops[0])
	err := s.Do(context.Background(), func(b *Batch) error {
		_, err := b.Resolve(ResolveRequest{SessionID: id, UserID: "olga", Path: path, Choose: two.Ops[0], Seen: seen, Reason: "read again"})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if rows := listed(t, app, id); rows[0].ResolvedAt == 0 || rows[0].Values != 2 { // two equal values stand
		t.Errorf("resolved: got %+v", rows)
	}
	change(t, s, ChangeRequest{SessionID: id, UserID: "anna", Changes: []Change{set(path, `"na"`)}})
	if again := listed(t, app, id); len(again) != 1 || again[0].ResolvedAt != 0 || again[0].OpenedAt < rows[0].OpenedAt || again[0].Values != 3 {
		t.Errorf("again: got %+v", again)
	}
	sound(t, s, id)
	if _, err := app.NonconcurrentDB().NewQuery("DELETE FROM crdt_conflicts").Execute(); err == nil {
		t.Error("a row was deleted, want it refused")
	}
	for _, damage := range []string{"UPDATE crdt_conflicts SET resolved_at = 1", "UPDATE crdt_conflicts SET value_count = 2"} {
		err := app.RunInTransaction(func(tx core.App) error {
			if _, err := tx.NonconcurrentDB().NewQuery(damage).Execute(); err != nil {
				return err
			}
			r, err := New(tx, Config{}).Verify(context.Background(), id)
			if err != nil || r.Finding == nil || !strings.Contains(r.Finding.Reason, "list of conflicts") {
				t.Errorf("%s: got %+v (%v)", damage, r.Finding, err)
			}
			return fmt.Errorf("taken back")
		})
		if err == nil || !strings.Contains(err.Error(), "taken back") {
			t.Fatal(err)
		}
	}
}

// Whatever happens to a document, quarantine, operations issued again and redactions included,
// the list says what the document says; Verify compares them.
func TestConflictListFollowsEverything(t *testing.T) {
	t.Parallel()
	redacted := 0
	for seed := range uint64(6) {
		s, app := service(t, Config{})
		id := session(t, app)
		r := rand.New(rand.NewPCG(seed, 1))
		pick := r.IntN
		tablets := []*tablet{newTablet(t, s, id, "anna", "a"), newTablet(t, s, id, "ben", "b"), newTablet(t, s, id, "cleo", "c")}
		var held []crdt.Dot
		var origins []string
		for range 60 {
			d := tablets[pick(len(tablets))]
			path := fmt.Sprintf("items/%d/result", pick(3))
			op := put(path, fmt.Sprintf(`"%d"`, pick(3)))
			for _, x := range held {
				if pick(3) == 0 && len(op.Seen) < 20 {
					op.Seen = append(op.Seen, x)
				}
			}
			if len(origins) > 0 && pick(4) == 0 {
				op.Origin = origins[pick(len(origins))]
			}
			req := d.request(op)
			req.Lapsed = pick(6) == 0
			if _, err := send(s, req); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			parsed, err := crdt.ParseOp(req.Lines[0])
			if err != nil {
				t.Fatal(err)
			}
			held, origins = append(held, parsed.Dot), append(origins, parsed.OriginHash())
			switch waiting, _ := s.Quarantine(context.Background(), id, 0, 0); {
			case len(waiting) > 0 && pick(3) == 0:
				if err := admit(s, AdmitRequest{SessionID: id, UserID: "olga", Dots: []string{waiting[pick(len(waiting))].Dot}, Reason: "seen"}); err != nil {
					t.Fatalf("seed %d: %v", seed, err)
				}
			case pick(12) == 0:
				err := redact(s, RedactRequest{SessionID: id, UserID: "olga", Dots: []string{held[pick(len(held))].String()}, Reason: "a name"})
				switch {
				case err == nil:
					redacted++
				case !errors.Is(err, ErrInvalid): // erased before
					t.Fatalf("seed %d: %v", seed, err)
				}
			}
		}
		sound(t, s, id)
		if len(listed(t, app, id)) == 0 {
			t.Errorf("seed %d: nothing was ever in conflict", seed)
		}
	}
	if redacted == 0 {
		t.Error("nothing was ever redacted")
	}
}

// unlisted is sessions in conflict as a server from before the list has left them.
func unlisted(t *testing.T, s *Service, app core.App, n int) (ids []string) {
	t.Helper()
	for range n {
		id := session(t, app)
		ids = append(ids, id)
		change(t, s, ChangeRequest{SessionID: id, UserID: "anna", Changes: []Change{set("items/A/result", `"pass"`)}})
		change(t, s, ChangeRequest{SessionID: id, UserID: "ben", Changes: []Change{set("items/A/result", `"fail"`)}})
	}
	s.Stop()
	for _, sql := range []string{"DROP TRIGGER crdt_conflicts_no_delete", "DELETE FROM crdt_conflicts", "DELETE FROM _fm_params WHERE k = '" + listedParam + "'"} {
		if _, err := app.NonconcurrentDB().NewQuery(sql).Execute(); err != nil {
			t.Fatal(err)
		}
	}
	return ids
}

// A listing that fails half-way leaves nothing behind, on disk or in memory: the next one does
// it all.
func TestFailedListingIsRepeated(t *testing.T) {
	t.Parallel()
	s, app := service(t, Config{})
	ids := unlisted(t, s, app, 2)
	exec := func(sql string) {
		t.Helper()
		if _, err := app.NonconcurrentDB().NewQuery(sql).Execute(); err != nil {
			t.Fatal(err)
		}
	}
	again := New(app, Config{})
	if err := again.findUnlisted(context.Background()); err != nil {
		t.Fatal(err)
	}
	exec("CREATE TRIGGER no_room BEFORE INSERT ON crdt_conflicts WHEN NEW.doc = (SELECT id FROM crdt_docs ORDER BY key DESC LIMIT 1) BEGIN SELECT RAISE(ABORT, 'no room'); END")
	if again.own("list conflicts", again.listUnlisted) {
		t.Fatal("the listing is done, want it to fail at the second document")
	}
	exec("DROP TRIGGER no_room")
	if err := again.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	again.Stop() // maintains everything
	for _, id := range ids {
		sound(t, again, id)
		if rows := listed(t, app, id); len(rows) != 1 {
			t.Errorf("got %+v, want one conflict", rows)
		}
	}
}

// Documents from before the list are entered after the first start.
func TestOldConflictsAreListed(t *testing.T) {
	t.Parallel()
	s, app := service(t, Config{})
	ids := unlisted(t, s, app, 2*listBatch+1)
	again := New(app, Config{})
	if r, err := again.Verify(context.Background(), ids[0]); err != nil || r.Finding != nil {
		t.Errorf("before the start: got %+v (%v), want no finding", r.Finding, err)
	}
	if err := again.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	again.Stop() // maintains everything
	for _, id := range ids {
		sound(t, again, id)
		if rows := listed(t, app, id); len(rows) != 1 {
			t.Errorf("got %+v, want one conflict", rows)
		}
	}
}
