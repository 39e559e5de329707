//go:build !race

package api_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"firemode/audit"
	"firemode/collections"

	"github.com/pocketbase/pocketbase/core"
	"github.com/pocketbase/pocketbase/tools/filesystem"
)

// A census is a world with records inside and outside of every scope, the
// people who ask for them, and the plain answer to who reaches what. It judges
// answers by that, never by the rules.
type census struct {
	*world
	client       *http.Client
	persons      []person
	all          []*core.Collection
	table        map[string]collections.AccessRow
	marks        int
	people       map[string]string // ids by name
	ours, theirs string
	saved        map[string]bool // ids, since the last change
	requests     int

	// As of the last count:
	records     map[string][]*core.Record  // by collection
	byKey       map[string]*core.Record    // by "collection id"
	shown, kept map[string][]*core.Record  // by "person collection"
	known       map[string]map[string]bool // by person: marks and secrets that they may be shown

	wrote    bool             // since somebody looked
	nothings map[string]asked // answers of /v1 to ids that do not exist
	found    []string         // where an answer is not what the oracle says
}

// A person asks. The record is nil for somebody who is not signed in.
type person struct {
	name   string
	record *core.Record
}

// nobody is not signed in.
const nobody = "nobody"

func newCensus(t testing.TB) *census {
	t.Helper()
	c := &census{world: newWorld(t), client: &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{}}, table: map[string]collections.AccessRow{}, saved: map[string]bool{}, people: map[string]string{}}
	t.Cleanup(c.client.CloseIdleConnections)
	c.app.Settings().Batch.Enabled, c.app.Settings().Batch.MaxRequests = true, 10
	c.app.Settings().TrustedProxy.Headers = []string{addressHeader}
	for _, row := range collections.AccessTable() {
		c.table[row.Collection] = row
	}
	var err error
	if c.all, err = c.app.FindAllCollections(); err != nil {
		t.Fatal(err)
	}
	c.ours, c.theirs = c.organisationOf("manager"), c.organisationOf("stranger")
	for name, p := range map[string]struct{ role, organisation string }{
		"visitor":  {collections.RoleAuditor, c.theirs}, // of the other organisation, with grants of ours
		"former":   {collections.RoleClient, c.ours},    // their grant has ended
		"early":    {collections.RoleInspector, c.ours}, // their grant has not begun
		"disabled": {collections.RoleManager, c.ours},
	} {
		c.person(name, p.role, p.organisation)
	}
	for _, name := range []string{"inspector", "manager", "officer", "owner", "auditor", "client", "stranger", "visitor", "former", "early", "disabled"} {
		c.persons = append(c.persons, person{name: name})
	}
	c.superuser(collections.RoleAdmin)
	c.weaken(core.CollectionNameOTPs, func(collection *core.Collection) {
		collection.Fields.GetByName(core.FieldNamePassword).(*core.PasswordField).Cost = 4 // for speed
	})
	c.populate()
	if _, err := c.app.DB().NewQuery("UPDATE users SET is_active = FALSE WHERE username = 'disabled'").Execute(); err != nil {
		t.Fatal(err)
	}
	for i, p := range c.persons {
		if c.persons[i].record, err = c.app.FindRecordById(collections.Users, c.idOf(p.name)); err != nil {
			t.Fatal(err)
		}
	}
	c.persons = append(c.persons, person{name: nobody})
	c.count()
	return c
}

// fork is the same world for a test of its own, which MUST NOT change it.
func (c *census) fork(t *testing.T, n int) *census {
	w, forked := *c.world, *c
	w.t = t
	forked.world, forked.found, forked.requests, forked.nothings = &w, nil, n<<16, nil
	return &forked
}

// mark is a text that occurs in one record only.
func (c *census) mark() string {
	c.marks++
	return fmt.Sprintf("mark-%d-x", c.marks)
}

func (c *census) secret() string {
	c.marks++
	return fmt.Sprintf("seal-%d-x", c.marks)
}

const (
	past   = "2020-01-01 00:00:00.000Z"
	recent = "2021-01-01 00:00:00.000Z"
	future = "2090-01-01 00:00:00.000Z"
)

