package collections

import (
	"errors"
	"sync/atomic"
)

// ErrUnsealed reports that a sealed value could not be opened: the key is
// missing, or the token was altered or belongs to another record. The stored
// token is kept as it is.
var ErrUnsealed = errors.New("sealed value does not open")

// ErrNoSealer reports that a sealed value was read or written before the
// program installed a Sealer.
var ErrNoSealer = errors.New("no sealer installed")

// A Sealer encrypts and opens the values of sealed fields. binding names the
// collection, field and record ("users.phone.<id>"); a token sealed under one
// binding MUST NOT open under another. Implementations are safe for use by many
// goroutines.
type Sealer interface {
	Seal(plain, binding string) (token string, err error)
	Open(token, binding string) (plain string, err error) // wraps ErrUnsealed
	// BlindIndex is a keyed digest for exact-match search; equal values of one
	// scope ("users.phone") give equal digests. The empty value gives "".
	BlindIndex(scope, plain string) (string, error)
	// BlindIndexes are the digests under every key, for a search: values that
	// a rotation has not reached yet have older ones.
	BlindIndexes(scope, plain string) []string
}

// installed is global because PocketBase creates fields from a registry of
// argument-less constructors and reads values without handing over the app.
var installed atomic.Pointer[Sealer]

// UseSealer installs the sealer of this process. It may be called again, for
// example after the keys were read anew.
func UseSealer(s Sealer) { installed.Store(&s) }

func sealer() (Sealer, error) {
	if s := installed.Load(); s != nil {
		return *s, nil
	}
	return nil, ErrNoSealer
}

// SearchDigests are the digests under which a search for plain looks in the
// blind index of f. Errors: ErrNoSealer.
func (f *EncryptedField) SearchDigests(plain string) ([]string, error) {
	s, err := sealer()
	if err != nil {
		return nil, err
	}
	return s.BlindIndexes(f.Scope, plain), nil
}

// Seal seals a value that is stored outside of a sealed field, such as an
// answer that shows one, with the sealer of this process.
func Seal(plain, binding string) (token string, err error) {
	s, err := sealer()
	if err != nil {
		return "", err
	}
	return s.Seal(plain, binding)
}

// Unseal opens what Seal returned under the same binding. Errors: ErrUnsealed,
// ErrNoSealer.
func Unseal(token, binding string) (plain string, err error) {
	s, err := sealer()
	if err != nil {
		return "", err
	}
	return s.Open(token, binding)
}
