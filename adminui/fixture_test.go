package adminui_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"firemode/adminui"
	"firemode/audit"
	"firemode/collections"
	"firemode/hooks"
	"firemode/internal/browser"
	"firemode/internal/testapp"
	"firemode/sealed"

	"github.com/pocketbase/pocketbase/core"
	"github.com/pocketbase/pocketbase/tests"
	"github.com/pocketbase/pocketbase/tools/filesystem"
)

func TestMain(m *testing.M) {
	keyring, err := sealed.Parse(sealed.Generate())
	if err != nil {
		log.Fatal(err)
	}
	collections.UseSealer(keyring)
	code := m.Run()
	browser.Cleanup()
	testapp.Cleanup()
	os.Exit(code)
}

const (
	password     = "correct horse battery"
	adminEmail   = "admin@example.com"
	officerEmail = "officer@example.com"
	auditorEmail = "auditor@example.com"
	sealedName   = "Sabine Sealed"
	sealedPhone  = "+61 400 123 456"
)

// world is one served app with data in every collection that the tests read.
type world struct {
	t   testing.TB
	app *tests.TestApp
	url string
	// one record per collection, for views, topics and files
	ids      map[string]string
	fileName string
	org      string // of buildings and people
	otherOrg string
	tokens   map[string]string
}

func newWorld(t testing.TB, config adminui.Config) *world {
	t.Helper()
	w := newEmptyWorld(t, config)
	w.seed()
	return w
}

// newEmptyWorld has its three superusers and nothing else.
func newEmptyWorld(t testing.TB, config adminui.Config) *world {
	t.Helper()
	deps := hooks.Deps{
		// the cheapest hash that the scheme has: these tests are not about it
		Hasher: hooks.NewHasher(hooks.HasherConfig{Time: 1, MemoryKiB: 8, Parallelism: 1}),
		Tokens: hooks.NewTokens(hooks.TokensConfig{}),
	}
	app := testapp.New(t, func(app core.App) {
		hooks.Register(app, deps)
		adminui.Register(app, config)
	})
	w := &world{t: t, app: app, ids: map[string]string{}, tokens: map[string]string{}}
	w.superuser(adminEmail, "")
	w.superuser(officerEmail, collections.RoleOfficer)
	w.superuser(auditorEmail, collections.RoleAuditor)
	w.url = testapp.Serve(t, app)
	return w
}

// add saves one record, with its hooks.
func (w *world) add(collection string, values map[string]any) *core.Record {
	w.t.Helper()
	c, err := w.app.FindCollectionByNameOrId(collection)
	if err != nil {
		w.t.Fatal(err)
	}
	r := core.NewRecord(c)
	for k, v := range values {
		r.Set(k, v)
	}
	if c.IsAuth() {
		r.SetPassword(password)
	}
	if err := w.app.Save(r); err != nil {
		w.t.Fatalf("save %s: %v", collection, err)
	}
	if w.ids[collection] == "" {
		w.ids[collection] = r.Id
	}
	return r
}

func (w *world) superuser(email, role string) *core.Record {
	return w.add(collections.Superusers, map[string]any{"email": email, "role": role})
}

func (w *world) seed() {
	w.t.Helper()
	w.org = w.add(collections.Organisations, map[string]any{"name": "Ember Contractors", "kind": "contractor"}).Id
	w.otherOrg = w.add(collections.Organisations, map[string]any{"name": "Other Contractors", "kind": "contractor"}).Id
	inspector := w.add(collections.Users, map[string]any{
		"email": "ines@example.com", "username": "ines", "role": "inspector", "organisation_id": w.org, "is_active": true,
		"full_name": sealedName, "phone": sealedPhone, "emailVisibility": false, "verified": true,
	})
	w.add(collections.Users, map[string]any{"email": "olga@example.com", "username": "olga", "role": "officer", "organisation_id": w.org, "is_active": true, "verified": true})

	var buildings []string
	for i, status := range []string{"compliant", "compliant", "non_compliant", "under_review", "pending"} {
		buildings = append(buildings, w.add(collections.Buildings, map[string]any{
			"name": fmt.Sprintf("Tower %d", i+1), "address": fmt.Sprintf("%d Flame Street, Melbourne", i+1), "building_type": "office",
			"organisation_id": w.org, "owner_id": inspector.Id, "compliance_status": status, "contact_name": sealedName,
		}).Id)
	}
	w.add(collections.Buildings, map[string]any{"name": "Elsewhere", "address": "9 Other Road", "building_type": "retail", "organisation_id": w.otherOrg, "compliance_status": "pending"})
	w.add(collections.Buildings, map[string]any{"name": "Gone", "address": "0 Past Lane", "building_type": "office", "organisation_id": w.org, "compliance_status": "pending", "deleted_at": time.Now()})
	w.add(collections.BuildingGrants, map[string]any{"building_id": buildings[0], "user_id": inspector.Id, "starts_at": time.Now()})

	session := ""
	for i, status := range []string{"active", "active", "in_review", "locked"} {
		s := w.add(collections.TestSessions, map[string]any{"building_id": buildings[i], "session_name": fmt.Sprintf("Annual visit %d", i+1), "status": status})
		if i != 0 {
			continue
		}
		session = s.Id
		for _, statement := range []string{
			"INSERT INTO crdt_docs (id, key) VALUES (1, {:id})",
			`INSERT INTO crdt_conflicts (doc, path, policy, value_count, opened_at, changed_at, resolved_at)
				SELECT d.id, c.column1, 'mv', 2, 1, 1, c.column2 FROM crdt_docs d, (VALUES ('items/FE-001/result', 0), ('items/FE-001/pressure', 0), ('title', 1)) c WHERE d.key = {:id}`,
		} {
			if _, err := w.app.DB().NewQuery(statement).Bind(map[string]any{"id": s.Id}).Execute(); err != nil {
				w.t.Fatal(err)
			}
		}
	}
	w.seedFindings(inspector.Id, buildings, session)
}