// populate adds records to every collection.
func (c *census) populate() {
	c.t.Helper()
	ours, theirs := c.ours, c.theirs
	colleague := c.colleague(ours)
	rule := c.rule(true)
	c.rule(false)
	tower := c.site(ours, colleague, rule, map[string]any{collections.FieldOwnerID: c.idOf("owner")})
	c.grant(tower, "inspector", past, "")
	c.grant(tower, "auditor", past, future)
	c.grant(tower, "client", past, "")
	// The annex is open to a visitor, and not to those whose grants are past or to come.
	annex := c.site(ours, c.colleague(ours), rule, nil)
	c.grant(annex, "visitor", past, "")
	for _, name := range []string{"inspector", "former"} {
		c.grant(annex, name, past, recent)
	}
	for _, name := range []string{"client", "early"} {
		c.grant(annex, name, future, "")
	}
	c.grant(c.site(ours, colleague, rule, map[string]any{collections.FieldOwnerID: c.idOf("owner"), collections.FieldDeletedAt: recent}), "inspector", past, "")
	mill := c.site(theirs, c.colleague(theirs), rule, nil)
	c.grant(mill, "visitor", past, recent)
	// A grant opens nothing to staff and owners.
	c.grant(mill, "manager", past, "")
	c.grant(annex, "owner", past, "")
	c.certificates(colleague)
	c.save(collections.Classifications, c.decision(rule, ""))
	for _, name := range append(collections.Roles(), "stranger") {
		c.belongings(c.idOf(name), "google") // each role is the name of a person
	}
}

func (c *census) colleague(organisation string) string {
	c.t.Helper()
	r, err := c.app.FindRecordById(collections.Users, c.person(c.mark(), collections.RoleInspector, organisation))
	if err != nil {
		c.t.Fatal(err)
	}
	r.Set(collections.FieldFullName, c.secret())
	r.Set(core.FieldNameEmailVisibility, c.marks%2 == 0)
	if err := c.app.Save(r); err != nil {
		c.t.Fatal(err)
	}
	return r.Id
}

func (c *census) rule(active bool) string {
	c.t.Helper()
	return c.save(collections.Rules, map[string]any{
		"rule_code": c.mark(), "version": "1.0.0", "rule_name": c.mark(), "rule_schema": map[string]any{"when": "x"}, "provenance": "illustrative", "is_active": active,
	}).Id
}

func (c *census) decision(rule, session string) map[string]any {
	return map[string]any{
		"session_id": session, "item_code": c.mark(), "outcome": "pass", "rule_id": rule, "rule_version": "1.0.0", "rule_sha256": strings.Repeat("b", 64),
	}
}

// site makes a building and one of everything that hangs off it.
func (c *census) site(organisation, by, rule string, more map[string]any) string {
	c.t.Helper()
	values := map[string]any{
		"name": c.mark(), "address": c.mark(), "building_type": "5", "organisation_id": organisation, "compliance_status": "pending", "contact_name": c.secret(),
	}
	for k, v := range more {
		values[k] = v
	}
	building := c.save(collections.Buildings, values).Id
	for _, author := range []string{by, c.idOf("stranger")} {
		c.hang(building, author, rule)
	}
	return building
}

// hang adds one of everything that hangs off a building.
func (c *census) hang(building, author, rule string) {
	c.t.Helper()
	session := c.save(collections.TestSessions, map[string]any{"building_id": building, "session_name": c.mark(), "status": "active", "created_by": author}).Id
	evidence := c.save(collections.Evidence, map[string]any{
		"session_id": session, "evidence_type": c.mark(), "file": c.picture(), "checksum": strings.Repeat("ab", 32), "size": 70,
		"media_type": "image/png", "retain_until": future, "created_by": author,
	}).Id
	decision := c.save(collections.Classifications, c.decision(rule, session)).Id
	c.save(collections.Defects, map[string]any{
		"session_id": session, "building_id": building, "classification_id": decision, "severity_class": "critical_defect", "description": c.mark(),
		"state": "open", "discovered_at": past, "evidence_ids": []string{evidence}, "acknowledged_by": author,
	})
}

// change makes a message about every collection: new records where there are
// buildings and people already, and the others saved again. It returns the ids.
func (c *census) change() map[string]bool {
	c.t.Helper()
	c.saved, c.wrote = map[string]bool{}, true
	rule := c.rule(true)
	c.rule(false)
	for _, b := range c.records[collections.Buildings] {
		if !strings.HasPrefix(b.GetString(collections.FieldName), "mark-") {
			continue // one of newWorld's, which hold nothing
		}
		c.hang(b.Id, c.idOf("manager"), rule)
	}
	c.certificates(c.idOf("manager"))
	c.save(collections.Classifications, c.decision(rule, ""))
	for _, name := range []string{collections.RoleInspector, "stranger"} {
		c.belongings(c.idOf(name), "github")
	}
	for _, name := range []string{collections.Organisations, collections.Users, collections.Buildings, collections.BuildingGrants} {
		for _, r := range ends(c.records[name]) {
			if err := c.app.Save(r); err != nil {
				c.t.Fatal(err)
			}
			c.saved[r.Id] = true
		}
	}
	return c.saved
}

