package api_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"image"
	"image/png"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"firemode/api"
	"firemode/collections"
)

// pngOf is a picture that is different for every n.
func pngOf(t testing.TB, n uint8) string {
	t.Helper()
	var b bytes.Buffer
	img := image.NewGray(image.Rect(0, 0, 4, 4))
	img.Pix[0] = n
	if err := png.Encode(&b, img); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// upload sends a form for our session.
func (w *world) upload(as, key, content string, more ...string) answer {
	w.t.Helper()
	parts := append([]string{"session_id", w.session, "evidence_type", "photo", "sha256_hash", sum(content)}, more...)
	return w.uploadForm("/v1/evidence", as, key, append(parts, "file", content)...)
}

func (w *world) uploadForm(path, as, key string, parts ...string) answer {
	w.t.Helper()
	body, kind := form(parts...)
	header := map[string]string{"Content-Type": kind}
	if key != "" {
		header["Idempotency-Key"] = key
	}
	return w.send(request{method: "POST", path: path, as: as, header: header}, body)
}

// stored lists the files of the evidence collection and of the staging folder.
func (w *world) stored() (out []string) {
	w.t.Helper()
	_ = filepath.WalkDir(filepath.Join(w.app.DataDir(), "storage"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			out = append(out, path)
		}
		return nil
	})
	return out
}

