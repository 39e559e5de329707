package identity

import (
	"archive/zip"
	"bufio"
	"bytes"
	"context"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"firemode/internal/testbin"
	"firemode/sealed"
)

// filesWith names the files below dir that hold text in any of the ways in which a program may
// write it; those inside a zip archive as "archive.zip:member".
func filesWith(t *testing.T, dir, text string) (found []string) {
	t.Helper()
	needles := spellings(text)
	holds := func(name string, raw []byte) {
		if slices.ContainsFunc(needles, func(n []byte) bool { return bytes.Contains(raw, n) }) {
			found = append(found, name)
		}
	}
	must(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		holds(name, raw)
		if filepath.Ext(path) != ".zip" {
			return nil
		}
		archive, err := zip.NewReader(bytes.NewReader(raw), int64(len(raw)))
		if err != nil {
			return err
		}
		for _, member := range archive.File {
			r, err := member.Open()
			if err != nil {
				return err
			}
			raw, err := io.ReadAll(r)
			if err != nil {
				return err
			}
			holds(name+":"+member.Name, raw)
		}
		return nil
	}))
	return found
}

// spellings are text as it is, in a URL and in UTF-16.
func spellings(text string) [][]byte {
	wide := make([]byte, 0, 2*len(text))
	for _, b := range []byte(text) {
		wide = append(wide, b, 0)
	}
	return [][]byte{[]byte(text), []byte(url.QueryEscape(text)), []byte(url.PathEscape(text)), wide}
}