// idOf keeps working when a control has let somebody change their name.
func (c *census) idOf(name string) string {
	if c.people[name] == "" {
		c.people[name] = c.world.idOf(name)
	}
	return c.people[name]
}

func (c *census) save(name string, values map[string]any) *core.Record {
	c.t.Helper()
	r := c.world.save(name, values)
	c.saved[r.Id] = true
	return r
}

// certificates adds one per organisation.
func (c *census) certificates(by string) {
	c.t.Helper()
	for _, organisation := range []string{c.ours, c.theirs} {
		c.save(collections.CalibrationCertificates, map[string]any{
			"organisation_id": organisation, "instrument_id": "M1", "instrument_type": "gauge", "certificate_number": c.mark(),
			"calibrated_at": past, "expires_at": future, "file": c.picture(), "created_by": by,
		})
	}
}

func (c *census) grant(building, name, from, until string) {
	c.t.Helper()
	c.save(collections.BuildingGrants, map[string]any{
		"building_id": building, "user_id": c.idOf(name), "starts_at": from, "ends_at": until, "granted_by": c.idOf("manager"),
	})
}

// belongings are records that name one user; an account has one per provider.
func (c *census) belongings(user, provider string) {
	c.t.Helper()
	err := c.app.RunInTransaction(func(tx core.App) error {
		defer audit.Attribute(tx, audit.Actor{ID: user, Role: "x", Collection: collections.Users})()
		_, err := audit.Append(tx, audit.Entry{Action: c.mark(), ResourceType: "x", ResourceID: "x"})
		return err
	})
	if err != nil {
		c.t.Fatal(err)
	}
	jti := c.mark()
	c.save(collections.RevokedTokens, map[string]any{"token_jti": jti, "user_id": user, "revoked_at": past, "expires_at": future})
	c.save(collections.IdempotencyKeys, map[string]any{"principal": user, "method": "POST", "route": c.mark(), "key_hash": jti, "request_hash": "r", "expires_at": future})
	users, err := c.app.FindCachedCollectionByNameOrId(collections.Users)
	if err != nil {
		c.t.Fatal(err)
	}
	ref := map[string]any{"collectionRef": users.Id, "recordRef": user, "provider": provider, "providerId": jti, "fingerprint": jti, "method": c.mark(), "password": "long enough", "sentTo": "x"}
	for _, name := range []string{core.CollectionNameExternalAuths, core.CollectionNameMFAs, core.CollectionNameOTPs, core.CollectionNameAuthOrigins} {
		c.save(name, ref)
	}
}

func (c *census) picture() *filesystem.File {
	c.t.Helper()
	c.marks++
	f, err := filesystem.NewFileFromBytes([]byte(pngOf(c.t, uint8(c.marks))), "valve.png")
	if err != nil {
		c.t.Fatal(err)
	}
	return f
}

// count reads every record of every collection and works out who may read which,
// and who may be shown which mark and secret.
func (c *census) count() {
	c.t.Helper()
	c.records, c.byKey = map[string][]*core.Record{}, map[string]*core.Record{}
	marks := map[*core.Record][]string{}
	for _, collection := range c.all {
		found, err := c.app.FindAllRecords(collection.Name)
		if err != nil {
			c.t.Fatal(err)
		}
		slices.SortFunc(found, func(a, b *core.Record) int { return strings.Compare(a.Id, b.Id) })
		c.records[collection.Name] = found
		for _, r := range found {
			c.byKey[collection.Name+" "+r.Id] = r
			text, err := json.Marshal(r)
			if err != nil {
				c.t.Fatal(err)
			}
			marks[r] = marksIn(text)
		}
	}
	c.shown, c.kept, c.known = map[string][]*core.Record{}, map[string][]*core.Record{}, map[string]map[string]bool{}
	for _, p := range c.persons {
		known := map[string]bool{}
		c.known[p.name] = known
		if p.record != nil {
			known[p.record.Email()] = true
		}
		for name, records := range c.records {
			for _, r := range records {
				key := p.name + " " + name
				if !c.reaches(p, c.cell(p, name).View, r) {
					c.kept[key] = append(c.kept[key], r)
					continue
				}
				c.shown[key] = append(c.shown[key], r)
				for _, mark := range marks[r] {
					known[mark] = true
				}
				for _, f := range collections.SealedFields(r.Collection()) {
					known[r.GetString(f.Name)] = c.maySeeSealed(p, r)
				}
			}
		}
	}
}
