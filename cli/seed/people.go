package seed

import (
	"time"

	"firemode/collections"
)

// DemoPassword opens every seeded account. It is public, which is why the
// command refuses to seed in production.
const DemoPassword = "firemode-demo-1851"

// yearBefore is how many days before the anchor the tenants signed up.
const yearBefore = 372

type organisation struct{ key, name, kind string }

var organisations = []organisation{
	{"contractor", "Southern Cross Fire Services", "contractor"},
	{"owner", "Harbourline Property Group", "owner"},
}

type person struct {
	username, fullName, phone, role, organisation string
	inactive                                      bool
}

// people are twelve over all roles. The first one is the demo user.
var people = []person{
	{username: "demo", fullName: "Dana Mercer", phone: "+61 2 5550 0101", role: collections.RoleManager, organisation: "contractor"},
	{username: "mia.nguyen", fullName: "Mia Nguyen", phone: "+61 2 5550 0102", role: collections.RoleInspector, organisation: "contractor"},
	{username: "tom.kelly", fullName: "Tom Kelly", phone: "+61 2 5550 0103", role: collections.RoleInspector, organisation: "contractor"},
	{username: "priya.sharma", fullName: "Priya Sharma", phone: "+61 3 5550 0104", role: collections.RoleInspector, organisation: "contractor"},
	{username: "olivia.hart", fullName: "Olivia Hart", phone: "+61 2 5550 0105", role: collections.RoleOfficer, organisation: "contractor"},
	{username: "ravi.menon", fullName: "Ravi Menon", phone: "+61 7 5550 0106", role: collections.RoleAuditor, organisation: "contractor"},
	{username: "panel.gateway", fullName: "Alarm panel gateway", phone: "", role: collections.RoleClient, organisation: "contractor"},
	{username: "grace.lim", fullName: "Grace Lim", phone: "+61 3 5550 0108", role: collections.RoleOwner, organisation: "owner"},
	{username: "peter.walsh", fullName: "Peter Walsh", phone: "+61 8 5550 0109", role: collections.RoleOwner, organisation: "owner"},
	{username: "helen.costa", fullName: "Helen Costa", phone: "+61 3 5550 0110", role: collections.RoleManager, organisation: "owner"},
	{username: "sam.okafor", fullName: "Sam Okafor", phone: "+61 3 5550 0111", role: collections.RoleInspector, organisation: "owner"},
	{username: "lee.archer", fullName: "Lee Archer", phone: "+61 2 5550 0112", role: collections.RoleInspector, organisation: "owner", inactive: true},
}

type superuser struct{ email, role string }

var superusers = []superuser{
	{"admin@firemode.test", collections.RoleAdmin},
	{"officer@firemode.test", collections.RoleOfficer},
}

// A Login is an account that a newcomer can try. All have [DemoPassword].
type Login struct {
	Identity string `json:"identity"` // username, or e-mail of a superuser
	Role     string `json:"role"`
	Where    string `json:"where"` // "API", or "admin UI (/_/)"
}

// DemoLogins lists the accounts worth trying first.
func DemoLogins() []Login {
	var out []Login
	for _, s := range superusers {
		out = append(out, Login{s.email, "superuser:" + s.role, "admin UI (/_/)"})
	}
	for _, p := range people {
		if !p.inactive {
			out = append(out, Login{p.username, p.role, "API"})
		}
	}
	return out
}

func (m maker) signedUp() time.Time { return m.daysAgo(yearBefore, 9*time.Hour) }

func (m maker) organisationID(key string) string {
	return m.id("organisation", key, m.signedUp())
}

func (m maker) userID(username string) string {
	if username == people[0].username {
		return collections.DemoUserID
	}
	return m.id("user", username, m.signedUp())
}

func (m maker) organisationRows() []row {
	var rows []row
	for _, o := range organisations {
		rows = append(rows, row{
			collection: collections.Organisations, id: m.organisationID(o.key), at: m.signedUp(),
			values: map[string]any{collections.FieldName: o.name, collections.FieldKind: o.kind},
		})
	}
	return rows
}

func (m maker) userRows() []row {
	var rows []row
	for _, p := range people {
		rows = append(rows, row{
			collection: collections.Users, id: m.userID(p.username), at: m.signedUp(), password: DemoPassword,
			values: map[string]any{
				collections.FieldUsername: p.username, collections.FieldEmail: p.username + "@firemode.test", "verified": true,
				collections.FieldFullName: p.fullName, collections.FieldPhone: p.phone, collections.FieldRole: p.role,
				collections.FieldOrganisationID: m.organisationID(p.organisation), collections.FieldIsActive: !p.inactive,
			},
		})
	}
	return rows
}

func (m maker) superuserRows() []row {
	var rows []row
	for _, s := range superusers {
		rows = append(rows, row{
			collection: collections.Superusers, id: m.systemID("superuser", s.email), password: DemoPassword,
			values: map[string]any{collections.FieldEmail: s.email, collections.FieldRole: s.role, "verified": true},
		})
	}
	return rows
}
