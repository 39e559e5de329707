package api

import (
	"maps"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"firemode/hooks"

	"github.com/pocketbase/pocketbase/apis"
	"github.com/pocketbase/pocketbase/core"
	"github.com/pocketbase/pocketbase/tools/hook"
	"golang.org/x/time/rate"
)

const (
	// writeBurst is how many seconds' worth of writes may come at once: a tablet that was
	// offline all day sends that in a few requests.
	writeBurst = 10
	// addressShare is how many accounts' worth one address may write: an office, or a mobile
	// network, stands behind one.
	addressShare = 10
	// writersMax bounds the memory of the limits: some 200 bytes each.
	writersMax = 20_000
)

// writeRate limits how fast one account, and one address, writes. A limit that is not used up
// is forgotten. It is safe for many goroutines.
type writeRate struct {
	perSecond float64 // of an account

	mu      sync.Mutex // guards writers
	writers map[string]*rate.Limiter
}

func newWriteRate(perSecond float64) *writeRate {
	return &writeRate{perSecond: perSecond, writers: map[string]*rate.Limiter{}}
}

// writeRateMiddleware refuses writes with 429 that come faster than somebody's tablet would
// send them. It runs where PocketBase has its own limits, when the caller is known. Failed
// logins have limits of their own (package hooks).
func writeRateMiddleware(perSecond float64, now func() time.Time) *hook.Handler[*core.RequestEvent] {
	limits := newWriteRate(perSecond)
	return &hook.Handler[*core.RequestEvent]{
		Id: "firemode.api.write-rate", Priority: apis.DefaultRateLimitMiddlewarePriority,
		Func: func(e *core.RequestEvent) error {
			if perSecond <= 0 || !writes(e.Request) {
				return e.Next()
			}
			account := ""
			if e.Auth != nil {
				account = e.Auth.Id
			}
			if wait := limits.take(account, e.RealIP(), now()); wait > 0 {
				return newProblem(http.StatusTooManyRequests, "More writes than one account, or one address, may send. Nothing was stored; send it again later.").again(wait)
			}
			return e.Next()
		},
	}
}

// writes reports whether a request may change something.
func writes(r *http.Request) bool {
	switch r.Method {
	case http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete:
		return strings.HasPrefix(r.URL.Path, "/v1/") || strings.HasPrefix(r.URL.Path, "/api/")
	}
	return false
}

// take counts a write and returns 0, or how long to wait for one. An account of "" is a guest.
// The machine itself, and with it a reverse proxy that does not name its clients, has no limit
// as an address.
func (w *writeRate) take(account, address string, now time.Time) (wait time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	keys := map[string]float64{}
	if account != "" {
		keys["account "+account] = w.perSecond
	}
	if ip, err := netip.ParseAddr(address); err != nil || !ip.Unmap().IsLoopback() {
		// Guests have a share of their own: they take nothing from those who signed in.
		kind := "address "
		if account == "" {
			kind = "guests at "
		}
		keys[kind+hooks.Network(address)] = w.perSecond * addressShare
	}
	var taken []*rate.Reservation
	for key, perSecond := range keys {
		limit := w.writers[key]
		if limit == nil {
			w.makeRoom(now)
			limit = rate.NewLimiter(rate.Limit(perSecond), max(1, int(perSecond*writeBurst)))
			w.writers[key] = limit
		}
		r := limit.ReserveN(now, 1)
		taken, wait = append(taken, r), max(wait, r.DelayFrom(now))
	}
	if wait > 0 {
		for _, r := range taken {
			r.CancelAt(now) // what is refused costs nothing
		}
	}
	return wait
}

// makeRoom forgets limits when there are too many: those that are not in use, and if that is
// not enough, those of which less than half is used up, then all.
func (w *writeRate) makeRoom(now time.Time) {
	for _, used := range []float64{0, 0.5, 1} {
		if len(w.writers) < writersMax {
			return
		}
		maps.DeleteFunc(w.writers, func(_ string, l *rate.Limiter) bool { return l.TokensAt(now) >= float64(l.Burst())*(1-used) })
	}
}
