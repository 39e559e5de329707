package collections

import "sync"

// sealedValue is the in-memory value of a sealed field: the stored token, the
// plain text that a caller set, or both. Records share it between goroutines
// (Record.Fresh and Clone copy the pointer), hence the mutex.
type sealedValue struct {
	mu        sync.Mutex // guards all fields
	token     string
	sealedFor string // binding of a token that was made from plain
	plain     string
	dirty     bool // plain was set by a caller
	opened    bool // plain was opened from token
	err       error
}

// open returns the plain text, opening the token on first use.
func (v *sealedValue) open(binding string) (string, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.dirty || v.opened || v.token == "" {
		return v.plain, v.err
	}
	v.opened = true
	s, err := sealer()
	if err == nil {
		v.plain, err = s.Open(v.token, binding)
	}
	v.err = err
	return v.plain, v.err
}

// stored returns the token to write. A value that a caller set is sealed once
// per binding: PocketBase exports a record several times for one save, and
// before a create under a temporary id.
func (v *sealedValue) stored(binding string) (string, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.dirty || (v.token != "" && v.sealedFor == binding) {
		return v.token, nil
	}
	if v.plain == "" {
		return "", nil
	}
	s, err := sealer()
	if err != nil {
		return "", err
	}
	token, err := s.Seal(v.plain, binding)
	if err != nil {
		return "", err
	}
	v.token, v.sealedFor = token, binding
	return token, nil
}

func (v *sealedValue) isDirty() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.dirty
}

func (v *sealedValue) isEmpty() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.plain == "" && v.token == ""
}

// String and MarshalJSON never show the plain text, so that a stray log line or
// comparison cannot leak it.
func (v *sealedValue) String() string { return "[sealed]" }

// MarshalJSON shows the token.
func (v *sealedValue) MarshalJSON() ([]byte, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return []byte(`"` + v.token + `"`), nil
}
