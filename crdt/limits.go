package crdt

// Limits of the wire form. Every implementation MUST use the same numbers: an operation
// accepted by one replica and refused by another would split the document for good.
const (
	// OpMaxBytes bounds a line without its seen list: room for a long remark, too
	// little for a picture, which belongs in the evidence store.
	OpMaxBytes = 16 << 10
	// LineMaxBytes bounds a whole line. Only a seen list may use what lies above
	// OpMaxBytes: a resolve has to name everything it replaces.
	LineMaxBytes = 128 << 10
	// SeenMax bounds the dots one operation may name; more are resolved in steps.
	SeenMax = 4096
	// PathMaxBytes keeps a path useful as an index key and as a log field.
	PathMaxBytes = 256
	// ActorMaxBytes fits a UUID without hyphens.
	ActorMaxBytes = 32
	// DepthMax bounds the nesting of a value: the value itself is level 1. It keeps
	// the recursive readers far from any stack limit in every language.
	DepthMax = 6
	// IntMax is the largest integer JavaScript holds exactly.
	IntMax = 1<<53 - 1
	// IncMax bounds one counter step, so that a million of them stay below IntMax.
	IncMax = 1 << 31
	// NumMaxBytes bounds a tagged decimal literal; a measurement has some ten digits.
	NumMaxBytes = 256
	// NumExponentMax bounds the written exponent, so that PostgreSQL numeric holds it.
	NumExponentMax = 1000
	// InboxMax bounds the early operations an Inbox holds.
	InboxMax = 1000
	// MissingMax bounds the dots listed in one MissingError.
	MissingMax = 100
)
