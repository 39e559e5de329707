package identity

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"firemode/collections"
	"firemode/hooks"
	"firemode/internal/testapp"
	"firemode/sealed"

	"github.com/google/uuid"
	"github.com/pocketbase/dbx"
	"github.com/pocketbase/pocketbase/core"
)

const (
	// liveRevocations is far above what logouts within the life of a token come to.
	liveRevocations = 100_000
	// listRows is a page of the admin UI.
	listRows = 30

	organisationID = "019a0000-0000-7000-8000-00000000000a"
)

// useSealer gives this process a key: collections have one sealer per process.
var useSealer = sync.OnceValue(func() error {
	ring, err := sealed.Parse(sealed.Generate())
	if err == nil {
		collections.UseSealer(ring)
	}
	return err
})

// peer is a server that is measured, and a request to it.
type peer struct {
	app   core.App
	url   string
	token string
	times []time.Duration
}

// world is the same few records at a stock PocketBase and at one with FireMode's hooks.
func world(b *testing.B, change func(stock core.App)) (stock, ours *peer) {
	b.Helper()
	must(b, useSealer())
	tokens := hooks.NewTokens(hooks.TokensConfig{})
	hasher := hooks.NewHasher(hooks.HasherConfig{Time: 1, MemoryKiB: 64, Parallelism: 1})
	stock = &peer{app: testapp.New(b)}
	if change != nil {
		change(stock.app)
	}
	ours = &peer{app: testapp.New(b, func(app core.App) { hooks.Register(app, hooks.Deps{Hasher: hasher, Tokens: tokens}) })}
	for _, p := range []*peer{stock, ours} {
		save := func(collection string, values map[string]any) *core.Record {
			c, err := p.app.FindCollectionByNameOrId(collection)
			must(b, err)
			r := core.NewRecord(c)
			r.Load(values)
			if collection == collections.Users {
				r.SetPassword(rootPassword)
				if p == stock {
					// The schema takes Argon2id hashes only, and this login is not measured.
					r.SetRaw(core.FieldNamePassword, &core.PasswordFieldValue{Hash: "$argon2id$locked"})
				}
			}
			must(b, p.app.SaveNoValidate(r))
			return r
		}
		org := save(collections.Organisations, map[string]any{"id": organisationID, "name": "Assured Fire", "kind": "contractor"})
		user := save(collections.Users, map[string]any{
			"id": uuid.Must(uuid.NewV7()).String(), "username": "mei", "email": "mei@example.com", "role": collections.RoleManager,
			"organisation_id": org.Id, "is_active": true,
		})
		for i := range listRows {
			save(collections.Buildings, map[string]any{
				"id": uuid.Must(uuid.NewV7()).String(), "name": fmt.Sprintf("Harbour Tower %02d", i), "address": "1 Quay St", "building_type": "5",
				"compliance_status": "pending", "organisation_id": org.Id, "contact_name": fmt.Sprintf("Ada Marsh %02d", i), "contact_phone": fmt.Sprintf("+61 2 5550 01%02d", i),
			})
		}
		var err error
		if p == stock {
			p.token, err = user.NewAuthToken()
		} else {
			p.token, _, err = tokens.Issue(p.app, user, 0)
		}
		must(b, err)
	}
	return stock, ours
}

// get makes one request and notes how long it took.
func (p *peer) get(b *testing.B, client *http.Client, path, want string) {
	req, err := http.NewRequest("GET", p.url+path, nil)
	must(b, err)
	req.Header.Set("Authorization", p.token)
	began := time.Now()
	res, err := client.Do(req)
	must(b, err)
	raw, err := io.ReadAll(res.Body)
	p.times = append(p.times, time.Since(began))
	res.Body.Close()
	if err != nil || res.StatusCode != http.StatusOK || strings.Count(string(raw), want) == 0 {
		b.Fatalf("GET %s: status %d, %v, want it to hold %q: %.300s", path, res.StatusCode, err, want, raw)
	}
}

// measure asks both in turn, so that a busy machine slows both, and reports medians.
func measure(b *testing.B, stock, ours *peer, path, want string) {
	b.Helper()
	client := &http.Client{Timeout: attemptTimeout, Transport: &http.Transport{}}
	b.Cleanup(client.CloseIdleConnections)
	for _, p := range []*peer{stock, ours} {
		for range 50 { // caches fill
			p.get(b, client, path, want)
		}
		p.times = nil
	}
	for b.Loop() {
		stock.get(b, client, path, want)
		ours.get(b, client, path, want)
	}
	median := func(times []time.Duration) float64 {
		slices.Sort(times)
		return float64(times[len(times)/2].Nanoseconds())
	}
	b.ReportMetric(median(ours.times), "ours-ns")
	b.ReportMetric(median(stock.times), "stock-ns")
	b.ReportMetric(median(ours.times)/median(stock.times), "x-stock")
}

// BenchmarkRevocationCheck is a small request, one record by its id, beside a stock PocketBase,
// which keeps no list: all that is done to a token is in the difference.
func BenchmarkRevocationCheck(b *testing.B) {
	stock, ours := world(b, nil)
	expires := time.Now().Add(time.Hour).UTC().Format("2006-01-02 15:04:05.000Z")
	must(b, ours.app.RunInTransaction(func(tx core.App) error {
		for range liveRevocations {
			_, err := tx.NonconcurrentDB().Insert(collections.RevokedTokens, dbx.Params{
				"id": uuid.Must(uuid.NewV7()).String(), "token_jti": uuid.Must(uuid.NewV7()).String(), "user_id": "u", "reason": "logout", "revoked_by": "",
				"revoked_at": expires, "expires_at": expires,
			}).Execute()
			if err != nil {
				return err
			}
		}
		return nil
	}))
	for _, p := range []*peer{stock, ours} {
		p.url = testapp.Serve(b, p.app)
	}
	measure(b, stock, ours, record(collections.Organisations, organisationID), "Assured Fire")
}

// BenchmarkRevealedList is a list of 30 buildings with two sealed fields each, as a manager sees
// it, beside a stock PocketBase whose fields are plain text: the default request, which also
// counts all records, and without the count.
func BenchmarkRevealedList(b *testing.B) {
	stock, ours := world(b, func(app core.App) {
		c, err := app.FindCollectionByNameOrId(collections.Buildings)
		must(b, err)
		for _, f := range collections.SealedFields(c) {
			c.Fields.RemoveByName(f.Name)
			c.Fields.Add(&core.TextField{Name: f.Name})
		}
		must(b, app.Save(c))
	})
	for _, p := range []*peer{stock, ours} {
		p.url = testapp.Serve(b, p.app)
	}
	for name, query := range map[string]string{"counted": "", "uncounted": "?skipTotal=1"} {
		b.Run(name, func(b *testing.B) {
			measure(b, stock, ours, record(collections.Buildings, "")+query, `"contact_name":"Ada Marsh 29"`)
		})
	}
}
