// Package sealed encrypts and opens single text values with a list of Fernet
// keys, the "keyring".
//
// What it promises:
//   - The first key of the list seals, every key opens, so a key is replaced
//     without a moment in which a value is unreadable: add the new key behind
//     the old one everywhere, move it to the front, reseal every value
//     ([Keyring.Reseal]), drop the old key.
//   - A token is bound to the collection, field and record it was sealed for.
//     Fernet itself has no associated data, so the binding is part of the sealed
//     message; a token copied to another row or column does not open there.
//   - Only the canonical form of a token is accepted. The Fernet library decodes
//     as far as it can and ignores what follows, which would give one value many
//     spellings.
//   - A value that does not open is an error that wraps
//     [collections.ErrUnsealed], never an empty text: the library answers nil.
//   - Keys appear in no error, log line or formatted value. [Keyring.KeyIDs]
//     names them by digest.
//
// What it does not do: it reads no environment, knows no database and does not
// hide a value's approximate length. Tokens carry the time of sealing but never
// expire.
//
// The cryptography (AES-128-CBC, HMAC-SHA256, encrypt then MAC) is that of
// github.com/fernet/fernet-go; the vectors of the public Fernet specification
// run in this package's tests against the whole path, this package's checks
// included. Tokens and rotations are exchanged both ways with the Fernet of the
// Python package "cryptography".
package sealed
