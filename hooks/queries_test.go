package hooks

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"

	"firemode/collections"
)

// probes are questions of an inspector about what they may not see: records of
// their organisation, and of others by a rule that belongs to everybody.
var probes = []struct{ collection, parameter, query string }{
	{collections.Organisations, "filter", `users_via_organisation_id.username != "boss"`},
	{collections.Organisations, "filter", `buildings_via_organisation_id.name !~ "Harbour%"`},
	{collections.Organisations, "filter", `buildings_via_organisation_id.id = ""`},
	{collections.Organisations, "sort", `buildings_via_organisation_id.id`},
	{collections.Rules, "filter", `classifications_via_rule_id.item_code = ""`},
	{collections.Rules, "filter", `created_at != "" && (rule_name = "x" || classifications_via_rule_id.session_id.building_id.name !~ "Harbour%")`},
	{collections.Rules, "sort", `-rule_code,classifications_via_rule_id.session_id.session_name`},
}

func TestQueriesLeadToOneRecordOnly(t *testing.T) {
	t.Parallel()
	s, token := newQuerySite(t)
	for _, p := range probes {
		for _, name := range []string{p.collection, strings.ToUpper(p.collection), "fm_" + p.collection} {
			path := "/api/collections/" + name + "/records?" + p.parameter + "=" + url.QueryEscape(p.query)
			if got := s.must(400, "GET", path, token, nil).text("message"); !strings.Contains(got, "leads to several") {
				t.Errorf("%s: got %q", path, got)
			}
			s.must(400, "GET", path, "", nil)
			// Which of two values counts is not left to chance.
			s.must(400, "GET", path+"&"+p.parameter+"=id", token, nil)
			s.must(400, "GET", strings.Replace(path, "?", "?"+p.parameter+"=id&", 1), token, nil)
		}
	}
	s.superuser("root", collections.RoleAdmin)
	root := s.login(collections.Superusers, "root@example.com", rightPassword)
	for _, p := range probes {
		s.must(200, "GET", "/api/collections/"+p.collection+"/records?"+p.parameter+"="+url.QueryEscape(p.query), root, nil)
	}
	for _, q := range [][2]string{
		{collections.Users, `organisation_id.name ~ "" && id != ""`}, {collections.Rules, `rule_schema.inputs.x = null`}, {collections.Rules, `rule_schema.list:each != "x"`},
	} {
		s.must(200, "GET", "/api/collections/"+q[0]+"/records?filter="+url.QueryEscape(q[1]), token, nil)
	}
	s.must(200, "GET", "/api/collections/organisations/records?sort=-name&expand=users_via_organisation_id", token, nil)
	s.must(200, "GET", "/api/collections/users/records?sort=organisation_id.name", token, nil)
}

// A subscription asks with its filter at every event, so it is held to the same.
func TestSubscriptionsLeadToOneRecordOnly(t *testing.T) {
	t.Parallel()
	s, token := newQuerySite(t)
	c := s.stream(token)
	for _, p := range probes {
		if p.parameter == "sort" {
			continue
		}
		options, err := json.Marshal(map[string]any{"query": map[string]string{"filter": p.query}})
		if err != nil {
			t.Fatal(err)
		}
		topic := p.collection + "/*?options=" + url.QueryEscape(string(options))
		for _, as := range []string{token, ""} {
			if as == "" { // PocketBase keeps the first account of a connection
				c = s.stream("")
			}
			got := s.must(400, "POST", "/api/realtime", as, answer{"clientId": c.id, "subscriptions": []string{"rules", topic}})
			if !strings.Contains(got.text("message"), "leads to several") {
				t.Errorf("%s: got %v", topic, got)
			}
		}
		c = s.stream(token)
	}
	plain := `organisations/*?options={"query":{"filter":"name != \"\""}}`
	s.must(204, "POST", "/api/realtime", token, answer{"clientId": c.id, "subscriptions": []string{plain, "users"}})
}

// A query of any length costs no more than PocketBase would give it.
func TestLongQueriesAreLeftToPocketBase(t *testing.T) {
	t.Parallel()
	s, token := newQuerySite(t)
	many := "/api/collections/organisations/records?sort=" + strings.Repeat("users_via_organisation_id.username,", 9)
	if got := s.must(400, "GET", many, token, nil).text("message"); strings.Contains(got, "leads to several") {
		t.Errorf("nine fields to sort by: got %q, want PocketBase's refusal", got)
	}
	s.must(400, "GET", "/api/collections/organisations/records?filter="+url.QueryEscape(strings.Repeat("(", 4000)), token, nil)
	for _, name := range []string{"filter", "sort"} {
		s.must(400, "GET", "/api/collections/organisations/records?"+name+"=id&"+name+"=id", token, nil)
	}
}

// Without the check the answers differ by what the inspector may not see.
func TestQueriesCheckIsNeeded(t *testing.T) {
	t.Parallel()
	s, token := newQuerySite(t, func(s *site) { s.without = "firemode.queries" })
	count := func(query string) any {
		return s.must(200, "GET", "/api/collections/organisations/records?filter="+url.QueryEscape(query), token, nil)["totalItems"]
	}
	if is, isNot := count(`users_via_organisation_id.username != "boss"`), count(`users_via_organisation_id.username != "boar"`); is != 0.0 || isNot != 1.0 {
		t.Errorf("got %v and %v, want 0 and 1: PocketBase guards such filters by now", is, isNot)
	}
	if none := count(`buildings_via_organisation_id.id = ""`); none != 0.0 {
		t.Errorf("got %v, want 0 where there is a building that nobody showed", none)
	}
}

// newQuerySite has an inspector without a grant, a colleague and a building, and
// a decision in another organisation.
func newQuerySite(t *testing.T, before ...func(*site)) (*site, string) {
	t.Helper()
	s := newSite(t, before...)
	s.user("boss", collections.RoleManager)
	s.user("ines", collections.RoleInspector)
	b := s.building("Harbour Tower")
	rule := save(t, s.app, collections.Rules, map[string]any{
		"rule_code": "R1", "version": "1.0.0", "rule_name": "Rule", "rule_schema": map[string]any{"inputs": map[string]any{}, "list": []string{"a"}}, "provenance": "illustrative", "is_active": true,
	})
	session := save(t, s.app, collections.TestSessions, map[string]any{"building_id": b.Id, "session_name": "Annual", "status": "active"})
	save(t, s.app, collections.Classifications, map[string]any{
		"session_id": session.Id, "item_code": "R1", "outcome": "pass", "rule_id": rule.Id, "rule_version": "1.0.0", "rule_sha256": strings.Repeat("b", 64),
	})
	return s, s.login(collections.Users, "ines", rightPassword)
}
