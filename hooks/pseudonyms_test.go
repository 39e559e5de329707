package hooks

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"firemode/collections"

	"github.com/google/uuid"
	"github.com/pocketbase/pocketbase/core"
)

// inspected is a building of mei's with an entry in her name, which both kinds of auditor may read.
func inspected(t *testing.T) *people {
	t.Helper()
	p := newPeople(t)
	p.harbour.Set(collections.FieldOwnerID, p.mei.Id)
	if err := p.app.Save(p.harbour); err != nil {
		t.Fatal(err)
	}
	auditor, err := p.app.FindFirstRecordByData(collections.Users, collections.FieldUsername, "auditor")
	if err != nil {
		t.Fatal(err)
	}
	save(t, p.app, collections.BuildingGrants, map[string]any{
		"building_id": p.harbour.Id, "user_id": auditor.Id, "starts_at": "2020-01-01 00:00:00.000Z",
	})
	return p
}

// Auditors read one and the same pseudonym for a person everywhere, never an id but their own;
// everybody else reads ids.
func TestAuditorsReadPseudonyms(t *testing.T) {
	t.Parallel()
	p := inspected(t)
	names, err := LoadPseudonyms(p.app)
	if err != nil {
		t.Fatal(err)
	}
	mei := names.Of(p.mei.Id)
	if u, err := uuid.Parse(mei); err != nil || u.Version() != 8 || u.Variant() != uuid.RFC4122 || mei == names.Of(p.harbour.Id) {
		t.Errorf("got %s, want a UUID of version 8 of her own", mei)
	}
	building := "/api/collections/buildings/records/" + p.harbour.Id
	for who, want := range map[string]string{
		"auditor": mei, "superuser auditor": mei, "officer": p.mei.Id, "superuser officer": p.mei.Id, "superuser admin": p.mei.Id,
	} {
		got := p.must(200, "GET", building, p.tokens[who], nil)
		if got.text(collections.FieldOwnerID) != want || got.text("id") != p.harbour.Id {
			t.Errorf("%s: got owner %s of %s, want %s", who, got.text(collections.FieldOwnerID), got.text("id"), want)
		}
		// Lists can be filtered by what was read, and by nothing else.
		query := "/api/collections/buildings/records?filter=" + url.QueryEscape("owner_id = '"+want+"'")
		if got := p.must(200, "GET", query, p.tokens[who], nil); got["totalItems"] != 1.0 || strings.Contains(fmt.Sprint(got), p.mei.Id) != (want == p.mei.Id) {
			t.Errorf("%s, filtered: got %v, want the building", who, got)
		}
		if who != "auditor" { // a user, who has no access to the log
			log := fmt.Sprint(p.must(200, "GET", "/api/collections/audit_log/records?perPage=500&filter="+url.QueryEscape("resource_id = '"+want+"'"), p.tokens[who], nil))
			if strings.HasPrefix(who, "superuser") && (!strings.Contains(log, want) || want == mei && strings.Contains(log, p.mei.Id)) {
				t.Errorf("%s: the log of mei's account: got %.500s", who, log)
			}
		}
	}
	// Their own id stays: programs compare it with the one in their token.
	me := p.must(200, "POST", "/api/collections/users/auth-refresh", p.tokens["auditor"], answer{})
	record, _ := me["record"].(map[string]any)
	if me.text("token") == "" || record["username"] != "auditor" || record["id"] == names.Of(fmt.Sprint(record["id"])) || fmt.Sprint(record["id"])[14] == '8' {
		t.Errorf("own account: got %v", me)
	}
}

// Messages of streams carry them too, each listener's own way.
func TestAuditorsHearPseudonyms(t *testing.T) {
	t.Parallel()
	p := inspected(t)
	names, err := LoadPseudonyms(p.app)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"auditor": names.Of(p.mei.Id), "officer": p.mei.Id}
	streams := map[string]*stream{}
	for who := range want {
		streams[who] = p.stream(p.tokens[who], "buildings/*")
	}
	p.harbour.Set("notes", "seen")
	if err := p.app.Save(p.harbour); err != nil {
		t.Fatal(err)
	}
	for who, id := range want {
		var message struct{ Record map[string]any }
		if err := json.Unmarshal([]byte(streams[who].next(t)), &message); err != nil {
			t.Fatal(err)
		}
		if message.Record[collections.FieldOwnerID] != id {
			t.Errorf("%s: got owner %v, want %s", who, message.Record[collections.FieldOwnerID], id)
		}
	}
}

