package collections_test

import (
	"errors"
	"strings"
	"sync"
	"testing"

	"firemode/collections"
	"firemode/internal/testapp"

	"github.com/pocketbase/pocketbase/core"
)

// contacts is a small collection with one sealed field of every setting.
func contacts(t *testing.T, app core.App) *core.Collection {
	t.Helper()
	c := core.NewBaseCollection("contacts")
	c.Fields.Add(
		&core.TextField{Name: "note"},
		&core.TextField{Name: "phone_index", Hidden: true},
		&collections.EncryptedField{Name: "phone", Hidden: true, Scope: "contacts.phone", BlindIndex: "phone_index", Min: 3, Max: 12, Pattern: `^\+?[0-9 ]+$`},
		&collections.EncryptedField{Name: "name", Hidden: true, Scope: "contacts.name", Required: true},
	)
	if err := app.Save(c); err != nil {
		t.Fatal(err)
	}
	return c
}

func contact(t *testing.T, app core.App, c *core.Collection) *core.Record {
	t.Helper()
	r := core.NewRecord(c)
	r.Load(map[string]any{"name": "Mei", "phone": "+61 400 1"})
	if err := app.Save(r); err != nil {
		t.Fatal(err)
	}
	return r
}

func reload(t *testing.T, app core.App, r *core.Record) *core.Record {
	t.Helper()
	again, err := app.FindRecordById(r.Collection().Name, r.Id)
	if err != nil {
		t.Fatal(err)
	}
	return again
}

func TestSealedFieldStoresATokenAndReadsText(t *testing.T) {
	t.Parallel()
	app := testapp.New(t)
	c := contacts(t, app)
	r := reload(t, app, contact(t, app, c))
	token := r.GetString("phone" + collections.TokenSuffix)
	if got := r.GetString("phone"); got != "+61 400 1" || !strings.HasPrefix(token, "gAAAA") {
		t.Errorf("got %q stored as %q", got, token)
	}
	if digest := r.GetString("phone_index"); len(digest) != 24 {
		t.Errorf("blind index: got %q, want 24 characters", digest)
	}
	first := r.GetString("phone_index")
	r.Set("phone", "")
	if err := app.Save(r); err != nil {
		t.Fatal(err)
	}
	if r = reload(t, app, r); r.GetString("phone") != "" || r.GetString("phone:token") != "" || r.GetString("phone_index") != "" {
		t.Errorf("emptied: got %q, %q, %q", r.GetString("phone"), r.GetString("phone:token"), r.GetString("phone_index"))
	}
	r.Set("phone", "+61(400)1")
	r.Set("phone", "+614001") // the last one counts
	if err := app.Save(r); err != nil {
		t.Fatal(err)
	}
	if r = reload(t, app, r); r.GetString("phone") != "+614001" || r.GetString("phone_index") != first {
		t.Errorf("set again: got %q with index %q, want the same index %q", r.GetString("phone"), r.GetString("phone_index"), first)
	}
}

// Saves of the same value, also through the object that was just saved, keep
// the token: a new one would look like a change to the mirror and the audit log.
func TestUnchangedValuesKeepTheirToken(t *testing.T) {
	t.Parallel()
	app := testapp.New(t)
	r := contact(t, app, contacts(t, app))
	want := reload(t, app, r).GetString("phone:token")
	for _, again := range []*core.Record{r, reload(t, app, r), reload(t, app, r).Fresh(), reload(t, app, r).Clone()} {
		again.Set("phone", "+61 400 1")
		again.Set("note", again.GetString("note")+"x")
		if err := app.Save(again); err != nil {
			t.Fatal(err)
		}
		if got := reload(t, app, r).GetString("phone:token"); got != want {
			t.Errorf("token: got %s, want %s", got, want)
		}
	}
}

// Without hooks nothing intercepts the save, and the value must still be bound
// to the id it ends up with.
func TestValuesAreBoundToTheFinalID(t *testing.T) {
	t.Parallel()
	app := testapp.New(t)
	r := core.NewRecord(contacts(t, app))
	r.Load(map[string]any{"id": "temporaryid0001", "name": "Mei", "phone": "+61 400 1"})
	if _, err := r.DBExport(app); err != nil { // as the check of a create rule does
		t.Fatal(err)
	}
	r.Set("id", "finalfinalid001")
	if err := app.UnsafeWithoutHooks().SaveNoValidate(r); err != nil {
		t.Fatal(err)
	}
	if got := reload(t, app, r).GetString("phone"); got != "+61 400 1" {
		t.Errorf("got %q, want the number", got)
	}
}

