package hooks

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"fmt"
	"net/http"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/pocketbase/pocketbase/apis"
	"github.com/pocketbase/pocketbase/core"
	"golang.org/x/crypto/argon2"
	"golang.org/x/sync/semaphore"
)

// Defaults of HasherConfig. Time and memory are those of FireMode's predecessor;
// one hash takes 64 MiB and about 0.4 s on a machine with two cores.
const (
	HashTimeDefault         = 3
	HashMemoryDefaultKiB    = 64 << 10
	HashParallelismDefault  = 2
	HashMaxMemoryDefaultKiB = 256 << 10 // four at once, within the 512 MiB that the program may take
	// A person waits a second; a crowd is told to come back.
	hashMaxWaitDefault = time.Second
)

// garbageMaxKiB is how much memory of finished hashes may wait for the garbage
// collector. Left to itself it lets the heap grow to twice what is at work, and
// a crowd that signs in would take more than the program may.
const garbageMaxKiB = 128 << 10

// busyRetryAfter is the Retry-After of an answer that was refused for lack of
// room, in seconds.
const busyRetryAfter = "1"

// busyResponse is what a caller over HTTP sees of ErrBusy.
var busyResponse = apis.NewApiError(http.StatusServiceUnavailable, "Too many sign-ins at this moment. Try again in a second.", nil)

// ErrBusy reports that the memory for password hashing was taken for longer
// than HasherConfig.MaxWait. The caller may try again. It carries the answer
// 503, so that PocketBase's handlers send that instead of a 400.
var ErrBusy = fmt.Errorf("password hashing is busy: %w", busyResponse)

// HasherConfig sets the cost of a password hash. Zero values take the defaults.
type HasherConfig struct {
	Time        uint32 // passes over the memory; default HashTimeDefault
	MemoryKiB   uint32 // per hash, at least 8 per lane; default HashMemoryDefaultKiB
	Parallelism uint8  // lanes; default HashParallelismDefault
	// MaxMemoryKiB bounds the memory of all hashes at work together; default
	// HashMaxMemoryDefaultKiB. It is raised to MemoryKiB where it is less.
	MaxMemoryKiB int64
	MaxWait      time.Duration // longest wait for that memory; default 1 s
}

func (c *HasherConfig) setDefaults() {
	if c.Time == 0 {
		c.Time = HashTimeDefault
	}
	if c.MemoryKiB == 0 {
		c.MemoryKiB = HashMemoryDefaultKiB
	}
	if c.Parallelism == 0 {
		c.Parallelism = HashParallelismDefault
	}
	c.MemoryKiB = max(c.MemoryKiB, 8*uint32(c.Parallelism)) // RFC 9106, section 3.1
	if c.MaxMemoryKiB == 0 {
		c.MaxMemoryKiB = HashMaxMemoryDefaultKiB
	}
	c.MaxMemoryKiB = max(c.MaxMemoryKiB, int64(c.MemoryKiB))
	if c.MaxWait == 0 {
		c.MaxWait = hashMaxWaitDefault
	}
}

// A Hasher makes and checks Argon2id password hashes within a bound of memory.
// It is safe for use by many goroutines. record.ValidatePassword MUST NOT be
// used: it knows bcrypt only and answers false for every password.
type Hasher struct {
	config HasherConfig
	memory *semaphore.Weighted // KiB
	derive func(password, salt []byte, time, memory uint32, threads uint8, keyLen uint32) []byte
	logins throttle
	now    func() time.Time

	garbage atomic.Int64 // KiB of finished hashes since the last collect
	collect func()
}

// NewHasher returns a Hasher of the given cost.
func NewHasher(config HasherConfig) *Hasher {
	config.setDefaults()
	return &Hasher{config: config, memory: semaphore.NewWeighted(config.MaxMemoryKiB), derive: argon2.IDKey, now: time.Now, collect: runtime.GC}
}

// Check says whether plain is the password of record. An account without a
// usable password takes as long as a wrong one. The error wraps [ErrBusy].
func (h *Hasher) Check(ctx context.Context, record *core.Record, plain string) (ok bool, err error) {
	ok, _, err = h.check(ctx, record, plain)
	return ok, err
}

// check also says whether the stored hash is weaker than the configuration asks.
func (h *Hasher) check(ctx context.Context, record *core.Record, plain string) (ok, weak bool, err error) {
	stored, err := parsePHC(storedHash(record))
	if err != nil {
		return false, false, h.pretend(ctx, plain)
	}
	key, err := h.run(ctx, plain, stored)
	if err != nil {
		return false, false, err
	}
	ok = subtle.ConstantTimeCompare(key, stored.key) == 1
	c := h.config
	weak = stored.time < c.Time || stored.memoryKiB < c.MemoryKiB || len(stored.salt) < saltBytes || len(stored.key) < keyBytes
	return ok, weak, nil
}

// storedHash is the password hash of record; record may be nil.
func storedHash(record *core.Record) string {
	if record == nil {
		return ""
	}
	if v := passwordValue(record); v != nil && v.LastError == nil {
		return v.Hash
	}
	return ""
}

// pretend costs what a check costs, so that an unknown account cannot be told
// from a wrong password by the time of the answer.
func (h *Hasher) pretend(ctx context.Context, plain string) error {
	_, err := h.hash(ctx, plain)
	return err
}

// hash returns the PHC string of plain under a new salt.
func (h *Hasher) hash(ctx context.Context, plain string) (string, error) {
	salt := make([]byte, saltBytes)
	if _, err := rand.Read(salt); err != nil {
		return "", fmt.Errorf("read random bytes: %w", err)
	}
	out := phcHash{
		time: h.config.Time, memoryKiB: h.config.MemoryKiB, parallelism: h.config.Parallelism,
		salt: salt, key: make([]byte, keyBytes),
	}
	key, err := h.run(ctx, plain, out)
	if err != nil {
		return "", err
	}
	out.key = key
	return out.String(), nil
}

// run derives the key of plain with the parameters of p, once there is memory.
func (h *Hasher) run(ctx context.Context, plain string, p phcHash) ([]byte, error) {
	// A stored hash above the bound (the bound was lowered) runs alone.
	weight := min(int64(p.memoryKiB), h.config.MaxMemoryKiB)
	ctx, cancel := context.WithTimeout(ctx, h.config.MaxWait)
	defer cancel()
	if err := h.memory.Acquire(ctx, weight); err != nil {
		return nil, ErrBusy
	}
	defer h.memory.Release(weight)
	key := h.derive([]byte(plain), p.salt, p.time, p.memoryKiB, p.parallelism, uint32(len(p.key)))
	// Before the memory is given to the next one.
	if h.garbage.Add(int64(p.memoryKiB)) >= garbageMaxKiB {
		h.garbage.Store(0)
		h.collect()
	}
	return key, nil
}