// pixel is a 1x1 PNG.
const pixel = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8Dwn4EIAAAtuQL9vMzc6wAAAABJRU5ErkJggg=="

func (w *world) file(name string) *filesystem.File {
	w.t.Helper()
	png, err := base64.StdEncoding.DecodeString(pixel)
	if err != nil {
		w.t.Fatal(err)
	}
	f, err := filesystem.NewFileFromBytes(png, name)
	if err != nil {
		w.t.Fatal(err)
	}
	return f
}

func (w *world) seedFindings(inspector string, buildings []string, session string) {
	w.t.Helper()
	digest := strings.Repeat("ab", 32)
	evidence := w.add(collections.Evidence, map[string]any{
		"session_id": session, "evidence_type": "photo", "file": w.file("valve.png"), "checksum": digest, "size": 2_500_000,
		"media_type": "image/png", "retain_until": time.Now().AddDate(7, 0, 0), "flagged_for_review": true, "metadata": map[string]any{"lat": -37.8},
	})
	w.fileName = evidence.GetString("file")
	rule := w.add(collections.Rules, map[string]any{"rule_code": "FE-01", "version": "1.0.0", "rule_name": "Extinguisher pressure", "rule_schema": map[string]any{"when": "x"}, "provenance": "illustrative", "is_active": true})
	w.add(collections.Classifications, map[string]any{"session_id": session, "item_code": "FE-001", "outcome": "critical_defect", "rule_id": rule.Id, "rule_version": "1.0.0", "rule_sha256": digest})
	for i, severity := range []string{"critical_defect", "critical_defect", "non_conformance"} {
		w.add(collections.Defects, map[string]any{
			"session_id": session, "building_id": buildings[0], "severity_class": severity, "description": "Gauge in the red",
			"state": "open", "discovered_at": time.Now(), "notify_by": time.Now().Add(time.Duration(2*i-1) * time.Hour),
		})
	}
	w.add(collections.Defects, map[string]any{"session_id": session, "building_id": buildings[0], "severity_class": "critical_defect", "description": "Replaced", "state": "closed", "discovered_at": time.Now()})
	w.add(collections.CalibrationCertificates, map[string]any{"organisation_id": w.org, "instrument_id": "G-1", "instrument_type": "gauge", "certificate_number": "C-1", "calibrated_at": time.Now(), "expires_at": time.Now().AddDate(1, 0, 0), "file": w.file("cert.png")})
	w.add(collections.RevokedTokens, map[string]any{"token_jti": "j-1", "user_id": inspector, "revoked_at": time.Now(), "expires_at": time.Now().Add(time.Hour)})
	w.add(collections.IdempotencyKeys, map[string]any{"principal": "p", "method": "POST", "route": "/v1/x", "key_hash": "k", "request_hash": "r", "expires_at": time.Now().Add(time.Hour)})
	err := w.app.RunInTransaction(func(tx core.App) error {
		release := audit.Attribute(tx, audit.Actor{ID: inspector, Role: "inspector", Collection: collections.Users, IP: "192.0.2.7"})
		defer release()
		for _, id := range append(buildings, session) {
			kind := collections.Buildings
			if id == session {
				kind = collections.TestSessions
			}
			entry, err := audit.Append(tx, audit.Entry{Action: "create", ResourceType: kind, ResourceID: id, New: map[string]any{"name": "x"}})
			if err != nil {
				return err
			}
			w.ids[collections.AuditLog] = entry
		}
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

// token logs a superuser in over HTTP, once per world.
func (w *world) token(email string) string {
	w.t.Helper()
	return w.login(collections.Superusers, email)
}

func (w *world) login(collection, email string) string {
	w.t.Helper()
	if token, ok := w.tokens[email]; ok {
		return token
	}
	status, body := w.do("POST", "/api/collections/"+collection+"/auth-with-password", "", map[string]any{"identity": email, "password": password})
	token, _ := body["token"].(string)
	if status != http.StatusOK || token == "" {
		w.t.Fatalf("log in %s: status %d, %v", email, status, body)
	}
	w.tokens[email] = token
	return token
}

// do sends one request and decodes a JSON object answer.
func (w *world) do(method, path, token string, body any) (int, map[string]any) {
	w.t.Helper()
	status, raw, _ := w.raw(method, path, token, body)
	out := map[string]any{}
	_ = json.Unmarshal(raw, &out) // a file or an array stays an empty map
	return status, out
}

func (w *world) raw(method, path, token string, body any) (int, []byte, http.Header) {
	w.t.Helper()
	var payload io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			w.t.Fatal(err)
		}
		payload = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(w.t.Context(), method, w.url+path, payload)
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if token != "" {
		req.Header.Set("Authorization", token)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		w.t.Fatalf("%s %s: %v", method, path, err)
	}
	return res.StatusCode, raw, res.Header
}
