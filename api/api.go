package api

import (
	"errors"
	"net/http"
	"time"

	"firemode/collections"
	"firemode/hooks"
	"firemode/merge"
	"firemode/pgsync"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/pocketbase/pocketbase/apis"
	"github.com/pocketbase/pocketbase/core"
)

// Deps is what the operations stand on. Zero values are allowed unless said
// otherwise.
type Deps struct {
	Hasher  *hooks.Hasher    // required
	Tokens  *hooks.Tokens    // required
	Merge   *merge.Service   // required, and started before the first request
	Version string           // of the application, shown by /health and /openapi.json
	Now     func() time.Time // default time.Now
	// EvidenceMaxBytes bounds one upload; default collections.EvidenceMaxBytes.
	EvidenceMaxBytes int64
	// DiskFloorBytes is the free space below which the service is not ready;
	// default 256 MiB.
	DiskFloorBytes uint64
	// WritesPerSecond is how many writes one account may send, for long; ten seconds' worth may
	// come at once, and ten times as many from one address. 0 is no limit.
	WritesPerSecond float64
	// Metrics receives what Diagnostics shows; nil keeps none.
	Metrics *Metrics
	// MirrorStatus reports the state of the mirror; nil means that it is off.
	MirrorStatus func() pgsync.Status
}

// diskFloorDefault leaves room for the WAL, a checkpoint and a few uploads.
const diskFloorDefault = 256 << 20

// service is Deps with defaults filled in and the state the operations share.
type service struct {
	Deps
	app      core.App
	inFlight inFlight
	routes   routes
	ready    readiness
	access   accessMemo
}

// Bind mounts /v1, /health, /openapi.json and /docs on the router of se and
// binds the root middleware that gives every route the one error shape. Call it
// once, in OnServe, before the router is built. It removes what uploads that
// died with an earlier process left behind.
func Bind(se *core.ServeEvent, deps Deps) error {
	if deps.Hasher == nil || deps.Tokens == nil || deps.Merge == nil {
		return errors.New("bind the API: Hasher, Tokens and Merge are required")
	}
	if deps.Now == nil {
		deps.Now = time.Now
	}
	if deps.MirrorStatus == nil {
		deps.MirrorStatus = func() pgsync.Status { return pgsync.Status{State: pgsync.StateOff} }
	}
	if deps.DiskFloorBytes == 0 {
		deps.DiskFloorBytes = diskFloorDefault
	}
	s := &service{Deps: deps, app: se.App}
	if deps.EvidenceMaxBytes == 0 {
		s.EvidenceMaxBytes = collections.EvidenceMaxBytes
	}

	api := humago.New(&s.routes, openAPIConfig(deps.Version))
	api.UseMiddleware(s.guard)
	for _, bind := range []func(huma.API){
		s.bindAuth, s.bindUsers, s.bindBuildings, s.bindSessions, s.bindEvidence, s.bindOperations,
	} {
		bind(api)
	}

	s.bindAccessMemo()
	if err := s.sweepUploads(); err != nil {
		return err
	}
	se.Router.Bind(s.rootMiddleware(), hideSecrets(), strictBodies(), frameMiddleware(), writeRateMiddleware(deps.WritesPerSecond, deps.Now))
	// Patterns with a method: one without would conflict with "GET /{path...}",
	// the static files. GET serves HEAD as well.
	for _, method := range []string{
		http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions,
	} {
		for _, path := range []string{"/v1", "/v1/{path...}"} {
			// The operations have body limits of their own.
			se.Router.Route(method, path, s.serveV1).Unbind(apis.DefaultBodyLimitMiddlewareId)
		}
	}
	for _, path := range hotPaths {
		// The audit log has every write; a line per request in the activity log
		// would cost as much as the write itself.
		se.Router.POST(path, s.serveV1).Unbind(apis.DefaultBodyLimitMiddlewareId).Bind(apis.SkipSuccessActivityLog())
	}
	s.bindHealth(se)
	if err := s.bindGauges(); err != nil {
		return err
	}
	if err := bindDocs(se, api.OpenAPI()); err != nil {
		return err
	}
	return errors.Join(
		s.app.Cron().Add("firemode.idempotency.sweep", sweepSchedule, s.logged("sweep idempotency keys", s.sweepIdempotencyKeys)),
		s.app.Cron().Add("firemode.evidence.sweep", sweepSchedule, s.logged("sweep uploads", s.sweepUploads)),
	)
}

// hotPaths are what tablets send all day.
var hotPaths = []string{"/v1/tests/sessions/{id}/results", "/v1/tests/sessions/{id}/sync"}

// sweepSchedule: expired keys are ignored from their expiry on, and leftover
// uploads harm nobody; once an hour keeps both small.
const sweepSchedule = "17 * * * *"

// logged is a scheduled job whose error is logged.
func (s *service) logged(what string, job func() error) func() {
	return func() {
		if err := job(); err != nil {
			s.app.Logger().Error(what, "error", err)
		}
	}
}
