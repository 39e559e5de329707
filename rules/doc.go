// Package rules holds the versioned compliance rules: their shape, the strict
// loader and the starter packs.
//
// A rule says which inputs a finding needs, with units and physical ranges, and
// which outcome they lead to: the first clause whose condition holds decides,
// and the last clause is always an else. A rule has one canonical text, so its
// SHA-256 names it: two parties that hold the same rule hold the same digest.
//
// What it promises:
//   - A pack that loads is complete: every condition parses, has the right types
//     and uses declared inputs only; every optional input has a default; every
//     rule ends in an else. Nothing is guessed at decision time.
//   - Every rule says where it comes from. "public" means that its number or its
//     frequency is published; the basis sentence says which part is ours.
//     "illustrative" means that all of it is a plausible example.
//
// What it does not do: it ships no text of any standard. Rules are in our own
// words and point at a section by number; who holds a licence types in or
// imports what it says. Standards, editions and tolerances are data of the pack.
package rules
