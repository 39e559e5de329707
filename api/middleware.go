package api

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"firemode/hooks"

	"github.com/google/uuid"
	"github.com/pocketbase/pocketbase/apis"
	"github.com/pocketbase/pocketbase/core"
	"github.com/pocketbase/pocketbase/tools/hook"
	"github.com/pocketbase/pocketbase/tools/router"
	"github.com/pocketbase/pocketbase/tools/search"
)

// rootPriority puts the root middleware outside all others: PocketBase's own
// begin with CORS, one above its activity logger.
const rootPriority = apis.DefaultActivityLoggerMiddlewarePriority - 10

// requestIDHeader names a request in the answer, the log and the audit entry.
const requestIDHeader = "X-Request-Id"

// requestIDPattern is what we accept from a caller: long enough to be chosen on
// purpose, short and plain enough for any log.
var requestIDPattern = regexp.MustCompile(`^[A-Za-z0-9._-]{8,64}$`)

// secretParams are the parts of an address that no log may keep: the token of
// PocketBase's file and backup routes, and what somebody looks for, such as a
// name typed into the search box of the admin UI.
var secretParams = []string{"token", search.FilterQueryParam}

// routeKey is where a /v1 request keeps the path of its operation.
const routeKey = "firemode.route"

// rootMiddleware names every request, sets the security headers, writes every
// error that comes back in the one shape and counts the answer.
func (s *service) rootMiddleware() *hook.Handler[*core.RequestEvent] {
	return &hook.Handler[*core.RequestEvent]{
		Id: "firemode.api.root", Priority: rootPriority,
		Func: func(e *core.RequestEvent) error {
			began := s.Now()
			id := e.Request.Header.Get(requestIDHeader)
			if !requestIDPattern.MatchString(id) {
				id = uuid.Must(uuid.NewV7()).String()
			}
			e.Set(hooks.RequestIDKey, id)
			// PocketBase's activity log then names the same request.
			e.Set(apis.RequestEventKeyLogMeta, map[string]any{"transaction_id": id})
			e.Response.Header().Set(requestIDHeader, id)
			secureHeaders(e)
			if ours(e.Request.URL.Path) {
				streamBody(e)
			}

			err := e.Next()
			if err != nil && !e.Written() {
				problemOf(err).write(e)
			}
			if s.Metrics != nil {
				s.Metrics.observe(routeOf(e), e.Request.Method, e.Status(), s.Now().Sub(began))
			}
			return nil
		},
	}
}

// hideSecrets takes the secretParams out of the address before PocketBase's
// activity logger, which runs right outside, writes it down.
func hideSecrets() *hook.Handler[*core.RequestEvent] {
	return &hook.Handler[*core.RequestEvent]{
		Id: "firemode.api.hide-secrets", Priority: apis.DefaultActivityLoggerMiddlewarePriority + 1,
		Func: func(e *core.RequestEvent) error {
			err := e.Next()
			// What Go cannot read as a query is left out: it may be spelt like a secret.
			query, bad := url.ParseQuery(e.Request.URL.RawQuery)
			hidden := bad != nil
			for _, name := range secretParams {
				if query.Has(name) {
					query.Set(name, "hidden")
					hidden = true
				}
			}
			if !hidden {
				return err
			}
			e.Request.URL.RawQuery = query.Encode()
			// The logger also writes the reason, which quotes a filter that is no filter.
			var refused *router.ApiError
			if e.Request.Method == http.MethodGet && errors.As(err, &refused) && refused.Status == http.StatusBadRequest {
				if cause, _ := refused.RawData().(error); storageProblem(cause) == nil {
					err = router.NewApiError(refused.Status, refused.Message, nil)
				}
			}
			return err
		},
	}
}

// strictBodies refuses on the record API what encoding/json would take and change in
// silence: a member twice, lone surrogates, invalid UTF-8, NUL. It runs behind the limit of
// the body's size; PocketBase reads the body again.
func strictBodies() *hook.Handler[*core.RequestEvent] {
	return &hook.Handler[*core.RequestEvent]{
		Id: "firemode.api.strict-bodies", Priority: apis.DefaultBodyLimitMiddlewarePriority + 1,
		Func: func(e *core.RequestEvent) error {
			path := e.Request.URL.Path
			records := strings.HasPrefix(path, "/api/collections/") || path == "/api/batch" || strings.HasPrefix(path, "/api/firemode/")
			kind, _, _ := mime.ParseMediaType(e.Request.Header.Get("Content-Type"))
			if !records || kind != "application/json" || e.Request.Body == nil {
				return e.Next()
			}
			body, err := io.ReadAll(e.Request.Body)
			if err != nil {
				return unreadable(err)
			}
			if len(bytes.TrimSpace(body)) > 0 {
				if p := checkJSON(body); p != nil {
					return p
				}
			}
			return e.Next()
		},
	}
}

