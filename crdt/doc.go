// Package crdt holds the merge rules of test sessions: which values are live after people
// worked apart, and which of them a reader is shown. It is pure. It knows no database, no
// network, no wall clock and no random source, and imports the standard library only.
//
// # What it promises
//
// A document is a function of a set of operations. Each property is stated with the hazard
// that follows if it fails.
//
//   - R1 A document is D(S) for a set S of operations; merging is union, and the order of
//     arrival does not matter. Hazard: two inspectors sign different reports for one test.
//   - R2 An operation is named by its dot (actor, seq), seq from 1 without gaps, and two
//     operations never share one: Doc.Apply answers *ForkError. Hazard: a restored tablet
//     writes under a used name and its results vanish without an error.
//   - R3 An operation joins S only after its actor's previous one and every one it names
//     (*GapError, *MissingError). Hazard: a version vector no longer says what is held, and
//     acknowledged work is never sent again.
//   - R4 A cell's live values are the puts to its path less those named by the seen list of
//     a put or rem to the same path. Hazard: a fail is overwritten by someone who never saw it.
//   - R5 A counter is the sum of its increments, in integers. Hazard: heads tested on two
//     floors at once are counted once, or depend on the order of adding.
//   - R6 A list is a tree of insertions: an element hangs below the element it follows if
//     that is one of the same list, else below the root; siblings by R7; parents before
//     children. A rem to the same path hides an element and leaves what follows it.
//     Hazard: steps of a procedure appear in another order on another screen.
//   - R7 Concurrent things are ordered by the later time, then the greater actor, then the
//     greater seq. Nothing else uses the time. Hazard: a wrong clock decides what survives.
//   - R8 Cells, counters and lists are separate name spaces. Hazard: two kinds on one path
//     destroy each other.
//   - R9 A quarantined operation is in S for R2 and R3 and absent for all else until it is
//     admitted. Hazard: evidence is refused for lack of a right, or a revoked device writes.
//   - R10 Policies are functions of the live values and never write. Hazard: devices that
//     each settle a conflict make new conflicts without end, and hide the evidence.
//   - R11 Equal S gives equal Text and Digest, on every machine and in every language.
//     Hazard: a difference between replicas cannot be told from damage.
//   - R12 An operation issued again under a new actor names its origin: the first 32
//     hexadecimal digits of the SHA-256 of the original line. Of the original and its claims
//     one counts: the original if it is in S, else the claim with the least dot. Claims are
//     the same act only if kind, path, value and increment are equal, so nobody silences
//     another's act by claiming its origin. Quarantined operations take no part until they
//     are admitted. Hazard: a count is doubled when a restored tablet sends its work twice.
//   - R13 A redacted operation keeps its place, its effect and the sum of its line, and loses
//     its value for good. When a replica learns of it, by name or by being told the
//     operation again without its value, and whether it ever held the value, makes no
//     difference. A value and its print are one value. Hazard: erasing what the law wants
//     erased breaks a chain, brings back what was replaced, or leaves replicas that can never
//     agree again.
//
// # What it does not do
//
// It stores and sends nothing, holds no operation bodies but the live values (the log does,
// and it is the audit), and knows no users: whether an actor belongs to the caller, and
// whether an operation is allowed, is decided before Apply or ApplyQuarantined.
//
// # The way of a write
//
//  1. ParseOp accepts the line, or Encode makes it: canonical bytes or nothing.
//  2. Chain extends the actor's chain with the line as it came.
//  3. Doc.Apply checks R2 and R3 and takes the operation into the set.
//  4. The state changes by R4 to R6; views are computed when someone reads.
//
// # Canonical form
//
// A line is one JSON object, keys in the order a k n o p r s t v x, no white space:
//
//	{"a":"d0000001","k":"put","p":"items/FE-001/result","s":17,"t":"0199a3f2b1c4-0001","v":"fail","x":["d0000002.4"]}
//
// a actor, k kind, n increment, o origin, p path, r element to follow, s seq, t time,
// v value, x seen list. Lines are stored, hashed and forwarded as they came.
//
// Values are null, booleans, integers within 2^53-1, strings, arrays and objects. Object keys
// are printable ASCII, sorted and unique. Strings are well-formed Unicode in the escaping of
// JavaScript's JSON.stringify. NUL is refused everywhere, because PostgreSQL jsonb cannot
// hold it; lone surrogates are refused, because UTF-8 cannot.
//
// A number that is no such integer travels as {"$num":"12.50"}: the literal as written, so
// no digit is lost to a float64. The key $num is reserved, the literal is a JSON number of at
// most NumMaxBytes that a float64 could hold in magnitude and that is no canonical integer,
// and a tagged number counts as a plain value for the nesting limit. CanonicalJSON writes the
// tag and RenderJSON removes it. The key $redacted is reserved too: {"$redacted":"…"} stands
// where a value was erased, with a print of it.
//
// # Reading
//
// Doc answers from the live values. A Schema adds the policy per field, and Materialise
// renders a whole document in which every live value stays readable:
//
//	{"$schema":"test-session/1","items":{"FE-001":{"result":{"$value":"fail","$policy":"worst",
//	 "$conflict":true,"$entries":[{"value":"pass","dot":"b.1","time":"0199a3f2b1c4-0002"},
//	 {"value":"fail","dot":"a.1","time":"0199a3f2b1c4-0001"}]}}}}
package crdt