// Ids are found wherever an answer is cut into pieces, and nothing else changes.
func TestPseudonymsInPieces(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	names, err := LoadPseudonyms(s.app)
	if err != nil {
		t.Fatal(err)
	}
	mei := s.user("mei", collections.RoleInspector).Id
	var text, want strings.Builder
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		other := uuid.NewString()
		for _, part := range []struct{ is, shown string }{{mei, names.Of(mei)}, {other, other}, {"0a-", "0a-"}, {`","`, `","`}, {"deadbeef", "deadbeef"}} {
			if r.IntN(3) > 0 {
				text.WriteString(part.is)
				want.WriteString(part.shown)
			}
			text.WriteString(" ")
			want.WriteString(" ")
		}
	}
	text.WriteString(mei)
	want.WriteString(names.Of(mei))
	for kind, shown := range map[string]string{"application/json": want.String(), "application/problem+json": want.String(), "text/csv": text.String(), "image/png": text.String()} {
		recorder := httptest.NewRecorder()
		w := &pseudonymWriter{ResponseWriter: recorder, hide: func(b []byte) ([]byte, error) { return names.hide(context.Background(), s.app, b, "") }}
		w.Header().Set("Content-Type", kind)
		for rest := text.String(); rest != ""; {
			n := min(len(rest), 1+r.IntN(60))
			if _, err := w.Write([]byte(rest[:n])); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		if strings.Contains(kind, "json") && w.waiting == nil {
			t.Error("nothing waits at the end: the last id is not put to the test")
		}
		if err := w.end(); err != nil {
			t.Fatal(err)
		}
		if recorder.Body.String() != shown {
			t.Errorf("%s: got\n%.300s\nwant\n%.300s", kind, recorder.Body, shown)
		}
	}
}

// The key is made once; a damaged one is an error, not a new one.
func TestPseudonymsStayTheSame(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	var before string
	for range 2 {
		names, err := LoadPseudonyms(s.app)
		if err != nil {
			t.Fatal(err)
		}
		if got := names.Of(s.org.Id); before != "" && got != before {
			t.Errorf("got %s, before it was %s", got, before)
		} else {
			before = got
		}
	}
	s.exec("UPDATE _fm_params SET v = 'x' WHERE k = 'pseudonym_key'", nil)
	if _, err := LoadPseudonyms(s.app); err == nil {
		t.Error("a damaged key was taken")
	}
}

