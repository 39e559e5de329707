package api

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/pocketbase/pocketbase/core"
)

// problemMediaType is the content type of every error (RFC 9457).
const problemMediaType = "application/problem+json"

// A Problem is the body of every answer that is not a success. It reads as a
// problem detail of RFC 9457 and, by status, message and data, as an error of
// PocketBase, so that its SDKs keep working.
type Problem struct {
	Type          string         `json:"type" doc:"Always about:blank: the status says what kind of problem it is" example:"about:blank"`
	Title         string         `json:"title" doc:"The status in words" example:"Unprocessable Entity"`
	Status        int            `json:"status" example:"422"`
	Detail        string         `json:"detail" doc:"One sentence for people"`
	Message       string         `json:"message" doc:"The same sentence, where PocketBase's SDKs look for it"`
	ErrorCode     string         `json:"error_code" example:"FIRE-422"`
	TransactionID string         `json:"transaction_id" doc:"The id of this request, also in the X-Request-Id header and the log"`
	Retryable     bool           `json:"retryable" doc:"Whether the same request may succeed later"`
	Errors        []FieldError   `json:"errors" doc:"What is wrong with which part of the request"`
	Data          map[string]any `json:"data" doc:"Per-field errors of PocketBase's own routes, or facts a client acts on"`

	retryAfter time.Duration // 0 sends no Retry-After
	cause      error         // for the log only
}

// A FieldError says what is wrong with one part of the request.
type FieldError struct {
	Pointer string `json:"pointer" doc:"JSON Pointer (RFC 6901) into the body, or /name of a parameter" example:"/changes/0/op"`
	In      string `json:"in,omitempty" doc:"Where the pointer points when it is not the body" enum:"path,query,header,form"`
	Detail  string `json:"detail"`
}

// Error, Unwrap, GetStatus and ContentType make a Problem an error that huma
// writes as it is.
func (p *Problem) Error() string             { return p.ErrorCode + ": " + p.Detail }
func (p *Problem) Unwrap() error             { return p.cause }
func (p *Problem) GetStatus() int            { return p.Status }
func (p *Problem) ContentType(string) string { return problemMediaType }

// newProblem returns a problem with one public sentence.
func newProblem(status int, detail string, errs ...FieldError) *Problem {
	if errs == nil {
		errs = []FieldError{} // an empty list, not null
	}
	p := &Problem{
		Type: "about:blank", Title: statusTitle(status), Status: status, Detail: detail, Message: detail,
		ErrorCode: "FIRE-" + strconv.Itoa(status), Errors: errs, Data: map[string]any{},
	}
	switch status {
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		p.Retryable, p.retryAfter = true, time.Second
	case http.StatusInternalServerError, http.StatusRequestTimeout, http.StatusInsufficientStorage:
		p.Retryable = true
	}
	return p
}

func statusTitle(status int) string {
	if t := http.StatusText(status); t != "" {
		return t
	}
	return "Error"
}

// invalid is a 422 about one member of the body.
func invalid(pointer, detail string) *Problem {
	return newProblem(http.StatusUnprocessableEntity, "The request is well formed but not valid.",
		FieldError{Pointer: pointer, Detail: detail})
}

// notFound answers for what does not exist and for what the caller may not see.
func notFound() *Problem {
	return newProblem(http.StatusNotFound, "No such resource, or none that you may see.")
}

// forbidden answers for what the caller may see but not do.
func forbidden() *Problem {
	return newProblem(http.StatusForbidden, "Your role does not allow this.")
}

// conflict is a 409 with the facts that a client acts on.
func conflict(detail string, data map[string]any) *Problem {
	p := newProblem(http.StatusConflict, detail)
	if data != nil {
		p.Data = data
	}
	return p
}

// again marks p as worth the same request after the given time.
func (p *Problem) again(after time.Duration) *Problem {
	p.Retryable, p.retryAfter = true, after
	return p
}

// because keeps the cause for the log.
func (p *Problem) because(err error) *Problem {
	p.cause = err
	return p
}

// finish fills in what belongs to the request, sets the headers of the answer
// and logs what an operator has to look at. It is called once per answer.
func (p *Problem) finish(e *core.RequestEvent, h http.Header) {
	p.TransactionID = requestIDOf(e)
	if p.retryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int((p.retryAfter+time.Second-1)/time.Second)))
	}
	if p.Status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", `Bearer realm="firemode"`)
	}
	if p.Status == http.StatusInternalServerError || p.Status == http.StatusInsufficientStorage {
		e.App.Logger().Error("request failed",
			"transaction_id", p.TransactionID, "method", e.Request.Method, "route", routeOf(e),
			"status", p.Status, "error", causeText(p.cause))
	}
}

func causeText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// write sends p as the whole answer of e.
func (p *Problem) write(e *core.RequestEvent) {
	h := e.Response.Header()
	p.finish(e, h)
	h.Set("Content-Type", problemMediaType)
	h.Del("Content-Length")
	h.Del("ETag")
	e.Response.WriteHeader(p.Status)
	if e.Request.Method == http.MethodHead {
		return
	}
	enc := json.NewEncoder(e.Response)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(p) // the client is gone; there is nobody to tell
}

// huma keeps the maker of its errors in package variables. They are set before
// any API is made and never again.
func init() {
	huma.NewError = func(status int, msg string, errs ...error) huma.StatusError {
		return humaProblem(status, msg, errs...)
	}
	huma.NewErrorWithContext = func(ctx huma.Context, status int, msg string, errs ...error) huma.StatusError {
		p := humaProblem(status, msg, errs...)
		if c := callOf(ctx.Context()); c != nil {
			p.finish(c.event, c.event.Response.Header())
		}
		return p
	}
}
