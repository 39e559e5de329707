// Package adminui turns PocketBase's built-in admin UI into the compliance
// officer's workplace and holds officers and auditors to what their role may see.
//
// What it promises:
//   - The Compliance section works without any network but this server's: every
//     script, style and picture is embedded in the binary.
//   - A superuser whose role is officer or auditor reaches only what the access
//     table admits, by whichever door: record routes, expand, filter, sort,
//     realtime and files. Everything that no table names is refused, so a new
//     route or collection is closed until somebody opens it.
//   - Hidden and sealed values do not leave the server for these roles. An
//     officer may open one sealed value at a time, with a reason that is in the
//     audit log before the value is shown, and only so many in ten minutes.
//   - The SQL console and schema edits are refused for everybody unless the
//     program was started for development.
//
// What it does not do: it adds no login of its own (PocketBase's superuser login
// is used) and it changes nothing for users, whose access the collection rules
// decide.
//
// A request of a restricted superuser passes these steps:
//
//  1. PocketBase loads the token, the revocation check admits it;
//  2. the guard looks up the route pattern; an unknown one is refused;
//  3. the route's check holds collection, expand, filter and sort against the
//     access table;
//  4. the handler runs as for any superuser;
//  5. the enrich hook hides what the role may not see in the answer.
package adminui