// listen opens a realtime stream and returns how its messages are read.
func (c *client) listen(t *testing.T, topics ...string) (next func() string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	req, err := http.NewRequestWithContext(ctx, "GET", c.url+"/api/realtime", nil)
	must(t, err)
	res, err := c.http.Do(req)
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	messages, done := make(chan string, 100), make(chan struct{})
	go func() {
		defer close(done)
		defer res.Body.Close()
		for lines := bufio.NewScanner(res.Body); lines.Scan(); {
			if data, ok := strings.CutPrefix(lines.Text(), "data:"); ok {
				messages <- data
			}
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
	next = func() string {
		t.Helper()
		select {
		case m := <-messages:
			return m
		case <-time.After(attemptTimeout):
			t.Fatal("no realtime message arrived")
			return ""
		}
	}
	_, id, _ := strings.Cut(next(), `"clientId":"`)
	id, _, _ = strings.Cut(id, `"`)
	must(t, c.send("POST", "/api/realtime", map[string]any{"clientId": id, "subscriptions": topics}, nil))
	return next
}

// TestNoPlainValueOnDisk takes personal values, a password and a token through every way that
// the program has, and finds none of them in what it wrote and printed.
func TestNoPlainValueOnDisk(t *testing.T) {
	t.Parallel()
	old, fresh := newKey(t), newKey(t)
	env := newEnv(t, old)
	testbin.MustRun(t, env, "seed", "--scale", "1")
	testbin.MustRun(t, env, "superuser", "create", rootEmail, rootPassword)
	testbin.MustRun(t, env, "users", "create", "--username", "kim", "--email", "kim@example.com", "--role", "inspector", "--organisation", "Load Test Services", "--name", "Kim Commandline")
	env["FERNET_KEY"] = fresh + "," + old
	server := testbin.Start(t, env)
	guest := newClient(t, server.URL)
	token, err := guest.login("_superusers", rootEmail, rootPassword)
	must(t, err)
	root := guest.as(token)
	manager := guest.as(strings.TrimSpace(testbin.MustRun(t, env, "token", "--user", "load.manager")))
	next := root.listen(t, "users/*", "buildings/*")

	// Create, update, refuse; through the record API and as a user of the API.
	const password, newPassword = "an unmistakable password", "another unmistakable one"
	var org struct{ Items []struct{ ID string } }
	must(t, root.send("GET", "/api/collections/organisations/records", nil, &org))
	var mei struct{ ID string }
	must(t, root.send("POST", record("users", ""), map[string]any{
		"username": "mei", "email": "mei@example.com", "password": password, "passwordConfirm": password, "role": "inspector",
		"organisation_id": org.Items[0].ID, "is_active": true, "full_name": "Mei Unmistakable", "phone": "+61 411 222 333",
	}, &mei))
	if m := next(); !strings.Contains(m, "Mei Unmistakable") {
		t.Errorf("realtime message to an administrator: got %s, want the name", m)
	}
	meiToken, err := guest.login("users", "mei", password)
	must(t, err)
	self := guest.as(meiToken)
	must(t, self.send("PATCH", record("users", mei.ID), map[string]string{"phone": "+61 422 333 444"}, nil))
	next()
	refused := func(c *client, method, path string, body any) {
		t.Helper()
		if err := c.send(method, path, body, nil); err == nil {
			t.Errorf("%s %s: got a success, want it refused", method, path)
		}
	}
	refused(self, "PATCH", record("users", mei.ID), map[string]any{"phone": strings.Repeat("+61 455 666 777 ", 9), "full_name": "Mei Refused"})
	refused(root, "PATCH", record("users", mei.ID), map[string]any{"full_name": []string{"Mei Listed"}, "role": "Mei Role"})
	refused(root, "PATCH", record("users", mei.ID), map[string]any{"full_name": "Mei Conflicting", "username": "kim"})
	refused(self, "PATCH", record("users", mei.ID), map[string]any{"password": newPassword, "passwordConfirm": newPassword, "oldPassword": "wrong"})
	must(t, self.send("PATCH", record("users", mei.ID), map[string]any{"password": newPassword, "passwordConfirm": newPassword, "oldPassword": password}, nil))
	next()
	var building struct{ ID string }
	must(t, manager.send("POST", record("buildings", ""), map[string]any{
		"name": "Harbour Tower", "address": "1 Quay Street", "building_type": "5", "organisation_id": org.Items[0].ID,
		"contact_name": "Ada Unmistakable", "contact_phone": "+61 433 444 555", "contact_email": "ada@unmistakable.example",
	}, &building))
	if m := next(); !strings.Contains(m, "Ada Unmistakable") {
		t.Errorf("realtime message to an administrator: got %s, want the contact", m)
	}
	refused(manager, "POST", "/v1/buildings", map[string]any{"name": "x", "contact_name": strings.Repeat("Ada Refused ", 99)})

	// Search, list and reveal, as the admin UI does.
	ring, err := sealed.Parse(env["FERNET_KEY"])
	must(t, err)
	digest, err := ring.BlindIndex("users.phone", "+61 422 333 444")
	must(t, err)
	var found struct{ Items []struct{ ID, Phone string } }
	must(t, root.send("GET", record("users", "")+"?filter="+url.QueryEscape("phone_index='"+digest+"'"), nil, &found))
	if len(found.Items) != 1 || found.Items[0].Phone != "+61 422 333 444" {
		t.Errorf("search by the blind index: got %+v, want one revealed record", found)
	}
	for _, c := range []*client{root, manager} {
		must(t, c.send("GET", record("users", "")+"?perPage=40&fields=*", nil, nil))
		must(t, c.send("GET", record("users", mei.ID), nil, nil))
		must(t, c.send("GET", record("buildings", building.ID), nil, nil))
		must(t, c.send("GET", record("buildings", "")+"?expand=organisation_id", nil, nil))
	}
	// What somebody types into the search box of the admin UI, which finds nothing in a sealed field.
	must(t, root.send("GET", record("users", "")+"?filter="+url.QueryEscape(`full_name~"Mei Unmistakable"||phone~"+61 422 333 444"`), nil, nil))
	must(t, root.send("GET", record("buildings", "")+"?filter="+url.QueryEscape(`contact_name ~ 'Ada Unmistakable'`), nil, nil))
	must(t, root.send("GET", record("buildings", "")+"?perPage=1&marker=planted_marker_of_a_query", nil, nil)) // the control of the activity log

	// Rotate, check, back up.
	testbin.MustRun(t, env, "keys", "rotate")
	testbin.MustRun(t, env, "keys", "verify")
	must(t, root.send("POST", "/api/backups", map[string]string{"name": "one.zip"}, nil))
	plain := []string{
		"Mei Unmistakable", "411 222 333", "422 333 444", "455 666 777", "Mei Refused", "Mei Listed", "Mei Conflicting", "Kim Commandline",
		"Ada Unmistakable", "Ada Refused", "433 444 555", "ada@unmistakable", "Unmistakable", password, newPassword, rootPassword,
		token, meiToken, manager.token, old, fresh, env["JWT_SECRET"],
	}
	search := func(when string) {
		t.Helper()
		for _, text := range plain {
			if found := filesWith(t, env["FIREMODE_DATA"], text); len(found) > 0 {
				t.Errorf("%s: %.24q is in %v", when, text, found)
			}
			if strings.Contains(server.Log(), text) {
				t.Errorf("%s: %.24q is in what the server printed", when, text)
			}
		}
	}
	search("while the server runs")
	if code := server.Stop(t); code != 0 {
		t.Errorf("exit code: %d\n%s", code, server.Log())
	}
	search("after it stopped")

	// The control: each kind of file is searched, and what is plain in it is found.
	for text, want := range map[string][]string{
		"1 Quay Street":             {"data.db", "backups/one.zip:"},
		"planted_marker_of_a_query": {"auxiliary.db"},
		rootEmail:                   {"data.db", "backups/one.zip:"},
	} {
		got := filesWith(t, env["FIREMODE_DATA"], text)
		for _, name := range want {
			if !slices.ContainsFunc(got, func(file string) bool { return strings.HasPrefix(file, name) }) {
				t.Errorf("%q is found in %v, want it in %s too", text, got, name)
			}
		}
	}
	plant(t, filepath.Join(env["FIREMODE_DATA"], "backups", "two.zip"), "storage/x.txt", "seen by Mei Unmistakable")
	if got, want := filesWith(t, env["FIREMODE_DATA"], "Mei Unmistakable"), []string{"backups/two.zip:storage/x.txt"}; !slices.Equal(got, want) {
		t.Errorf("a planted name is found in %v, want %v", got, want)
	}
}

// plant writes a compressed archive with one member.
func plant(t *testing.T, path, member, text string) {
	t.Helper()
	var raw bytes.Buffer
	w := zip.NewWriter(&raw)
	f, err := w.Create(member)
	must(t, err)
	_, err = io.WriteString(f, strings.Repeat(text+"\n", 100))
	must(t, err)
	must(t, w.Close())
	if bytes.Contains(raw.Bytes(), []byte(text)) {
		t.Fatal("the archive is not compressed")
	}
	must(t, os.WriteFile(path, raw.Bytes(), 0o600))
}