// frameMiddleware runs right behind PocketBase's header middleware, which allows
// frames of the same origin for everything. Only its own pages keep that.
func frameMiddleware() *hook.Handler[*core.RequestEvent] {
	return &hook.Handler[*core.RequestEvent]{
		Id: "firemode.api.frames", Priority: apis.DefaultSecurityHeadersMiddlewarePriority + 1,
		Func: func(e *core.RequestEvent) error {
			if path := e.Request.URL.Path; !strings.HasPrefix(path, "/_/") && !strings.HasPrefix(path, "/api/files/") {
				e.Response.Header().Set("X-Frame-Options", "DENY")
			}
			return e.Next()
		},
	}
}

// requestIDOf returns the id that the root middleware gave to e.
func requestIDOf(e *core.RequestEvent) string {
	id, _ := e.Get(hooks.RequestIDKey).(string)
	return id
}

// routeOf returns the route of e with its parameters unfilled.
func routeOf(e *core.RequestEvent) string {
	if route, ok := e.Get(routeKey).(string); ok {
		return route
	}
	_, path, found := strings.Cut(e.Request.Pattern, " ")
	if !found {
		path = e.Request.Pattern
	}
	return path
}

func ours(path string) bool { return path == "/v1" || strings.HasPrefix(path, "/v1/") }

// streamBody removes the wrapper with which PocketBase keeps a copy of every
// body it reads, up to 32 MiB in memory and the rest in a file: /v1 reads its
// bodies once, and an upload is already on its way to a file.
func streamBody(e *core.RequestEvent) {
	if wrapped, ok := e.Request.Body.(*router.RereadableReadCloser); ok {
		e.Request.Body = wrapped.ReadCloser
	}
}

// Content security policies. Pages get theirs from whoever serves them; these
// are for the rest.
const (
	cspData = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
	cspPage = "default-src 'self'; img-src 'self' data: blob:; style-src 'self' 'unsafe-inline'; object-src 'none'; " +
		"base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
)

// hstsPolicy holds for one year, the least that browsers' preload lists take.
const hstsPolicy = "max-age=31536000; includeSubDomains"

// secureHeaders sets what every answer carries. A handler may set its own
// policy later; the admin UI and stored files bring theirs.
func secureHeaders(e *core.RequestEvent) {
	h, path := e.Response.Header(), e.Request.URL.Path
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "strict-origin-when-cross-origin")
	h.Set("Permissions-Policy", "camera=(self), geolocation=(self), microphone=()")
	if e.IsTLS() {
		h.Set("Strict-Transport-Security", hstsPolicy)
	}
	switch {
	case ours(path), strings.HasPrefix(path, "/health"), path == "/openapi.json":
		h.Set("Content-Security-Policy", cspData)
		h.Set("Cache-Control", "no-store")
	case strings.HasPrefix(path, "/api/files/"):
		// Policies of PocketBase's own stand when there is none; its cache of a month would keep
		// evidence on a shared tablet, past the right to see it.
		h.Set("Cache-Control", "private, no-store")
	case strings.HasPrefix(path, "/_/"):
	case strings.HasPrefix(path, "/api/"):
		h.Set("Content-Security-Policy", cspData)
		h.Set("Cache-Control", "no-store") // the realtime route sets its own
	default:
		h.Set("Content-Security-Policy", cspPage)
	}
}

// serveV1 hands a request to its operation. A trailing slash makes no
// difference.
func (s *service) serveV1(e *core.RequestEvent) error {
	c := &call{service: s, app: s.app, event: e}
	r := e.Request.WithContext(withCall(e.Request.Context(), c))
	handle, allowed := s.routes.find(r)
	switch {
	case handle != nil:
		handle(e.Response, r)
		return c.err
	case allowed != "":
		e.Response.Header().Set("Allow", allowed)
		return newProblem(http.StatusMethodNotAllowed, "This path does not take "+r.Method+".")
	}
	return newProblem(http.StatusNotFound, "There is no such operation.")
}
