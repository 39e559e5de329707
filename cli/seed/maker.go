package seed

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/google/uuid"
)

// maker derives everything that is not written down from the seed: ids, dates
// and choices. The same name always gives the same result, in any order.
type maker struct {
	seed   int64
	anchor time.Time // midnight UTC of the day everything counts back from
}

func (m maker) sum(kind, name string) [sha256.Size]byte {
	return sha256.Sum256([]byte("firemode-seed-1\x00" + strconv.FormatInt(m.seed, 10) + "\x00" + kind + "\x00" + name))
}

// id is a UUIDv7 whose time is at and whose random bits come from the name.
func (m maker) id(kind, name string, at time.Time) string {
	sum := m.sum(kind, name)
	var u uuid.UUID
	copy(u[:], sum[:])
	binary.BigEndian.PutUint64(u[:8], uint64(at.UnixMilli())<<16|uint64(binary.BigEndian.Uint16(sum[6:8])))
	u[6] = u[6]&0x0f | 0x70
	u[8] = u[8]&0x3f | 0x80
	return u.String()
}

// systemID is an id of PocketBase's own collections: 15 characters of [a-z0-9].
func (m maker) systemID(kind, name string) string {
	sum := m.sum(kind, name)
	return hex.EncodeToString(sum[:])[:15]
}

// actor names one device in the operation log.
func (m maker) actor(user, device string) string {
	sum := m.sum("actor", user+"/"+device)
	return "d" + hex.EncodeToString(sum[:8])
}

// rand is a source of choices for the thing of that name.
func (m maker) rand(kind, name string) *rand.Rand {
	sum := m.sum("rand/"+kind, name)
	return rand.New(rand.NewPCG(binary.BigEndian.Uint64(sum[:8]), binary.BigEndian.Uint64(sum[8:16])))
}

// daysAgo is a moment before the anchor's day.
func (m maker) daysAgo(days int, clock time.Duration) time.Time {
	return m.anchor.AddDate(0, 0, -days).Add(clock)
}
