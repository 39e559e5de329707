// Package pbpublic serves the pages that need no login: the landing page, which
// says what runs here and where to go.
//
// What it promises: every file is embedded, is served under a policy that
// admits no script and no other machine, and is revalidated by its hash, so an
// upgrade shows at once. A path that names no file is a 404 in the API's form
// under /api/, /v1/ and /assets/, and a small page elsewhere; the landing page
// never stands in for a missing one.
//
// static/crdt.mjs is the merge rules in JavaScript for offline clients: one file
// without dependencies, which package crdt's tests hold to the same answers as the
// server's own rules.
package pbpublic