func TestEvidenceUploadAndDownload(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	content := pngOf(t, 1)
	made := w.upload("inspector", "key-0001", content, "metadata", `{"floor":2,"pressure":12.50}`, "captured_at", "2026-11-23T09:00:00+11:00").want(201)
	id := made.text("evidence_id")
	if made.text("hash") != sum(content) || made.text("file_type") != "image/png" || made.text("status") != "verified" {
		t.Errorf("upload: got %s", made.body)
	}
	// No browser keeps it, whichever way it came.
	r, err := w.app.FindRecordById(collections.Evidence, id)
	if err != nil {
		t.Fatal(err)
	}
	token := w.do(request{method: "POST", path: "/api/files/token", as: "inspector"}).want(200).text("token")
	for _, path := range []string{"/api/files/evidence/" + id + "/" + r.GetString("file") + "?token=" + token, "/v1/evidence/" + id + "/download"} {
		if got := w.do(request{method: "GET", path: path, as: "inspector"}).want(200); got.header.Get("Cache-Control") != "private, no-store" || string(got.body) != content {
			t.Errorf("GET %.20s…: %d bytes with Cache-Control %q, want the picture and no-store", path, len(got.body), got.header.Get("Cache-Control"))
		}
	}
	if !bytes.Contains(made.body, []byte(`"pressure":12.50`)) {
		t.Errorf("metadata lost its digits: %s", made.body)
	}

	again := w.upload("inspector", "key-0001", content, "metadata", `{"floor":2,"pressure":12.50}`, "captured_at", "2026-11-23T09:00:00+11:00").want(201)
	if again.header.Get("Idempotent-Replayed") != "true" || !bytes.Equal(bytes.TrimSpace(again.body), bytes.TrimSpace(made.body)) {
		t.Errorf("replay: got %q and %s", again.header.Get("Idempotent-Replayed"), again.body)
	}
	same := w.uploadForm("/v1/evidence/submit", "inspector", "key-0002", "file", content, "sha256_hash", strings.ToUpper(sum(content)),
		"evidence_type", "photo", "session_id", w.session).want(200)
	if same.text("evidence_id") != id {
		t.Errorf("the same bytes again: got %s, want %s", same.text("evidence_id"), id)
	}
	w.upload("inspector", "key-0001", pngOf(t, 2)).want(409)
	if got := w.stored(); len(got) != 1 {
		t.Errorf("files: got %v, want one", got)
	}

	whole := w.do(request{method: "GET", path: "/v1/evidence/" + id + "/download", as: "auditor"}).want(200)
	if string(whole.body) != content || whole.header.Get("ETag") != `"`+sum(content)+`"` || whole.header.Get("Content-Type") != "image/png" {
		t.Errorf("download: got %d bytes, %v", len(whole.body), whole.header)
	}
	part := w.do(request{method: "GET", path: "/v1/evidence/" + id + "/download", as: "auditor", header: map[string]string{"Range": "bytes=5-9"}}).want(206)
	if string(part.body) != content[5:10] {
		t.Errorf("range: got %q, want %q", part.body, content[5:10])
	}
	w.do(request{method: "GET", path: "/v1/evidence/" + id + "/download", as: "auditor", header: map[string]string{"Range": "bytes=100000-"}}).want(416).refused("FIRE-416")
	w.do(request{method: "GET", path: "/v1/evidence/" + id + "/download", as: "auditor", header: map[string]string{"If-Match": `"another"`}}).want(412).refused("FIRE-412")
	w.do(request{method: "GET", path: "/v1/evidence/" + id + "/download", as: "auditor", header: map[string]string{"If-None-Match": whole.header.Get("ETag")}}).want(304)

	if v := w.do(request{method: "GET", path: "/v1/evidence/" + id + "/verify", as: "auditor"}).want(200); v.member("verified") != true {
		t.Errorf("verify: got %s", v.body)
	}
	if err := os.Chmod(w.stored()[0], 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(w.stored()[0], []byte(content[:len(content)-1]+"x"), 0o644); err != nil {
		t.Fatal(err)
	}
	if v := w.do(request{method: "GET", path: "/v1/evidence/" + id + "/verify", as: "auditor"}).want(200); v.member("verified") != false {
		t.Errorf("verify of damaged bytes: got %s", v.body)
	}
	if err := os.Remove(w.stored()[0]); err != nil {
		t.Fatal(err)
	}
	if v := w.do(request{method: "GET", path: "/v1/evidence/" + id + "/verify", as: "auditor"}).want(200); v.member("verified") != false || v.member("actual_hash") != nil {
		t.Errorf("verify of missing bytes: got %s", v.body)
	}
	w.do(request{method: "GET", path: "/v1/evidence/" + id + "/download", as: "auditor"}).want(500)

	if got := w.do(request{method: "GET", path: "/v1/evidence/session/" + w.session, as: "owner"}).want(200).items(); len(got) != 1 {
		t.Errorf("list: got %d, want 1", len(got))
	}
	w.do(request{method: "GET", path: "/v1/evidence/session/" + w.session, as: "stranger"}).want(404)
	for _, path := range []string{"", "/download", "/verify"} {
		w.do(request{method: "GET", path: "/v1/evidence/" + id + path, as: "stranger"}).want(404)
	}
	w.do(request{method: "PATCH", path: "/v1/evidence/" + id + "/flag", as: "inspector", body: map[string]any{"flag_reason": "blurred"}}).want(403)
	if f := w.do(request{method: "PATCH", path: "/v1/evidence/" + id + "/flag", as: "officer", body: map[string]any{"flag_reason": "blurred"}}).want(200); f.member("flagged_for_review") != true || f.text("flag_reason") != "blurred" {
		t.Errorf("flag: got %s", f.body)
	}
	// The building cannot go while its evidence is retained.
	w.do(request{method: "DELETE", path: "/v1/buildings/" + w.building, as: "manager"}).want(409)
}

// What is refused leaves neither a file nor a record.
func TestEvidenceRefusalsLeaveNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(d *api.Deps) { d.EvidenceMaxBytes = 1 << 20 })
	content := pngOf(t, 1)
	good := []string{"session_id", w.session, "evidence_type", "photo", "sha256_hash", sum(content), "file", content}
	with := func(name, value string) []string {
		out := append([]string(nil), good...)
		for i := 0; i < len(out); i += 2 {
			if out[i] == name {
				out[i+1] = value
			}
		}
		return out
	}
	without := func(name string) (out []string) {
		for i := 0; i < len(good); i += 2 {
			if good[i] != name {
				out = append(out, good[i], good[i+1])
			}
		}
		return out
	}
	big := content + strings.Repeat("x", 1<<20)
	script := "<html><script>alert(1)</script></html>"
	for name, row := range map[string]struct {
		as     string
		parts  []string
		status int
	}{
		"another checksum":     {"inspector", with("sha256_hash", sum("other")), 422},
		"checksum is no hex":   {"inspector", with("sha256_hash", strings.Repeat("g", 64)), 422},
		"no checksum":          {"inspector", without("sha256_hash"), 422},
		"no session":           {"inspector", without("session_id"), 422},
		"no type":              {"inspector", without("evidence_type"), 422},
		"no file":              {"inspector", without("file"), 422},
		"empty file":           {"inspector", with("file", ""), 422},
		"unknown session":      {"inspector", with("session_id", "01930b5e-7a00-7000-8000-000000000009"), 404},
		"session with NUL":     {"inspector", with("session_id", "a\x00b"), 422},
		"type is not UTF-8":    {"inspector", with("evidence_type", "a\xffb"), 422},
		"their session":        {"inspector", with("session_id", w.theirsessio), 404},
		"not by an owner":      {"owner", good, 403},
		"not by an auditor":    {"auditor", good, 403},
		"guest":                {"", good, 401},
		"unknown part":         {"inspector", append([]string{"more", "x"}, good...), 422},
		"a part twice":         {"inspector", append([]string{"session_id", w.session}, good...), 422},
		"metadata is no JSON":  {"inspector", append([]string{"metadata", "{"}, good...), 422},
		"metadata is a list":   {"inspector", append([]string{"metadata", "[]"}, good...), 422},
		"captured_at":          {"inspector", append([]string{"captured_at", "noon"}, good...), 422},
		"too large":            {"inspector", []string{"session_id", w.session, "evidence_type", "photo", "sha256_hash", sum(big), "file", big}, 413},
		"media type":           {"inspector", []string{"session_id", w.session, "evidence_type", "photo", "sha256_hash", sum(script), "file", script}, 415},
		"a field of megabytes": {"inspector", append([]string{"metadata", strings.Repeat("x", 1<<17)}, good...), 422},
	} {
		t.Run(name, func(t *testing.T) {
			w := *w
			w.t = t
			w.uploadForm("/v1/evidence", row.as, "key-"+strings.ReplaceAll(name, " ", "-"), row.parts...).want(row.status)
		})
	}
	w.uploadForm("/v1/evidence", "inspector", "", good...).want(422)
	w.do(request{method: "POST", path: "/v1/evidence", as: "inspector", body: map[string]any{"session_id": w.session}, header: map[string]string{"Idempotency-Key": "json-0001"}}).want(415)
	w.send(request{method: "POST", path: "/v1/evidence", as: "inspector", header: map[string]string{"Idempotency-Key": "cut-00001", "Content-Type": "multipart/form-data; boundary=x"}},
		strings.NewReader("--x\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\nabc")).want(400)
	if got := w.stored(); len(got) != 0 {
		t.Errorf("files: got %v, want none", got)
	}
	for _, name := range []string{collections.Evidence, collections.IdempotencyKeys} {
		if n, _ := w.app.CountRecords(name); n != 0 {
			t.Errorf("%s: got %d records, want none", name, n)
		}
	}
}

