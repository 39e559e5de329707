package sealed

import (
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"firemode/collections"

	"github.com/fernet/fernet-go"
)

const (
	keyBytes = 32 // 16 to sign, 16 to encrypt
	// keysMax bounds the keys tried for one value. A rotation needs two; more
	// than a handful means that old keys were never dropped.
	keysMax = 16
	// keyIDBytes is enough to tell the keys of one list apart and far too little
	// to help in guessing one.
	keyIDBytes = 4
)

// Labels of the keys and names derived from a Fernet key (RFC 5869, "info").
// They MUST never change: blind indexes are stored.
const (
	infoBlindIndex = "firemode blind index v1"
	infoKeyID      = "firemode key id v1"
)

// ErrNoKeys reports an empty list of keys.
var ErrNoKeys = errors.New("no Fernet key given")

var _ collections.Sealer = (*Keyring)(nil)

// A Keyring seals with its first key and opens with any of them. It never
// changes after Parse and is safe for use by many goroutines. The zero value
// and nil have no keys and refuse every operation.
type Keyring struct {
	keys  []*fernet.Key
	ids   []string
	blind [][]byte // blind index keys, in the order of keys
}

// Parse reads a comma-separated list of keys, each the URL-safe base64 of 32
// bytes with padding, as [Generate] and other Fernet libraries write them.
// White space around a key is ignored. Errors say which key of the list is at
// fault and never repeat it.
func Parse(keys string) (*Keyring, error) {
	if strings.TrimSpace(keys) == "" {
		return nil, ErrNoKeys
	}
	texts := strings.Split(keys, ",")
	if len(texts) > keysMax {
		return nil, fmt.Errorf("read Fernet keys: %d keys given, at most %d are allowed", len(texts), keysMax)
	}
	ring := &Keyring{}
	seen := map[string]int{}
	for i, text := range texts {
		key, err := parseKey(strings.TrimSpace(text))
		if err != nil {
			return nil, fmt.Errorf("read Fernet key %d of %d: %w", i+1, len(texts), err)
		}
		if first, ok := seen[string(key[:])]; ok {
			return nil, fmt.Errorf("read Fernet key %d of %d: it equals key %d", i+1, len(texts), first)
		}
		seen[string(key[:])] = i + 1
		id, err := hkdf.Key(sha256.New, key[:], nil, infoKeyID, keyIDBytes)
		if err != nil {
			return nil, fmt.Errorf("derive key id: %w", err)
		}
		blind, err := hkdf.Key(sha256.New, key[:], nil, infoBlindIndex, sha256.Size)
		if err != nil {
			return nil, fmt.Errorf("derive blind index key: %w", err)
		}
		ring.keys = append(ring.keys, key)
		ring.ids = append(ring.ids, hex.EncodeToString(id))
		ring.blind = append(ring.blind, blind)
	}
	return ring, nil
}

func parseKey(text string) (*fernet.Key, error) {
	if text == "" {
		return nil, errors.New("it is empty")
	}
	// The round trip refuses line breaks and unused bits, with which two
	// spellings of one key would pass as two keys.
	raw, err := base64.URLEncoding.DecodeString(text)
	if err != nil || base64.URLEncoding.EncodeToString(raw) != text {
		return nil, errors.New("it is not URL-safe base64 with padding")
	}
	if len(raw) != keyBytes {
		return nil, fmt.Errorf("it has %d bytes, want %d", len(raw), keyBytes)
	}
	if strings.Count(string(raw), string(raw[:1])) == keyBytes {
		return nil, errors.New("all its bytes are equal; make one with: firemode keys generate")
	}
	return (*fernet.Key)(raw), nil
}

// Generate returns a new random key in the form that Parse reads.
func Generate() string {
	var key fernet.Key
	if err := key.Generate(); err != nil {
		panic("sealed: internal error: read random bytes: " + err.Error()) // crypto/rand never fails since Go 1.24
	}
	return key.Encode()
}

// KeyIDs names the keys in order: eight hexadecimal digits derived from the
// key, the same on every machine that holds it.
func (r *Keyring) KeyIDs() []string {
	if r == nil {
		return nil
	}
	return append([]string(nil), r.ids...)
}

// LogValue shows the ids of the keys, never the keys.
func (r *Keyring) LogValue() slog.Value {
	if r == nil {
		return slog.StringValue("no keys")
	}
	return slog.AnyValue(r.ids)
}

// String shows the ids of the keys, so that no verb of fmt prints a key.
func (r *Keyring) String() string {
	if r == nil {
		return "keyring []"
	}
	return fmt.Sprintf("keyring %v", r.ids)
}

// GoString is String, so that %#v shows no key either.
func (r *Keyring) GoString() string { return r.String() }

// MarshalJSON writes the ids of the keys.
func (r *Keyring) MarshalJSON() ([]byte, error) {
	return []byte(`"` + r.String() + `"`), nil
}
