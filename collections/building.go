package collections

import "github.com/pocketbase/pocketbase/core"

// buildings are the places under test. Deleting one is soft: deleted_at is set
// and the record disappears from every list, while its evidence stays.
func buildings() *core.Collection {
	b := newBase(Buildings)
	b.requiredText(FieldName, 255)
	b.requiredText(FieldAddress, 1000)
	b.requiredText(FieldBuildingType, 100)
	b.relation(FieldOwnerID, Users, false)
	b.relation(FieldOrganisationID, Organisations, true)
	b.enum(FieldComplianceStatus, true, "pending", "compliant", "non_compliant", "under_review")
	b.sealed(FieldContactName, 255)
	b.sealed(FieldContactPhone, 32)
	b.sealed(FieldContactEmail, 255)
	b.pattern(FieldJurisdiction, false, 16, `^[A-Z]{2}(-[A-Z0-9]{1,3})?$`) // ISO 3166-1 or 3166-2
	b.text(FieldTimeZone, 64)                                              // IANA name
	b.json(FieldMetadata, jsonMaxBytes)
	b.date(FieldDeletedAt, false)
	b.stamps()
	// The same place twice is a mistake of entry, not a second building.
	b.partialIndex(true, "`deleted_at` = ''", FieldOrganisationID, FieldName, FieldAddress)

	live := FieldDeletedAt + ` = ""`
	b.rules(
		all(live, canSeeBuilding("")),
		all(canManageBuilding(""), "@request.body.deleted_at:isset = false"),
		"", // updates need If-Match, which only /v1 can ask for
	)
	return b.c
}

// buildingGrants open a building to an inspector, auditor or API client from
// starts_at until ends_at (empty: until revoked).
func buildingGrants() *core.Collection {
	b := newBase(BuildingGrants)
	b.relation(FieldBuildingID, Buildings, true)
	b.relation(FieldUserID, Users, true)
	b.date(FieldStartsAt, true)
	b.date(FieldEndsAt, false)
	b.relation(FieldGrantedBy, Users, false)
	b.createdAt()
	b.index(false, FieldUserID, FieldBuildingID)

	manage := canManageBuilding(FieldBuildingID + ".")
	b.rules(oneOf(manage, all(signedIn, FieldUserID+" = @request.auth.id")),
		all(manage, "@request.body.granted_by:isset = false"),
		// An update rule judges the stored record only: a grant that could be
		// moved would open somebody else's building.
		all(manage,
			"@request.body.building_id:isset = false",
			"@request.body.user_id:isset = false",
			"@request.body.granted_by:isset = false"))
	return b.c
}