// A sender that goes away in the middle leaves nothing.
func TestEvidenceAbortLeavesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	body, kind := form("session_id", w.session, "evidence_type", "photo", "sha256_hash", sum("x"), "file", strings.Repeat("y", 1<<20))
	pipe, feed := io.Pipe()
	req, err := http.NewRequest(http.MethodPost, w.url+"/v1/evidence", pipe)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", kind)
	req.Header.Set("Idempotency-Key", "abort-0001")
	req.Header.Set("Authorization", "Bearer "+w.token["inspector"])
	done := make(chan struct{})
	go func() {
		defer close(done)
		if res, err := (&http.Client{Transport: transport}).Do(req); err == nil {
			res.Body.Close()
		}
	}()
	_, _ = feed.Write(body.Bytes()[:600<<10])
	w.eventually("the upload is on its way", func() bool { return len(w.stored()) == 1 })
	feed.CloseWithError(errors.New("the tablet lost its network"))
	<-done
	w.eventually("the staged bytes are gone", func() bool { return len(w.stored()) == 0 })
	if n, _ := w.app.CountRecords(collections.Evidence); n != 0 {
		t.Errorf("records: got %d, want none", n)
	}
}

// eventually waits until ok, on a deadline.
func (w *world) eventually(what string, ok func() bool) {
	w.t.Helper()
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline:
			w.t.Fatalf("waited in vain until %s", what)
		case <-tick.C:
		}
	}
}

