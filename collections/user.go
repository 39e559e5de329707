package collections

import "github.com/pocketbase/pocketbase/core"

// usernamePattern keeps usernames free of "@", so that a login name is never
// both a username and somebody else's e-mail address.
const usernamePattern = `^[a-z0-9][a-z0-9._-]{1,62}[a-z0-9]$`

// passwordMinLength follows NIST SP 800-63B, section 5.1.1 (at least 8; longer
// is the better lever), rounded up for accounts that sign compliance records.
const passwordMinLength = 10

// bcryptMinCost: PocketBase's password setter always computes one bcrypt hash
// before ours replaces it; the cheapest one wastes about a millisecond.
const bcryptMinCost = 4

// users are the people and API clients that act on compliance records.
func users() *core.Collection {
	b := newAuth(Users)
	c := b.c
	for _, name := range []string{core.FieldNamePassword, core.FieldNameTokenKey, core.FieldNameEmail, core.FieldNameEmailVisibility, core.FieldNameVerified} {
		c.Fields.GetByName(name).SetId(fieldID(c.Name, name))
	}
	password := c.Fields.GetByName(core.FieldNamePassword).(*core.PasswordField)
	password.Min, password.Cost = passwordMinLength, bcryptMinCost

	b.pattern(FieldUsername, true, 64, usernamePattern)
	b.sealed(FieldFullName, 255)
	b.sealed(FieldPhone, 32).BlindIndex = FieldPhoneIndex
	b.add(&core.TextField{Name: FieldPhoneIndex, Hidden: true, Max: 64})
	b.enum(FieldRole, true, RoleInspector, RoleManager, RoleOfficer, RoleOwner, RoleAuditor, RoleClient)
	b.relation(FieldOrganisationID, Organisations, true)
	b.boolean(FieldIsActive)
	b.add(&core.DateField{Name: FieldTokensValidAfter, Hidden: true})
	b.stamps()
	b.index(true, FieldUsername)
	b.partialIndex(false, "`phone_index` != ''", FieldPhoneIndex)

	c.PasswordAuth.Enabled = true
	c.PasswordAuth.IdentityFields = []string{core.FieldNameEmail, FieldUsername}
	c.AuthAlert.Enabled = false // an e-mail per new device needs SMTP, which a fresh install lacks
	active := FieldIsActive + " = true"
	c.AuthRule = &active

	self := all(signedIn, FieldID+" = @request.auth.id")
	staff := sameOrganisation(FieldOrganisationID)
	// A person edits only their own contact data; role, organisation and
	// activation change through an administrator or the users command.
	ownContact := all(self,
		"@request.body.role:isset = false",
		"@request.body.organisation_id:isset = false",
		"@request.body.is_active:isset = false",
		"@request.body.username:isset = false")
	b.rules(oneOf(self, staff), "", ownContact)
	return c
}
