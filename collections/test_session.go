package collections

import "github.com/pocketbase/pocketbase/core"

// sessionDataMaxBytes bounds the materialised document. The merge service
// writes it, never a caller; the bound only keeps PocketBase's validator from
// refusing a large one on an unrelated save.
const sessionDataMaxBytes = 64 << 20

// SessionMoves is the table of allowed moves of a session's status. A locked
// session stays locked: what arrives later is an addendum.
var SessionMoves = map[string][]string{
	SessionActive:   {SessionInReview},
	SessionInReview: {SessionActive, SessionLocked},
}

// testSessions are the visits. session_data, vector_clock and server_seq are
// the materialised view of the operation log and change through merge only.
func testSessions() *core.Collection {
	b := newBase(TestSessions)
	b.relation(FieldBuildingID, Buildings, true)
	b.requiredText(FieldSessionName, 255)
	b.enum(FieldStatus, true, SessionActive, SessionInReview, SessionLocked)
	b.json(FieldSessionData, sessionDataMaxBytes)
	b.json(FieldVectorClock, sessionDataMaxBytes)
	b.integer(FieldServerSeq)
	b.relation(FieldCreatedBy, Users, false)
	b.stamps()
	b.index(false, FieldStatus, FieldCreatedAt)
	// The row holds the whole document: the merge service reads the status from here.
	b.index(false, FieldID, FieldStatus)

	see := canSeeBuilding(FieldBuildingID + ".")
	// The document starts empty and belongs to the merge service.
	noDocument := "@request.body.session_data:isset = false && @request.body.vector_clock:isset = false && @request.body.server_seq:isset = false"
	b.rules(see,
		all(see, roleIn(RoleInspector, RoleManager, RoleClient), noDocument,
			oneOf("@request.body.status:isset = false", `@request.body.status = "`+SessionActive+`"`)),
		"", // rename, review, lock and sign are operations of their own
	)
	return b.c
}
