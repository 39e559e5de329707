package sealed

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strings"
	"time"

	"firemode/collections"

	"github.com/fernet/fernet-go"
)

const (
	// plainMaxBytes bounds one value; sealed fields are names and numbers.
	plainMaxBytes = 64 << 10
	// tokenMaxBytes bounds what is decoded: plainMaxBytes, a binding, the
	// envelope and base64 on top.
	tokenMaxBytes = 96 << 10

	version        = 0x80
	timestampBytes = 8
	blockBytes     = 16
	macBytes       = 32
	headerBytes    = 1 + timestampBytes + blockBytes // version, time, IV
	// clockSkew is the tolerance of the Fernet specification for tokens from
	// the future, where a time to live is asked for.
	clockSkew = 60 * time.Second
)

// separator ends the binding inside the sealed message. Bindings never hold it,
// so no binding is the beginning of another one plus its text.
const separator = "\x00"

// Seal encrypts plain with the first key, bound to binding ("users.phone.<id>").
// The empty text is a value like any other. Each call gives another token.
func (r *Keyring) Seal(plain, binding string) (string, error) {
	if r == nil || len(r.keys) == 0 {
		return "", ErrNoKeys
	}
	if binding == "" || strings.Contains(binding, separator) {
		return "", fmt.Errorf("seal value: invalid binding %q", binding)
	}
	if len(plain) > plainMaxBytes {
		return "", fmt.Errorf("seal %s: value has %d bytes, at most %d are allowed", binding, len(plain), plainMaxBytes)
	}
	token, err := fernet.EncryptAndSign([]byte(binding+separator+plain), r.keys[0])
	if err != nil {
		return "", fmt.Errorf("seal %s: %w", binding, err)
	}
	return string(token), nil
}

// Open returns the text of a token that Seal made for the same binding. Every
// failure wraps [collections.ErrUnsealed] and names the binding, not the value.
func (r *Keyring) Open(token, binding string) (string, error) {
	plain, _, err := r.open(token, binding)
	return plain, err
}

// Inspect is Open that also names the key. keyID is empty when no key fits, and
// not when the token opens but was sealed for another binding.
func (r *Keyring) Inspect(token, binding string) (plain, keyID string, err error) {
	plain, key, err := r.open(token, binding)
	if key != noKey {
		keyID = r.ids[key]
	}
	return plain, keyID, err
}

// noKey is the place of no key in the list.
const noKey = -1

// open also returns the place of the key that fits, which it does when only the
// binding is wrong.
func (r *Keyring) open(token, binding string) (plain string, key int, err error) {
	if r == nil {
		r = &Keyring{} // no key fits
	}
	if err := checkForm(token); err != nil {
		return "", noKey, fmt.Errorf("open %s: %w", binding, err)
	}
	for i := range r.keys {
		message, err := openMessage(token, r.keys[i], 0, time.Time{})
		if err != nil {
			continue
		}
		plain, ok := strings.CutPrefix(string(message), binding+separator)
		if !ok {
			return "", i, fmt.Errorf("open %s: the token belongs to another record or field: %w", binding, collections.ErrUnsealed)
		}
		return plain, i, nil
	}
	return "", noKey, fmt.Errorf("open %s: no key fits: %w", binding, collections.ErrUnsealed)
}

// KeyID names the key that token is sealed with, without its binding. It wraps
// [collections.ErrUnsealed] when the keyring does not hold that key.
func (r *Keyring) KeyID(token string) (string, error) {
	if r == nil {
		r = &Keyring{}
	}
	if err := checkForm(token); err != nil {
		return "", fmt.Errorf("find key: %w", err)
	}
	for i, key := range r.keys {
		if _, err := openMessage(token, key, 0, time.Time{}); err == nil {
			return r.ids[i], nil
		}
	}
	return "", fmt.Errorf("find key: no key fits: %w", collections.ErrUnsealed)
}

// Reseal returns token unchanged when the first key made it, and otherwise its
// value sealed anew with the first key. It wraps [collections.ErrUnsealed] when
// the value does not open.
func (r *Keyring) Reseal(token, binding string) (resealed string, changed bool, err error) {
	plain, key, err := r.open(token, binding)
	if err != nil || key == 0 {
		return token, false, err
	}
	resealed, err = r.Seal(plain, binding)
	if err != nil {
		return token, false, err
	}
	return resealed, true, nil
}

// checkForm accepts exactly the tokens that Seal could have written: padded
// URL-safe base64 without anything around it or bits left over, of a length
// that holds at least one block.
func checkForm(token string) error {
	if len(token) > tokenMaxBytes {
		return fmt.Errorf("token has %d bytes, at most %d are allowed: %w", len(token), tokenMaxBytes, collections.ErrUnsealed)
	}
	// The decoder skips line breaks and unused bits, so the round trip decides.
	raw, err := base64.URLEncoding.DecodeString(token)
	if err != nil || base64.URLEncoding.EncodeToString(raw) != token {
		return fmt.Errorf("token is not canonical base64: %w", collections.ErrUnsealed)
	}
	cipher := len(raw) - headerBytes - macBytes
	if cipher < blockBytes || cipher%blockBytes != 0 || raw[0] != version {
		return fmt.Errorf("token is not a Fernet token: %w", collections.ErrUnsealed)
	}
	return nil
}

// openMessage opens a token of good form with one key. A ttl of 0 means that
// the token does not expire, which is what stored values need; the vectors of
// the specification set one, judged at now.
func openMessage(token string, key *fernet.Key, ttl time.Duration, now time.Time) ([]byte, error) {
	message := fernet.VerifyAndDecrypt([]byte(token), 0, []*fernet.Key{key})
	if message == nil {
		return nil, collections.ErrUnsealed
	}
	if ttl > 0 {
		raw, err := base64.URLEncoding.DecodeString(token)
		if err != nil {
			return nil, collections.ErrUnsealed
		}
		sealedAt := time.Unix(int64(binary.BigEndian.Uint64(raw[1:1+timestampBytes])), 0)
		if now.After(sealedAt.Add(ttl)) || sealedAt.After(now.Add(clockSkew)) {
			return nil, fmt.Errorf("token is out of its time: %w", collections.ErrUnsealed)
		}
	}
	return message, nil
}
