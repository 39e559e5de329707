package crdt

import "crypto/sha256"

// ChainStart returns link 0 of an actor's chain in one document:
// SHA-256(doc, NUL, actor). Neither may hold a NUL, so no other pair gives the same bytes,
// and a history cannot be replayed into another document or under another name.
func ChainStart(doc, actor string) [32]byte {
	b := make([]byte, 0, len(doc)+1+len(actor))
	b = append(b, doc...)
	b = append(b, 0)
	return sha256.Sum256(append(b, actor...))
}

// Chain returns the next link: H(s) = SHA-256(H(s-1) || SHA-256(line)). It runs over the
// hash of the line, so that a lawfully redacted line can be replaced by its hash and the
// chain still verifies.
func Chain(prev [32]byte, line []byte) [32]byte { return ChainSum(prev, sha256.Sum256(line)) }

// ChainSum is Chain for a caller that holds the line's SHA-256 already, such as Op.Sum.
func ChainSum(prev, lineSum [32]byte) [32]byte {
	var b [64]byte
	copy(b[:32], prev[:])
	copy(b[32:], lineSum[:])
	return sha256.Sum256(b[:])
}
