// Package api is the HTTP face of FireMode beside PocketBase's own: the typed
// /v1 operations, their OpenAPI 3.1 document and page, health, the one error
// shape of every route, and the diagnostics of the second port.
//
// What it promises:
//   - Every answer that is not a success has the shape of [Problem], whichever
//     route it came from; it holds no SQL, path, stack or secret.
//   - Bad input is never a 500.
//   - Who may see what is decided by the collections' own access rules, so /v1
//     and PocketBase's record API cannot disagree. What the caller may not see
//     answers 404.
//   - A mutation, its audit entry and the stored answer of its idempotency key
//     are one transaction.
//   - Evidence is acknowledged only after its bytes and its row are on disk; an
//     upload that is cut off, or whose commit fails, leaves nothing.
//
// What it does not do: it holds no business rule. Documents belong to merge,
// tokens and passwords to hooks.
//
// The path of one /v1 request:
//  1. The root middleware names it, sets the security headers and turns any
//     error that comes back into a [Problem].
//  2. PocketBase authenticates; the revocation list is checked.
//  3. The /v1 handler puts a call into the request context and hands the
//     request to the operation's mux.
//  4. guard refuses guests, wrong media types, large and unclean JSON.
//  5. huma validates parameters and body against the operation's schema.
//  6. The operation runs: reads through the access rules, writes through once
//     (idempotency) and one transaction.
package api