// Nothing spells an id out: no piece of a field, no pattern, no comparison, over no door.
func TestAuditorsAskForWholeIDs(t *testing.T) {
	t.Parallel()
	p := inspected(t)
	records := "/api/collections/buildings/records"
	for _, query := range []string{
		"?fields=owner_id:excerpt(35)", "/" + p.harbour.Id + "?fields=*,owner_id:excerpt(35)", "?filter=" + url.QueryEscape("owner_id ~ '0%'"),
		"?filter=" + url.QueryEscape("name != '' && (id = '' || owner_id >= '0')"), "?filter=" + url.QueryEscape("owner_id:lower ?!~ 'a'"),
		"?filter=" + url.QueryEscape("'0' < owner_id"),
	} {
		for who, want := range map[string]int{"auditor": 400, "superuser auditor": 400, "superuser admin": 200} {
			if res, got := p.send("GET", records+query, p.tokens[who], nil); res.StatusCode != want {
				t.Errorf("%s, %s: got %d %v, want %d", who, query, res.StatusCode, got, want)
			}
		}
	}
	c := p.stream(p.tokens["auditor"])
	for _, options := range []string{`{"query":{"fields":"owner_id:excerpt(35)"}}`, `{"query":{"filter":"owner_id ~ \"0%\""}}`} {
		topic := "buildings/*?options=" + url.QueryEscape(options)
		p.must(400, "POST", "/api/realtime", p.tokens["auditor"], answer{"clientId": c.id, "subscriptions": []string{topic}})
	}
	for _, filter := range []string{"owner_id = '" + p.mei.Id + "'", "name ~ 'Har%'", "created_at > '2020-01-01 00:00:00.000Z'", "owner_id != '' && name != 'x'"} {
		p.must(200, "GET", records+"?filter="+url.QueryEscape(filter), p.tokens["auditor"], nil)
	}
	// The search box of the admin UI asks for a word in every field.
	for filter, want := range map[string]int{
		"name?~'Harbour'||owner_id?~'Harbour'||address?~'Harbour'": 200, "name?~'face'||owner_id?~'face'": 400, "owner_id ~ '\\\\0%'": 400,
		"owner_id ~ name": 400, "'g' ~ owner_id": 400,
	} {
		if res, got := p.send("GET", records+"?filter="+url.QueryEscape(filter), p.tokens["superuser auditor"], nil); res.StatusCode != want {
			t.Errorf("%s: got %d %v, want %d", filter, res.StatusCode, got, want)
		}
	}
	// The answer to a login is no other door.
	login := answer{"identity": "auditor", "password": rightPassword}
	const door = "/api/collections/users/auth-with-password?expand=building_grants_via_user_id.building_id"
	got := fmt.Sprint(p.must(200, "POST", door, "", login))
	if names, err := LoadPseudonyms(p.app); err != nil || strings.Contains(got, p.mei.Id) || !strings.Contains(got, names.Of(p.mei.Id)) {
		t.Errorf("expanded login: got %.900s (%v), want the owner's pseudonym", got, err)
	}
	p.must(400, "POST", door+"&fields=*,expand.building_grants_via_user_id.granted_by:excerpt(35)", "", login)
	// The list of fields that hold people is whole.
	all, err := p.app.FindAllCollections()
	if err != nil {
		t.Fatal(err)
	}
	for _, collection := range all {
		for _, f := range collection.Fields {
			r, is := f.(*core.RelationField)
			if is && (r.CollectionId == p.mei.Collection().Id || r.CollectionId == "pbc_3142635823") && !personFields[f.GetName()] {
				t.Errorf("%s.%s holds people and is not among personFields", collection.Name, f.GetName())
			}
		}
	}
}

// Superusers have ids of PocketBase's own form, and pseudonyms like everybody.
func TestSuperusersHavePseudonyms(t *testing.T) {
	t.Parallel()
	p := inspected(t)
	names, err := LoadPseudonyms(p.app)
	if err != nil {
		t.Fatal(err)
	}
	root, err := p.app.FindAuthRecordByEmail(collections.Superusers, "suadmin@example.com")
	if err != nil {
		t.Fatal(err)
	}
	log := fmt.Sprint(p.must(200, "GET", "/api/collections/audit_log/records?perPage=500&filter="+url.QueryEscape("resource_id = '"+names.Of(root.Id)+"'"), p.tokens["superuser auditor"], nil))
	if strings.Contains(log, root.Id) || !strings.Contains(log, names.Of(root.Id)) {
		t.Errorf("got %.600s, want entries about the administrator under their pseudonym", log)
	}
}

// Evidence stays what it is, byte for byte, whoever it names; so do the lines of a log.
func TestEvidenceIsNotTouched(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	names, err := LoadPseudonyms(s.app)
	if err != nil {
		t.Fatal(err)
	}
	mei := s.user("mei", collections.RoleInspector).Id
	for name, header := range map[string]http.Header{
		"a table": {"Content-Type": {"text/csv"}}, "a JSON file": {"Content-Type": {"application/json"}, "Content-Disposition": {`attachment; filename="x.json"`}},
	} {
		recorder := httptest.NewRecorder()
		w := &pseudonymWriter{ResponseWriter: recorder, hide: func(b []byte) ([]byte, error) { return names.hide(context.Background(), s.app, b, "") }}
		for k, v := range header {
			w.Header()[k] = v
		}
		if _, err := w.Write([]byte(mei)); err != nil || w.end() != nil || recorder.Body.String() != mei {
			t.Errorf("%s: got %q (%v), want it as it is", name, recorder.Body, err)
		}
	}
}
