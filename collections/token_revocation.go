package collections

import "github.com/pocketbase/pocketbase/core"

// revokedTokens is the token revocation list. user_id is text, not a relation:
// it names a record of users or of _superusers.
func revokedTokens() *core.Collection {
	b := newBase(RevokedTokens)
	b.requiredText(FieldTokenJTI, 255)
	b.requiredText(FieldUserID, 36)
	b.text(FieldReason, 255)
	b.text(FieldRevokedBy, 36)
	b.date(FieldRevokedAt, true)
	b.date(FieldExpiresAt, true)
	b.index(true, FieldTokenJTI)
	b.index(false, FieldUserID)
	b.index(false, FieldExpiresAt)
	b.rules("", "", "")
	return b.c
}

// responseMaxBytes bounds a stored answer; larger answers are not replayable
// and their operations must be idempotent by other means.
const responseMaxBytes = 4 << 20

// idempotencyKeys remember the answer to a request so that a repeat gets the
// same one. The scope is principal + method + route + key.
func idempotencyKeys() *core.Collection {
	b := newBase(IdempotencyKeys)
	b.requiredText(FieldPrincipal, 64)
	b.requiredText(FieldMethod, 10)
	b.requiredText(FieldRoute, 255)
	b.requiredText(FieldKeyHash, 64)
	b.requiredText(FieldRequestHash, 64)
	b.integer(FieldStatusCode)
	b.add(&core.JSONField{Name: FieldResponseData, MaxSize: responseMaxBytes, Hidden: true})
	b.createdAt()
	b.date(FieldExpiresAt, true)
	b.index(true, FieldPrincipal, FieldMethod, FieldRoute, FieldKeyHash)
	b.index(false, FieldExpiresAt)
	b.rules("", "", "")
	return b.c
}
