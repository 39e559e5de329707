package hooks

import (
	"context"
	"errors"
	"strings"
	"testing"

	"firemode/collections"
	"firemode/sealed"

	"github.com/pocketbase/dbx"
)

func keyring(t *testing.T, keys ...string) *sealed.Keyring {
	t.Helper()
	ring, err := sealed.Parse(strings.Join(keys, ","))
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

// sealedTotal adds up what CountSealed says, values by key, and names what VerifySealed
// finds unreadable.
func sealedTotal(t *testing.T, s *site, ring *sealed.Keyring) (byKey map[string]int, unreadable []string) {
	t.Helper()
	counts, err := CountSealed(t.Context(), s.app, ring)
	if err != nil {
		t.Fatal(err)
	}
	if len(counts) != 5 {
		t.Fatalf("got %d sealed fields, want 5: %+v", len(counts), counts)
	}
	byKey = map[string]int{}
	report, err := VerifySealed(t.Context(), s.app, ring, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range report.Findings {
		unreadable = append(unreadable, f.Record)
	}
	for _, c := range counts {
		for key, n := range c.ByKey {
			byKey[key] += n
			report.Values -= n
		}
		report.Values, report.Unreadable = report.Values-c.Unreadable, report.Unreadable-c.Unreadable
	}
	if report.Values != 0 || report.Unreadable != 0 || report.Bad != len(unreadable) {
		t.Errorf("VerifySealed and CountSealed differ by %+v", report)
	}
	return byKey, unreadable
}

func TestResealAllMovesEveryValueToTheFirstKey(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	newKey := sealed.Generate()
	old, both, renewed := keyring(t, testKey), keyring(t, newKey, testKey), keyring(t, newKey)
	mei := s.user("mei", collections.RoleInspector)
	mei.Set("phone", phone)
	if err := s.app.Save(mei); err != nil {
		t.Fatal(err)
	}
	harbour := s.building("Harbour")
	broken := s.user("broken", collections.RoleInspector)
	s.exec("UPDATE users SET full_name = (SELECT full_name FROM users WHERE id = {:from}) WHERE id = {:to}", dbx.Params{"from": mei.Id, "to": broken.Id})
	stray := s.column("users", "full_name", broken.Id)
	updated := s.column("users", "updated_at", mei.Id)

	if byKey, bad := sealedTotal(t, s, old); byKey[old.KeyIDs()[0]] != 5 || len(bad) != 1 || bad[0] != broken.Id {
		t.Fatalf("before: got %v and unreadable %v, want 5 and the broken one", byKey, bad)
	}
	if byKey, bad := sealedTotal(t, s, renewed); len(byKey) != 0 || len(bad) != 6 {
		t.Fatalf("with the wrong key: got %v and %d unreadable, want none and 6", byKey, len(bad))
	}
	if n, err := ResealAll(t.Context(), s.app, renewed, nil); n != 0 || err != nil {
		t.Fatalf("ResealAll with the wrong key: got %d, %v, want nothing changed", n, err)
	}
	calls := 0
	n, err := ResealAll(t.Context(), s.app, both, func(changed int) { calls = changed })
	if err != nil || n != 5 || calls != 5 {
		t.Fatalf("ResealAll: got %d (progress %d), %v, want 5", n, calls, err)
	}
	if n, err := ResealAll(t.Context(), s.app, both, nil); n != 0 || err != nil {
		t.Errorf("again: got %d, %v, want nothing to do", n, err)
	}
	if byKey, bad := sealedTotal(t, s, renewed); byKey[renewed.KeyIDs()[0]] != 5 || len(bad) != 1 {
		t.Errorf("after: got %v and unreadable %v, want 5 under the new key alone", byKey, bad)
	}
	for binding, want := range map[string]string{
		"users.phone." + mei.Id: phone, "users.full_name." + mei.Id: "Name of mei", "buildings.contact_name." + harbour.Id: "Ada of Harbour",
	} {
		parts := strings.SplitN(binding, ".", 3)
		if got, err := renewed.Open(s.column(parts[0], parts[1], parts[2]), binding); err != nil || got != want {
			t.Errorf("%s: got %q (%v), want %q", binding, got, err, want)
		}
	}
	if want, _ := renewed.BlindIndex("users.phone", phone); s.column("users", "phone_index", mei.Id) != want {
		t.Error("the blind index is still the old key's")
	}
	if got := s.column("users", "full_name", broken.Id); got != stray {
		t.Error("a value that does not open was changed")
	}
	if got := s.column("users", "updated_at", mei.Id); got != updated {
		t.Errorf("updated_at: got %s, want %s as before", got, updated)
	}
	var log []entry
	for _, e := range entries(t, s.app, collections.Users) {
		if e.Action == "reseal" {
			log = append(log, e)
		}
	}
	if len(log) != 2 { // full_name and phone, a batch each
		t.Errorf("audit log: got %+v, want an entry per field", log)
	}
	for _, e := range log {
		if !strings.Contains(e.NewValues, renewed.KeyIDs()[0]) || strings.Contains(e.NewValues, newKey) {
			t.Errorf("audit log: got %+v, want the key named by its id", e)
		}
	}
}

// A value that somebody changes between the read and the write stays changed.
func TestResealingLosesNoConcurrentWrite(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	ring := keyring(t, sealed.Generate(), testKey)
	mei := s.user("mei", collections.RoleInspector)
	users, err := s.app.FindCollectionByNameOrId(collections.Users)
	if err != nil {
		t.Fatal(err)
	}
	name := users.Fields.GetByName("full_name").(*collections.EncryptedField)
	var read []sealedRow
	if err := walkSealed(t.Context(), s.app, users, name, func(rows []sealedRow) error {
		read = rows
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	mei.Set("full_name", "Mei Tanaka-Lee")
	if err := s.app.Save(mei); err != nil {
		t.Fatal(err)
	}
	if n, err := resealRows(s.app, ring, users, name, read); n != 0 || err != nil {
		t.Errorf("reseal of what was read before: got %d, %v, want nothing changed", n, err)
	}
	if got := s.find(collections.Users, mei.Id).GetString("full_name"); got != "Mei Tanaka-Lee" {
		t.Errorf("name: got %q, want the concurrent change", got)
	}
}

func TestResealAllStopsWithItsContext(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.user("mei", collections.RoleInspector)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := ResealAll(ctx, s.app, keyring(t, sealed.Generate(), testKey), nil); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
	if _, err := ResealAll(t.Context(), s.app, nil, nil); !errors.Is(err, sealed.ErrNoKeys) {
		t.Errorf("without keys: got %v, want ErrNoKeys", err)
	}
}
