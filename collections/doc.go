// Package collections says what FireMode's data is: the names of collections
// and fields, one builder per collection with fixed ids, the access rules, the
// typed records and the sealed field type.
//
// What it promises:
//   - Every collection and field has a fixed id, so a later rename keeps its data.
//   - The declared schema equals testdata/schema.golden.json and equals what the
//     migrations build; a test fails when the three drift apart.
//   - Ids are UUIDv7 text. Every collection carries a unique NOCASE index on id,
//     because PocketBase checks a custom id pattern with a case-insensitive
//     lookup that would otherwise scan the table on each create.
//
// What it does not do: it opens no database, reads no environment and knows no
// keys. Sealing goes through the [Sealer] that the program installs at start.
//
// A schema change is made here first, then frozen as a new file in migrations/,
// then described in data_model.md; tests hold the three against each other.
package collections
