// Package evidence stores the bytes of evidence: hashed while they arrive,
// content-addressed, on disk before the record that names them is committed.
//
// The path of one upload:
//  1. [Stage] streams the bytes into a temporary file in the data directory,
//     hashing and counting them; it stops at the limit and keeps nothing then.
//  2. The caller compares the digest with what the sender claimed and checks the
//     sniffed media type against the allow-list.
//  3. [Staged.Place], before the caller's transaction so that no writer waits for
//     it, links the bytes to storage/<collection id>/<record id>/<sha256>.<ext>,
//     read-only, synced to disk together with their folder.
//  4. [Staged.Save], inside the transaction, saves the record that names them. If
//     the transaction fails the bytes are removed again.
//  5. [Sweep] removes what a process that died in between left behind.
//
// So an acknowledged record always has its bytes, also after a power cut, and
// PocketBase serves them like any file of its own. Where PocketBase is set to
// keep files in S3 the bytes go there instead.
//
// Every door uses it: the upload operation and the command line.
package evidence
