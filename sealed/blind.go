package sealed

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"slices"
	"strings"
	"unicode"
)

// digestBytes of the HMAC are stored: 144 bits, so that two different values of
// one scope do not meet by accident, in 24 characters of base64.
const digestBytes = 18

// BlindIndex is the keyed digest under which plain is stored for exact-match
// search in scope ("users.phone"). It is made with the key that belongs to the
// first Fernet key. Letter case, white space, hyphens and brackets do not
// matter: "+61 (400) 000-001" is found as "+61400000001". A value of which
// nothing remains gives "".
func (r *Keyring) BlindIndex(scope, plain string) (string, error) {
	if r == nil || len(r.blind) == 0 {
		return "", ErrNoKeys
	}
	return blindIndex(r.blind[0], scope, plain), nil
}

// BlindIndexUnder is the digest of plain under the key that keyID names, "" when
// there is no such key. It stands beside a value sealed with that key.
func (r *Keyring) BlindIndexUnder(keyID, scope, plain string) string {
	if r == nil || !slices.Contains(r.ids, keyID) {
		return ""
	}
	return blindIndex(r.blind[slices.Index(r.ids, keyID)], scope, plain)
}

// BlindIndexes are the digests of plain under every key, the first key's first.
// A search looks for any of them, so that it finds values whose digest a
// running rotation has not renewed yet.
func (r *Keyring) BlindIndexes(scope, plain string) []string {
	if r == nil {
		return nil
	}
	var out []string
	for _, key := range r.blind {
		if d := blindIndex(key, scope, plain); d != "" && !slices.Contains(out, d) {
			out = append(out, d)
		}
	}
	return out
}

func blindIndex(key []byte, scope, plain string) string {
	value := strings.Map(func(c rune) rune {
		if unicode.IsSpace(c) || strings.ContainsRune("-()", c) {
			return -1
		}
		return unicode.ToLower(c)
	}, plain)
	if value == "" {
		return ""
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(scope + separator + value))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:digestBytes])
}
