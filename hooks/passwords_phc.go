package hooks

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/argon2"
)

// Bounds of what is accepted from the database. Our own hashes have 16 and 32
// bytes; the others leave room for imports from other Argon2 programs and stop
// a damaged row from asking for the whole machine.
const (
	saltBytes, keyBytes       = 16, 32
	saltBytesMin, keyBytesMin = 8, 16
	saltBytesMax, keyBytesMax = 64, 64
	memoryMaxKiB              = 4 << 20
	timeMax                   = 100
)

// lockedHash is stored for accounts whose password nobody knows (a login by
// one-time code or OAuth2). It has the prefix that the database asks of every
// password and never verifies.
const lockedHash = "$argon2id$locked"

const argon2Prefix = "$argon2id$"

var errNotPHC = errors.New("not an Argon2id hash in PHC form")

// phcHash is a password hash in the PHC string format
// (https://github.com/P-H-C/phc-string-format).
type phcHash struct {
	time, memoryKiB uint32
	parallelism     uint8
	salt, key       []byte
}

func (h phcHash) String() string {
	b64 := base64.RawStdEncoding
	return fmt.Sprintf("%sv=%d$m=%d,t=%d,p=%d$%s$%s", argon2Prefix, argon2.Version,
		h.memoryKiB, h.time, h.parallelism, b64.EncodeToString(h.salt), b64.EncodeToString(h.key))
}

// parsePHC reads what String wrote, and nothing else: one spelling per hash.
func parsePHC(text string) (phcHash, error) {
	var h phcHash
	parts := strings.Split(text, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" || parts[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return h, errNotPHC
	}
	if _, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &h.memoryKiB, &h.time, &h.parallelism); err != nil {
		return h, errNotPHC
	}
	var err error
	if h.salt, err = base64.RawStdEncoding.Strict().DecodeString(parts[4]); err != nil {
		return h, errNotPHC
	}
	if h.key, err = base64.RawStdEncoding.Strict().DecodeString(parts[5]); err != nil {
		return h, errNotPHC
	}
	switch {
	case h.time < 1 || h.time > timeMax,
		h.parallelism < 1,
		h.memoryKiB < 8*uint32(h.parallelism) || h.memoryKiB > memoryMaxKiB, // RFC 9106, section 3.1
		len(h.salt) < saltBytesMin || len(h.salt) > saltBytesMax,
		len(h.key) < keyBytesMin || len(h.key) > keyBytesMax,
		h.String() != text:
		return h, errNotPHC
	}
	return h, nil
}
