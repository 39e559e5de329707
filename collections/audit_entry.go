package collections

import "github.com/pocketbase/pocketbase/core"

// auditLog holds one entry per mutation, in commit order. seq has no gaps,
// leaf_hash is computed from the other columns (see package audit), and a trigger refuses
// UPDATE and DELETE.
func auditLog() *core.Collection {
	b := newBase(AuditLog)
	b.integer(FieldSeq)
	b.text(FieldUserID, 36) // users, _superusers, or empty for the system itself
	b.text(FieldUserRole, 32)
	b.requiredText(FieldAction, 100)
	b.requiredText(FieldResourceType, 100)
	b.text(FieldResourceID, 255)
	b.json(FieldOldValues, sessionDataMaxBytes)
	b.json(FieldNewValues, sessionDataMaxBytes)
	b.text(FieldIPAddress, 64)
	b.text(FieldUserAgent, 512)
	b.text(FieldRequestID, 64)
	b.text(FieldAppVersion, 64)
	b.pattern(FieldLeafHash, true, 64, `^[0-9a-f]{64}$`)
	b.date(FieldCreatedAt, true)
	b.index(true, FieldSeq)
	b.index(false, FieldUserID, FieldSeq)
	b.index(false, FieldResourceType, FieldResourceID, FieldSeq)
	b.index(false, FieldCreatedAt)
	b.rules(all(signedIn, FieldUserID+" = @request.auth.id"), "", "")
	return b.c
}
