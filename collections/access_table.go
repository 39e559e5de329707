package collections

import (
	"strings"

	"github.com/pocketbase/pocketbase/core"
)

// Scope is a set of the records of a collection, as a union of the bits below.
type Scope uint8

// What a user may reach. Guests and disabled users reach nothing; superusers
// pass every rule and are held by the table of package adminui.
const (
	ScopeSelf         Scope = 1 << iota // what names the caller: their account, grants and acts
	ScopeOwned                          // buildings that name the caller as owner, and what hangs off them
	ScopeGranted                        // buildings of the caller's grants that are valid now, and what hangs off them
	ScopeOrganisation                   // what belongs to the caller's organisation or hangs off its buildings
	ScopeActive                         // what is in force, whoever made it
	ScopeAll
	ScopeNone Scope = 0
)

// scopeWords are the names of the bits, lowest first.
var scopeWords = []string{"self", "owned", "granted", "organisation", "active", "all"}

// String names the scope as data_model.md does.
func (s Scope) String() string {
	var words []string
	for i, word := range scopeWords {
		if s&(1<<i) != 0 {
			words = append(words, word)
		}
	}
	if len(words) == 0 {
		return "–"
	}
	return strings.Join(words, " or ")
}

// Access is what one role may do with the records of one collection through
// the record API.
type Access struct{ List, View, Create, Update, Delete Scope }

// AccessRow is what the roles of users may do with one collection. A role that
// is not in ByRole may do nothing.
type AccessRow struct {
	Collection string
	ByRole     map[string]Access
}

// Roles returns the roles of users in the order of the tables.
func Roles() []string {
	return []string{RoleInspector, RoleManager, RoleOfficer, RoleOwner, RoleAuditor, RoleClient}
}

// AccessTable says who reaches which records of each collection, PocketBase's
// own included. The access rules are written by hand; tests ask them through
// every door and hold the answers against this table. A collection without a
// row fails them.
func AccessTable() []AccessRow {
	return []AccessRow{
		row(Organisations, everyone(read(ScopeOrganisation))),
		row(Users, everyone(read(ScopeSelf).update(ScopeSelf)), staff(read(ScopeSelf|ScopeOrganisation).update(ScopeSelf))),
		row(Buildings, scoped(), staff(read(ScopeOrganisation).create(ScopeOrganisation))),
		row(BuildingGrants, everyone(read(ScopeSelf)),
			staff(read(ScopeSelf|ScopeOrganisation).create(ScopeOrganisation).update(ScopeOrganisation))),
		row(TestSessions, scoped(),
			only(read(ScopeGranted).create(ScopeGranted), RoleInspector, RoleClient),
			only(read(ScopeOrganisation).create(ScopeOrganisation), RoleManager)),
		row(Evidence, scoped()),
		row(AuditLog, everyone(read(ScopeSelf))),
		row(Rules, everyone(read(ScopeActive)), staff(read(ScopeAll)), only(read(ScopeAll), RoleAuditor)),
		row(Classifications, scoped()),
		row(Defects, scoped()),
		row(CalibrationCertificates, only(read(ScopeOrganisation), RoleInspector),
			staff(read(ScopeOrganisation).create(ScopeOrganisation))),
		row(RevokedTokens),
		row(IdempotencyKeys),
		row(Superusers),
		row(core.CollectionNameExternalAuths, everyone(read(ScopeSelf).delete(ScopeSelf))),
		row(core.CollectionNameMFAs, everyone(read(ScopeSelf))),
		row(core.CollectionNameOTPs, everyone(read(ScopeSelf))),
		row(core.CollectionNameAuthOrigins, everyone(read(ScopeSelf).delete(ScopeSelf))),
	}
}

// row joins parts; a later one replaces the roles of an earlier one.
func row(collection string, parts ...map[string]Access) AccessRow {
	r := AccessRow{Collection: collection, ByRole: map[string]Access{}}
	for _, part := range parts {
		for role, access := range part {
			r.ByRole[role] = access
		}
	}
	return r
}

func only(a Access, roles ...string) map[string]Access {
	part := map[string]Access{}
	for _, role := range roles {
		part[role] = a
	}
	return part
}

func everyone(a Access) map[string]Access { return only(a, Roles()...) }
func staff(a Access) map[string]Access    { return only(a, RoleManager, RoleOfficer) }

// scoped is how everything that hangs off a building is read.
func scoped() map[string]Access {
	part := only(read(ScopeGranted), RoleInspector, RoleAuditor, RoleClient)
	part[RoleManager], part[RoleOfficer] = read(ScopeOrganisation), read(ScopeOrganisation)
	part[RoleOwner] = read(ScopeOwned)
	return part
}

func read(s Scope) Access              { return Access{List: s, View: s} }
func (a Access) create(s Scope) Access { a.Create = s; return a }
func (a Access) update(s Scope) Access { a.Update = s; return a }
func (a Access) delete(s Scope) Access { a.Delete = s; return a }
