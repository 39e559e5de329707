//go:build !race

package api_test

import (
	"slices"

	"firemode/collections"

	"github.com/pocketbase/pocketbase/core"
)

// The oracle: who reaches what, in plain Go over the records. It shares the
// table with the documentation, and nothing with the access rules.

// cell is what a person's role may do with a collection.
func (c *census) cell(p person, collection string) collections.Access {
	if p.record == nil {
		return collections.Access{}
	}
	return c.table[collection].ByRole[p.record.GetString(collections.FieldRole)]
}

// active says whether a person is signed in with an account that is not disabled.
func (p person) active() bool {
	return p.record != nil && p.record.GetBool(collections.FieldIsActive)
}

// visible are the records of a collection that a person may read, by id.
func (c *census) visible(p person, collection string) []*core.Record {
	return c.shown[p.name+" "+collection]
}

// hidden are the others.
func (c *census) hidden(p person, collection string) []*core.Record {
	return c.kept[p.name+" "+collection]
}

// reaches says whether a record lies in a person's scope.
func (c *census) reaches(p person, scope collections.Scope, r *core.Record) bool {
	if !p.active() || r.GetString(collections.FieldDeletedAt) != "" {
		return false
	}
	within := map[collections.Scope]bool{
		collections.ScopeAll:    true,
		collections.ScopeActive: r.GetBool(collections.FieldIsActive),
		collections.ScopeSelf:   c.names(r) == p.record.Id,
	}
	own := p.record.GetString(collections.FieldOrganisationID)
	within[collections.ScopeOrganisation] = r.Id == own || r.GetString(collections.FieldOrganisationID) == own
	if b := c.buildingOf(r); b != nil {
		within[collections.ScopeOrganisation] = b.GetString(collections.FieldOrganisationID) == own
		within[collections.ScopeOwned] = b.GetString(collections.FieldOwnerID) == p.record.Id
		within[collections.ScopeGranted] = slices.ContainsFunc(c.records[collections.BuildingGrants], func(g *core.Record) bool {
			ends := g.GetString(collections.FieldEndsAt)
			return g.GetString(collections.FieldBuildingID) == b.Id && g.GetString(collections.FieldUserID) == p.record.Id &&
				g.GetString(collections.FieldStartsAt) != future && ends != recent
		})
	}
	for bit, ok := range within {
		if scope&bit != 0 && ok {
			return true
		}
	}
	return false
}

// names is the user that a record is about.
func (c *census) names(r *core.Record) string {
	switch name := r.Collection().Name; {
	case name == collections.Users:
		return r.Id
	case name[0] == '_':
		return r.GetString("recordRef")
	default:
		return r.GetString(collections.FieldUserID)
	}
}

// buildingOf is the building that a record is or hangs off, or nil.
func (c *census) buildingOf(r *core.Record) *core.Record {
	if r.Collection().Name == collections.Buildings {
		return r
	}
	if s := c.byID(collections.TestSessions, r.GetString(collections.FieldSessionID)); s != nil && r.GetString(collections.FieldBuildingID) == "" {
		r = s
	}
	return c.byID(collections.Buildings, r.GetString(collections.FieldBuildingID))
}

func (c *census) byID(collection, id string) *core.Record { return c.byKey[collection+" "+id] }

// maySeeSealed: people their own, staff those of their organisation.
func (c *census) maySeeSealed(p person, r *core.Record) bool {
	role := p.record.GetString(collections.FieldRole)
	staff := role == collections.RoleManager || role == collections.RoleOfficer
	return r.Id == p.record.Id || staff && r.GetString(collections.FieldOrganisationID) == p.record.GetString(collections.FieldOrganisationID)
}

func ids(records []*core.Record) []string {
	out := make([]string, len(records))
	for i, r := range records {
		out[i] = r.Id
	}
	return out
}