// Many tablets send the same picture at once, with one key and with many:
// exactly one record.
func TestEvidenceRaces(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	content := pngOf(t, 3)
	var wg sync.WaitGroup
	codes := make(chan int, 16)
	for i := range 16 {
		wg.Go(func() {
			key := "race-0001"
			if i%2 == 1 {
				key += string(rune('a' + i))
			}
			codes <- w.upload("inspector", key, content).status
		})
	}
	wg.Wait()
	close(codes)
	created := 0
	for code := range codes {
		switch code {
		case 201:
			created++
		case 200, 409:
		default:
			t.Errorf("status: got %d, want 200, 201 or 409", code)
		}
	}
	if n, _ := w.app.CountRecords(collections.Evidence); n != 1 || created < 1 {
		t.Errorf("got %d records and %d answers 201, want one record", n, created)
	}
	if got := w.stored(); len(got) != 1 {
		t.Errorf("files: got %v, want one", got)
	}
	var entries int
	if err := w.app.DB().NewQuery("SELECT count(*) FROM audit_log WHERE resource_type = 'evidence'").Row(&entries); err != nil || entries != 1 {
		t.Errorf("audit entries: got %d (%v), want 1", entries, err)
	}
}

func TestSessions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	made := w.do(request{method: "POST", path: "/v1/tests/sessions/", as: "inspector", body: map[string]any{"building_id": w.building},
		header: map[string]string{"Idempotency-Key": "session-0001"}}).want(201)
	id := made.text("session_id")
	if made.text("status") != "active" || made.text("session_name") == "" {
		t.Errorf("created: got %s", made.body)
	}
	got := w.do(request{method: "GET", path: "/v1/tests/sessions/" + id, as: "owner"}).want(200)
	if raw, _ := json.Marshal(got.member("session_data")); string(raw) != "{}" {
		t.Errorf("session_data: got %s, want {}", raw)
	}
	w.do(request{method: "GET", path: "/v1/tests/sessions/" + id, as: "stranger"}).want(404)
	w.do(request{method: "POST", path: "/v1/tests/sessions", as: "owner", body: map[string]any{"building_id": w.building}}).want(403)
	w.do(request{method: "POST", path: "/v1/tests/sessions", as: "inspector", body: map[string]any{"building_id": w.theirs}}).want(404)
	w.do(request{method: "POST", path: "/v1/tests/sessions", as: "inspector", body: map[string]any{}}).want(422)

	for path, want := range map[string]int{
		"?status=active": 2, "?status=active&status=locked": 2, "?status=locked": 0, "?building_id=" + w.building: 2, "?building_id=" + w.theirs: 0,
		"?date_from=2020-01-01T00:00:00Z": 2, "?date_to=2020-01-01T00:00:00Z": 0,
	} {
		if items := w.do(request{method: "GET", path: "/v1/tests/sessions" + path, as: "inspector"}).want(200).items(); len(items) != want {
			t.Errorf("%s: got %d, want %d", path, len(items), want)
		}
	}
	w.do(request{method: "GET", path: "/v1/tests/sessions?status=open", as: "inspector"}).want(422)
	w.do(request{method: "GET", path: "/v1/tests/sessions?date_from=noon", as: "inspector"}).want(422)

	entries := w.do(request{method: "GET", path: "/v1/users/me/audits", as: "inspector"}).want(200).items()
	if len(entries) != 1 || entries[0]["action"] != "create" || entries[0]["resource_id"] != id {
		t.Errorf("my audits: got %v, want the create of %s", entries, id)
	}
	if entries[0]["request_id"] != made.header.Get("X-Request-Id") {
		t.Errorf("request id: got %v, want %s", entries[0]["request_id"], made.header.Get("X-Request-Id"))
	}
}
