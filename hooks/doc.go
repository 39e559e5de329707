// Package hooks says what happens around any save or request, whichever door it
// came through: the record API, batch, the admin UI, /v1 or the command line.
//
// The path of one write:
//  1. PocketBase authenticates; the revocation list, then roles and rows decide.
//  2. The request handler opens one SQLite transaction and binds the actor to it.
//  3. Ids, defaults, passwords and sealed fields are filled in; guards refuse
//     what only the merge service may change.
//  4. The record, its audit entry and (by trigger) its change marker for the
//     mirror are written in that transaction.
//  5. After the commit: the answer, the realtime message, the mirror's nudge.
//
// If step 4 fails nothing is stored. Hooks are thin: they read the event, call a
// plain function and hand on its error. [Register] is the list of them.
//
// Inside a hook only e.App is used: a captured app would wait for the writer
// connection that the running transaction holds.
package hooks
