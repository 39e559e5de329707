package api

import (
	"bytes"
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"
)

// Body limits.
const (
	bodyMaxBytes    = 1 << 20 // an ordinary JSON body
	resultsMaxBytes = 4 << 20 // a day of measurements in one request
	// drainMaxBytes is how much of a refused body is read and thrown away, so
	// that a client which writes before it reads gets the answer.
	drainMaxBytes = 16 << 20
)

// publicKey marks operations that take no token.
const publicKey = "firemode.public"

// bearer is the one security scheme of /v1.
var bearer = []map[string][]string{{"bearer": {}}}

// register adds one operation to api. Errors of fn become problems.
func register[I, O any](api huma.API, op huma.Operation, fn func(*call, *I) (*O, error)) {
	if op.Metadata[publicKey] == nil {
		op.Security = bearer
		op.Errors = append(op.Errors, http.StatusUnauthorized, http.StatusForbidden)
	}
	op.Errors = append(op.Errors, http.StatusBadRequest, http.StatusNotFound, http.StatusUnprocessableEntity,
		http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusServiceUnavailable)
	if op.Method != http.MethodGet {
		op.Errors = append(op.Errors, http.StatusConflict, http.StatusRequestEntityTooLarge,
			http.StatusUnsupportedMediaType, http.StatusInsufficientStorage)
	}
	if op.MaxBodyBytes == 0 {
		op.MaxBodyBytes = bodyMaxBytes
	}
	op.RejectUnknownQueryParameters = true // a misspelt filter would silently show everything
	huma.Register(api, op, func(ctx context.Context, in *I) (*O, error) {
		c := callOf(ctx)
		out, err := fn(c, in)
		if err != nil {
			p := problemOf(err)
			p.finish(c.event, c.event.Response.Header())
			return nil, p
		}
		return out, nil
	})
}

// public marks op as open to guests.
func public(op huma.Operation) huma.Operation {
	op.Metadata = map[string]any{publicKey: true}
	return op
}

// guard runs before huma looks at a request: it refuses guests where a token is
// needed, and bodies that huma would buffer, guess or misread.
func (s *service) guard(hc huma.Context, next func(huma.Context)) {
	c, op := callOf(hc.Context()), hc.Operation()
	c.route = op.Path
	c.event.Set(routeKey, op.Path)
	if op.Metadata[publicKey] == nil && c.auth() == nil {
		c.err = newProblem(http.StatusUnauthorized, "A valid token is needed.")
		return
	}
	if p := checkQuery(hc); p != nil {
		c.err = p
		return
	}
	if op.RequestBody == nil || op.RequestBody.Content["application/json"] == nil {
		next(hc)
		return
	}
	body, p := readJSON(c.event.Request, op.MaxBodyBytes, op.RequestBody.Required)
	if p != nil {
		c.err = p
		return
	}
	c.body = body
	next(&bodyContext{humaContext: hc, body: body})
}

// humaContext lets bodyContext embed huma.Context without a clash between the
// embedded name and its method Context.
type humaContext = huma.Context

// bodyContext is a huma.Context over a body that was read already.
type bodyContext struct {
	humaContext
	body []byte
}

// BodyReader and Unwrap implement huma.Context.
func (b *bodyContext) BodyReader() io.Reader { return bytes.NewReader(b.body) }

// Unwrap returns the context below.
func (b *bodyContext) Unwrap() huma.Context { return b.humaContext }

// checkQuery refuses parameters that are no text.
func checkQuery(hc huma.Context) *Problem {
	u := hc.URL()
	for name, values := range u.Query() {
		for _, v := range append(values, name) {
			if !utf8.ValidString(v) || strings.Contains(v, "\x00") {
				p := newProblem(http.StatusUnprocessableEntity, "A query parameter is not valid text.")
				p.Errors = append(p.Errors, FieldError{Pointer: "/" + escapePointer(name), In: "query", Detail: "must be UTF-8 without NUL"})
				return p
			}
		}
	}
	return nil
}

// readJSON reads one JSON body of at most max bytes and refuses what is not
// clean (see checkJSON).
func readJSON(r *http.Request, max int64, required bool) ([]byte, *Problem) {
	if r.ContentLength > max {
		return nil, tooLarge(r)
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, max+1))
	if err != nil {
		return nil, unreadable(err)
	}
	if int64(len(body)) > max {
		return nil, tooLarge(r)
	}
	if len(body) == 0 {
		if required {
			return nil, newProblem(http.StatusBadRequest, "A JSON body is needed.")
		}
		return nil, nil
	}
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return nil, newProblem(http.StatusUnsupportedMediaType, "Send application/json.")
	}
	if enc := r.Header.Get("Content-Encoding"); enc != "" && !strings.EqualFold(enc, "identity") {
		return nil, newProblem(http.StatusUnsupportedMediaType, "Send the body without a content encoding.")
	}
	if p := checkJSON(body); p != nil {
		return nil, p
	}
	return body, nil
}

// tooLarge answers for a body over its limit after letting the client finish
// what it is likely to have in flight.
func tooLarge(r *http.Request) *Problem {
	_, _ = io.CopyN(io.Discard, r.Body, drainMaxBytes)
	return newProblem(http.StatusRequestEntityTooLarge, "The request body is too large.")
}

// unreadable answers for a body that stopped coming; usually nobody reads it.
func unreadable(err error) *Problem {
	var p *Problem
	if errors.As(err, &p) {
		return p
	}
	return newProblem(http.StatusBadRequest, "The request body could not be read to its end.").because(err)
}

// bearerToken is the token of a request as PocketBase reads it.
func bearerToken(r *http.Request) string {
	token := r.Header.Get("Authorization")
	if len(token) > 7 && strings.EqualFold(token[:7], "Bearer ") {
		return token[7:]
	}
	return token
}
