package collections

import "strings"

// Access rules are PocketBase filter expressions. They are composed here so
// that "who may see a building" is written once and reused by everything that
// hangs off a building.

// signedIn admits active users only; a disabled account fails every rule.
const signedIn = `@request.auth.collectionName = "users" && @request.auth.is_active = true`

// roleIn admits the named roles.
func roleIn(roles ...string) string {
	terms := make([]string, len(roles))
	for i, r := range roles {
		terms[i] = `@request.auth.role = "` + r + `"`
	}
	return oneOf(terms...)
}

func all(terms ...string) string   { return "(" + strings.Join(terms, " && ") + ")" }
func oneOf(terms ...string) string { return "(" + strings.Join(terms, " || ") + ")" }

// canSeeBuilding admits staff of the building's organisation (manager,
// officer), its owner, and everybody with a grant that is valid now
// (inspector, auditor, client). path leads from the record to the building:
// "" for a building itself, "building_id." or "session_id.building_id.".
func canSeeBuilding(path string) string {
	grant := path + "building_grants_via_building_id."
	return all(signedIn, oneOf(
		all(roleIn(RoleManager, RoleOfficer), path+"organisation_id = @request.auth.organisation_id"),
		all(roleIn(RoleOwner), path+"owner_id = @request.auth.id"),
		all(roleIn(RoleInspector, RoleAuditor, RoleClient),
			grant+"user_id ?= @request.auth.id",
			grant+"starts_at ?<= @now",
			oneOf(grant+`ends_at ?= ""`, grant+"ends_at ?> @now")),
	))
}

// canManageBuilding admits managers and officers of the building's organisation.
func canManageBuilding(path string) string {
	return all(signedIn, roleIn(RoleManager, RoleOfficer), path+"organisation_id = @request.auth.organisation_id")
}

// sameOrganisation admits managers and officers to records of their own organisation.
func sameOrganisation(column string) string {
	return all(signedIn, roleIn(RoleManager, RoleOfficer), column+" = @request.auth.organisation_id")
}
