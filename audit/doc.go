// Package audit keeps the append-only log of every mutation: who did what to
// which record, when, from where, with the values before and after.
//
// What it promises:
//   - An entry is written in the transaction of its effect: both are stored or
//     neither is.
//   - Entries are numbered from 1 without gaps, in commit order.
//   - Each entry carries the hash of its own canonical form (an RFC 6962 leaf),
//     recomputed from the stored columns by [Verify]; a trigger in the database
//     refuses UPDATE and DELETE.
//   - No secret and no plain personal data: sealed values appear as the SHA-256
//     of their token, passwords as the word "changed".
//
// What it does not do yet: the leaves are not joined into a Merkle tree with
// signed checkpoints, so the removal of the newest entries is not found.
//
// Who acts is bound to the transaction with [Attribute] by the door the request
// came through; everything written inside, cascades included, is then on that
// actor's account. Without an attribution the system itself acts.
package audit
