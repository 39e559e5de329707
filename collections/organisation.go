package collections

import "github.com/pocketbase/pocketbase/core"

// organisations are the tenants: contractors that test and owners that are tested.
func organisations() *core.Collection {
	b := newBase(Organisations)
	b.requiredText(FieldName, 255)
	b.enum(FieldKind, true, "contractor", "owner")
	b.stamps()
	b.index(true, FieldName)
	own := all(signedIn, FieldID+" = @request.auth.organisation_id")
	b.rules(own, "", "")
	return b.c
}
