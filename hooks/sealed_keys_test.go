package hooks

import (
	"errors"
	"slices"
	"testing"

	"firemode/collections"
	"firemode/sealed"

	"github.com/pocketbase/dbx"
)

// A key that a value is still sealed with cannot be taken away unnoticed; one
// that no value needs can.
func TestAKeyInUseIsNotTakenAway(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	fresh := sealed.Generate()
	old, both, renewed := keyring(t, testKey), keyring(t, fresh, testKey), keyring(t, fresh)
	check := func(what string, ring *sealed.Keyring, want []string) {
		t.Helper()
		err := CheckKeys(t.Context(), s.app, ring)
		var missing *MissingKeyError
		switch {
		case want == nil && err != nil:
			t.Errorf("%s: got %v, want it accepted", what, err)
		case want != nil && (!errors.As(err, &missing) || !slices.Equal(missing.Keys, want) || missing.Values == 0):
			t.Errorf("%s: got %v, want it refused for %v", what, err, want)
		}
	}
	note := func(ring *sealed.Keyring) {
		t.Helper()
		if err := NoteKeys(s.app, ring); err != nil {
			t.Fatal(err)
		}
	}
	noted := func(want ...string) {
		t.Helper()
		got, err := notedKeys(s.app)
		slices.Sort(want)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("noted keys: got %v (%v), want %v", got, err, want)
		}
	}
	s.user("mei", collections.RoleInspector)
	check("a directory from before keys were noted, without its key", renewed, []string{keyUnknown})
	check("the same with its key", old, nil)
	noted(old.KeyIDs()[0])
	check("another key", renewed, old.KeyIDs())
	note(both)
	check("both", both, nil)
	check("the old one alone, when nothing is sealed with the new one", old, nil)
	check("the new one before the rotation", renewed, old.KeyIDs())
	note(both)
	if _, err := ResealAll(t.Context(), s.app, both, nil); err != nil {
		t.Fatal(err)
	}
	check("the old one after the rotation", old, renewed.KeyIDs())
	check("the new one after the rotation", renewed, nil)
	noted(renewed.KeyIDs()...)
	note(renewed) // again

	// A damaged value is no missing key.
	s.exec("UPDATE users SET full_name = 'gAAAA' || substr(full_name, 6, 20)", nil)
	check("a damaged value", renewed, nil)

	// A key that is lost for good does not keep the server down for ever.
	note(old)
	check("a key may be missing", renewed, old.KeyIDs())
	if err := ForgetKeys(s.app, []string{"00000000"}); err == nil {
		t.Error("forgot a key that was never there")
	}
	if err := ForgetKeys(s.app, old.KeyIDs()); err != nil {
		t.Fatal(err)
	}
	check("after it is forgotten", renewed, nil)
	var log int
	if err := s.app.DB().Select("count(*)").From(collections.AuditLog).Where(dbx.HashExp{"action": "forget_keys"}).Row(&log); err != nil || log != 1 {
		t.Errorf("audit log: got %d entries (%v), want one", log, err)
	}
}
