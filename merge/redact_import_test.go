package merge

import (
	"bytes"
	"context"
	"testing"

	"firemode/collections"

	"github.com/pocketbase/dbx"
	"github.com/pocketbase/pocketbase/core"
)

// twin is another service with a session of the same id.
func twin(t *testing.T, id string) (*Service, core.App) {
	t.Helper()
	s, app := service(t, Config{})
	if _, err := app.NonconcurrentDB().Update(collections.TestSessions, dbx.Params{"id": id}, dbx.HashExp{"id": session(t, app)}).Execute(); err != nil {
		t.Fatal(err)
	}
	return s, app
}

// A file brings a redaction to a log that has the act under another name, and an act under
// another name to a log that has the redaction.
func TestErasedValuesDoNotComeBackByImport(t *testing.T) {
	t.Parallel()
	s, app := service(t, Config{})
	id := session(t, app)
	anna := newTablet(t, s, id, "anna", "ipad")
	first := anna.request(put("items/A/remark", `"Jane Citizen"`))
	if _, err := send(s, first); err != nil {
		t.Fatal(err)
	}
	if err := redact(s, RedactRequest{SessionID: id, UserID: "olivia", Dots: []string{anna.actor + ".1"}, Reason: "a name"}); err != nil {
		t.Fatal(err)
	}
	for name, held := range map[string]bool{"free": false, "under hold": true} {
		other, otherApp := twin(t, id)
		again := newTablet(t, other, id, "anna", "spare")
		if _, err := send(other, again.request(reissue(t, first.Lines[0]))); err != nil {
			t.Fatal(err)
		}
		if held {
			underHold(t, otherApp, id)
		}
		before := export(t, other, id)
		file := export(t, s, id)
		if _, err := other.CheckImport(context.Background(), bytes.NewReader(file)); err != nil {
			t.Fatal(err)
		}
		if _, err := other.Import(context.Background(), bytes.NewReader(file), nil); err != nil {
			t.Fatal(err)
		}
		sound(t, other, id)
		if found(t, otherApp, "Jane") != held {
			t.Errorf("%s: the value is there: %t, want %t", name, !held, held)
		}
		// The other way round nothing is added to what the file has, and no value comes.
		want := sound(t, s, id)
		if _, err := s.Import(context.Background(), bytes.NewReader(before), nil); err != nil {
			t.Fatal(err)
		}
		if got := sound(t, s, id); got.Ops != want.Ops+1 || found(t, app, "Jane") {
			t.Errorf("%s, the other way round: got %d operations, want %d, and no value", name, got.Ops, want.Ops+1)
		}
	}
}

// A file that has an operation without its value, which is here with it, changes nothing of it
// in memory that the log does not say.
func TestImportOfAnErasedOperation(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"free", "under hold", "stopped"} {
		s, app := service(t, Config{})
		id := session(t, app)
		anna := newTablet(t, s, id, "anna", "ipad")
		first := anna.request(put("items/A/remark", `"Jane Citizen"`))
		first.Lapsed = true
		spare := newTablet(t, s, id, "anna", "spare")
		again := spare.request(reissue(t, first.Lines[0]))
		other, otherApp := twin(t, id) // knows spare, as a restored server does
		exec := func(sql string, params dbx.Params) {
			t.Helper()
			if _, err := otherApp.NonconcurrentDB().NewQuery(sql).Bind(params).Execute(); err != nil {
				t.Fatal(err)
			}
		}
		exec("INSERT INTO crdt_actors (key, user, device) VALUES ({:key}, 'anna', 'spare')", dbx.Params{"key": spare.actor})
		if _, err := send(other, again); err != nil {
			t.Fatal(err)
		}
		if _, err := send(s, first); err != nil {
			t.Fatal(err)
		}
		if err := redact(s, RedactRequest{SessionID: id, UserID: "olivia", Dots: []string{anna.actor + ".1"}, Reason: "a name"}); err != nil {
			t.Fatal(err)
		}
		if _, err := send(s, again); err != nil {
			t.Fatal(err)
		}
		if mode == "under hold" {
			underHold(t, otherApp, id)
		}
		ctx, cancel := context.WithCancel(context.Background())
		_, err := other.Import(ctx, bytes.NewReader(export(t, s, id)), func(ImportReport) {
			if mode == "stopped" {
				cancel()
			}
		})
		cancel()
		if (err != nil) != (mode == "stopped") {
			t.Errorf("%s: %v", mode, err)
		}
		if found(t, otherApp, "Jane") != (mode != "free") {
			t.Errorf("%s: the value is there: %t", mode, mode == "free")
		}
		sound(t, other, id)
	}
}