func TestSealedFieldChecksPlainText(t *testing.T) {
	t.Parallel()
	app := testapp.New(t)
	c := contacts(t, app)
	for name, values := range map[string]map[string]any{
		"required":    {"phone": "+61 400 1"},
		"too short":   {"name": "Mei", "phone": "12"},
		"too long":    {"name": "Mei", "phone": "1234567890123"},
		"pattern":     {"name": "Mei", "phone": "call me"},
		"not UTF-8":   {"name": "Mei\xff"},
		"default max": {"name": strings.Repeat("x", 5001)},
	} {
		r := core.NewRecord(c)
		r.Load(values)
		if err := app.Save(r); err == nil {
			t.Errorf("%s: saved, want a validation error", name)
		}
	}
	r := core.NewRecord(c)
	r.Load(map[string]any{"name": strings.Repeat("é", 5000), "phone": "123456789012"}) // characters, not bytes
	if err := app.Save(r); err != nil {
		t.Errorf("at the limits: %v", err)
	}
}

func TestSealedFieldChecksItsSettings(t *testing.T) {
	t.Parallel()
	app := testapp.New(t)
	for name, f := range map[string]*collections.EncryptedField{
		"no scope":          {Name: "phone"},
		"bad pattern":       {Name: "phone", Scope: "x.phone", Pattern: "("},
		"index missing":     {Name: "phone", Scope: "x.phone", BlindIndex: "nowhere"},
		"index not hidden":  {Name: "phone", Scope: "x.phone", BlindIndex: "open"},
		"index is the id":   {Name: "phone", Scope: "x.phone", BlindIndex: "id"},
		"name is not valid": {Name: "a b", Scope: "x.phone"},
	} {
		c := core.NewBaseCollection("x" + strings.ReplaceAll(name, " ", ""))
		c.Fields.Add(&core.TextField{Name: "open"}, f)
		if err := app.Save(c); err == nil {
			t.Errorf("%s: saved, want a validation error", name)
		}
	}
}

func TestUnsealErrorNamesFieldAndRecord(t *testing.T) {
	t.Parallel()
	app := testapp.New(t)
	c := contacts(t, app)
	r := contact(t, app, c)
	if _, err := app.NonconcurrentDB().NewQuery("UPDATE contacts SET phone = name").Execute(); err != nil {
		t.Fatal(err)
	}
	r = reload(t, app, r)
	if got := r.GetString("phone"); got != "" {
		t.Errorf("read: got %q, want nothing", got)
	}
	for _, f := range collections.SealedFields(c) {
		err := f.UnsealError(r)
		if f.Name == "name" {
			if err != nil {
				t.Errorf("name: %v", err)
			}
			continue
		}
		if !errors.Is(err, collections.ErrUnsealed) || !strings.Contains(err.Error(), "phone") || !strings.Contains(err.Error(), r.Id) {
			t.Errorf("phone: got %v, want ErrUnsealed naming phone and %s", err, r.Id)
		}
	}
}

func TestViewsReadSealedFields(t *testing.T) {
	t.Parallel()
	app := testapp.New(t)
	r := contact(t, app, contacts(t, app))
	v := core.NewViewCollection("phone_book")
	v.ViewQuery = "SELECT id, phone FROM contacts"
	if err := app.Save(v); err != nil {
		t.Fatal(err)
	}
	seen, err := app.FindRecordById("phone_book", r.Id)
	if err != nil {
		t.Fatal(err)
	}
	f := v.Fields.GetByName("phone")
	if got := seen.GetString("phone"); got != "+61 400 1" || f.Type() != collections.EncryptedFieldType || !f.GetHidden() {
		t.Errorf("view: got %q in a %s field, hidden %v", got, f.Type(), f.GetHidden())
	}
}

// Records share their values between goroutines: a realtime message is made of
// a copy for each subscriber.
func TestCopiesAreReadByManyGoroutines(t *testing.T) {
	t.Parallel()
	app := testapp.New(t)
	r := reload(t, app, contact(t, app, contacts(t, app)))
	var wg sync.WaitGroup
	for range 8 {
		fresh := r.Fresh()
		wg.Go(func() {
			if got := fresh.GetString("phone"); got != "+61 400 1" {
				t.Errorf("got %q", got)
			}
			if _, err := fresh.DBExport(app); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}
