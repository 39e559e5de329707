// Package pgsync mirrors SQLite into PostgreSQL: every committed change of a mirrored table arrives there, in order,
// with its effect exactly once, and both sides can be proved equal.
//
// # The way of a change
//
//  1. An AFTER trigger writes the row's image into _pgsync_log, in the transaction of the change. SQLite has one
//     writer, so the numbers of the log are its commit order, without gaps.
//  2. The worker reads the log behind its position up to the end of a source transaction, on a connection of its own.
//  3. It folds the entries to the newest per row and decodes them by the shape the table had at that place in the log.
//  4. One PostgreSQL transaction moves the position first (fm_sync.advance: epoch, number and nonce of the last entry,
//     node and term of the lease; anything else aborts), then deletes, upserts and journals all entries.
//  5. The position lives in PostgreSQL only. After any error the connection is dropped and the position read again, so
//     an answer that got lost does no harm.
//
// # What holds
//
//   - A write of the application never waits for PostgreSQL and never fails because of it.
//   - PostgreSQL always shows a state that SQLite really had, but for rows in quarantine and tables in resync.
//   - A row that PostgreSQL refuses goes to fm_sync.quarantine with its image, in the transaction that passes it. It is
//     tried again by itself. Nothing is skipped.
//   - A log that is not the one that was mirrored (a restored backup, a copied disk) is noticed by the nonce, and the
//     worker holds visibly instead of going on. Only seconds that a power cut took from the very file that was mirrored
//     are given up without asking.
//   - The log in SQLite stays within its limit: above it the oldest images are dropped, and their tables compared later.
//   - Where the journal is not one continuous log, fm_sync.discontinuity says so.
//   - Equality can be proved: one root per side over every column of every row, from [VerifySealed], and single rows
//     against it, from [Prove]. What is changed in PostgreSQL by hand is found by itself within about a day.
//   - Passwords, token keys and hidden fields never leave SQLite. Sealed fields leave it as ciphertext; anything else in
//     them is refused here, before it reaches the network, and again by a CHECK.
//   - A view of fm_report shows no value under another field's name, and makes no row and no schema change wait or fail.
//   - A column or table that the source drops is renamed to _dropped_<number>_..., never destroyed.
//   - Rows and their superseded versions in fm_hist show every state that was ever visible, by position and by time, without
//     holes. Versions folded away within a batch never were; the journal has them. Nothing here deletes from either.
//
// # States
//
//	stopped -> connecting -> live <-> resync
//	               ^  |        |
//	               |  v        v
//	            standby, held (fork, gap, log, control, replaced, permission ...)
//
// Every state but stopped tries again by itself; see [Status].
//
// # What it does not do
//
// It opens no sealed field and does not know the keys. It does not write to SQLite, except to prune the log and to note
// where a long backlog may be cut. Which of two logs is the right one is an operator's decision: see [Adopt].
package pgsync
