// Package merge is the one writer of test-session documents. It keeps the
// operation log in SQLite, brings operations into effect by the rules of package
// crdt and materialises the result in the session's record.
//
// The path of one write:
//  1. The caller queues a job with [Service.Do]. A full queue answers [ErrBusy] at once.
//  2. One goroutine opens a transaction on PocketBase's own writer connection and runs the
//     jobs that have queued up meanwhile, each in its savepoint: an error or a panic takes
//     back that job alone.
//  3. [Batch.Change] and [Batch.Append] check everything first, then insert the operation
//     rows, the actor's chain head and the audit entry, then apply to the document in memory.
//  4. Once per touched document: session_data, vector_clock and server_seq of its record,
//     unless the record is large and was written a moment ago.
//  5. Commit with synchronous=FULL; only then are the callers answered.
//  6. On other goroutines: the realtime feed, and at most a few times a second the
//     record's own update event.
//
// What it promises:
//   - What was acknowledged is in the log for good, byte for byte as its author sent it,
//     at one dense server position n per document. A power cut takes nothing of it, nor its
//     audit entry, and leaves no request by half: internal/powercut cuts the power at any
//     moment of a run, on a disk that loses, tears and reorders whatever was not synced.
//   - The record and the log change in the same transaction. A record above 64 KiB is put
//     off for a second or more, so that the cost of an operation does not grow with the
//     document; its server_seq says which position it shows, Service.Document is always up
//     to date, and Stop, or the next Start after a crash, brings the record up to date.
//   - A document in memory is a cache of the log: after any error it is forgotten and read
//     again.
//   - A session never refuses evidence. Operations on a locked session are stored and
//     marked late. What is well formed and not allowed is stored in quarantine, without
//     effect until somebody else admits it: what a revoked actor sends, what a caller sends
//     whose right has ended, and an admission by somebody who may not admit.
//   - A value is replaced only by an author who had it on screen. The clock in a [Result]
//     therefore covers what the caller covered before plus its own operations, and not what
//     others wrote meanwhile.
//
// Decisions: [Batch.Resolve] is a set with a reason, [Batch.Sign] a value under signoffs/ that
// names one exact state, [Batch.Move] changes the session's status by the table of moves.
//
// A document that is not in memory is read from its newest snapshot and the log behind it.
// Snapshots only save time: one that cannot be used is passed over.
//
// What it does not do: it does not decide who may write to a session (the API does, before
// it queues).
//
// Column q of an operation row is a set of flags: 1 quarantined, 2 late, 4 revoked actor,
// 8 lapsed right, 16 reserved path. An admission is an operation at [AdmittedPath].
package merge
