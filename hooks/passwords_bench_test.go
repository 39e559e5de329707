package hooks

import (
	"errors"
	"testing"
	"time"

	"firemode/collections"
	"firemode/internal/testapp"

	"github.com/pocketbase/pocketbase/core"
)

// BenchmarkFailedLogin measures how long failed logins of known and of unknown accounts take, in
// turn, and prints the ratio; that they cost the same work is what
// TestEveryFailedLoginCostsTheSame holds. Hashes are cheap here, so that whatever differs beside
// them shows.
func BenchmarkFailedLogin(b *testing.B) {
	h := NewHasher(HasherConfig{Time: 1, MemoryKiB: 1 << 10, Parallelism: 1})
	app := testapp.New(b, func(app core.App) { Register(app, Deps{Hasher: h, Tokens: NewTokens(TokensConfig{})}) })
	org := organisation(b, app)
	save(b, app, collections.Users, map[string]any{
		"username": "mei", "email": "mei@example.com", "password": rightPassword, "role": collections.RoleInspector,
		"organisation_id": org.Id, "is_active": true,
	})
	attempt := func(identity string) time.Duration {
		h.logins = throttle{}
		began := time.Now()
		if _, err := h.Login(b.Context(), app, Attempt{Identity: identity, Password: "wrong password"}); !errors.Is(err, ErrCredentials) {
			b.Fatal(err)
		}
		return time.Since(began)
	}
	var known, unknown time.Duration
	for b.Loop() {
		known += attempt("mei")
		unknown += attempt("nobody")
	}
	b.ReportMetric(float64(known.Nanoseconds())/float64(b.N), "known-ns")
	b.ReportMetric(float64(unknown.Nanoseconds())/float64(b.N), "unknown-ns")
	b.ReportMetric(float64(known)/float64(unknown), "known/unknown")
}
