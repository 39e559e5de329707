package api

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"firemode/crdt"
	"firemode/hooks"
	"firemode/merge"

	"github.com/danielgtaylor/huma/v2"
	validation "github.com/pocketbase/ozzo-validation/v4"
	"github.com/pocketbase/pocketbase/tools/router"
	sqlite "modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// rateWindow is told to clients that were rate limited: PocketBase does not say
// how much of its window is left, and its own default window is this long.
const rateWindow = 10 * time.Second

// problemOf is the one place where an error becomes a status and a public
// sentence. What it does not know is a 500 without detail.
func problemOf(err error) *Problem {
	var p *Problem
	if errors.As(err, &p) {
		return p
	}
	// Before the causes: a route of PocketBase's has chosen the status that its
	// SDKs expect.
	var api *router.ApiError
	if errors.As(err, &api) {
		return apiProblem(api)
	}
	for _, known := range []func(error) *Problem{documentProblem, accountProblem, storageProblem} {
		if p := known(err); p != nil {
			return p
		}
	}
	var fields validation.Errors
	if errors.As(err, &fields) {
		return fieldsProblem(fields)
	}
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return newProblem(http.StatusRequestEntityTooLarge, "The request body is too large.")
	case errors.Is(err, sql.ErrNoRows), errors.Is(err, fs.ErrNotExist):
		return notFound().because(err)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return newProblem(http.StatusServiceUnavailable, "The request was cut off before it was done.").because(err)
	}
	return newProblem(http.StatusInternalServerError, "Something went wrong on our side.").because(err)
}

// documentProblem is what the merge rules refuse.
func documentProblem(err error) *Problem {
	var (
		gap     *crdt.GapError
		fork    *crdt.ForkError
		missing *crdt.MissingError
		chain   *merge.ChainError
		limit   *merge.LimitError
		wrong   *merge.InvalidError
	)
	var (
		state *merge.StateError
		move  *merge.MoveError
	)
	switch {
	case errors.Is(err, merge.ErrSettled):
		return conflict("None of these values stands any more: somebody has decided meanwhile. Read the conflict again.", map[string]any{"code": "settled"})
	case errors.Is(err, merge.ErrNotSigned):
		return conflict("The present state is not signed: sign it, then lock.", map[string]any{"code": "not_signed"})
	case errors.As(err, &state):
		return conflict("Something was recorded meanwhile: read the session again and sign what it says now.",
			map[string]any{"code": "state", "server_seq": state.Now.ServerSeq, "digest": state.Now.Digest})
	case errors.As(err, &move):
		return conflict("A session does not move from "+move.From+" to "+move.To+".", map[string]any{"code": "status", "status": move.From})
	case errors.Is(err, merge.ErrBusy):
		return newProblem(http.StatusServiceUnavailable, "Too many writes are waiting.")
	case errors.Is(err, merge.ErrNoSession):
		return notFound()
	case errors.Is(err, merge.ErrLegalHold):
		return conflict("Evidence of this session is under legal hold: nothing in it is erased.", map[string]any{"code": "legal_hold"})
	case errors.Is(err, merge.ErrOwnAdmission):
		return newProblem(http.StatusForbidden, "Nobody admits their own operations; ask a colleague.")
	case errors.Is(err, merge.ErrForeignActor):
		return newProblem(http.StatusForbidden, "This actor id was not issued to you.")
	case errors.As(err, &chain):
		return conflict("The history of this actor differs from the stored one.", map[string]any{"code": "chain", "actor": chain.Actor, "seq": chain.Seq})
	case errors.As(err, &limit):
		return newProblem(http.StatusRequestEntityTooLarge, fmt.Sprintf("More than %d %s.", limit.Max, limit.What))
	case errors.As(err, &wrong):
		return invalid(wrong.Pointer, wrong.Detail)
	case errors.As(err, &gap):
		return conflict("An earlier operation of this actor is missing.", map[string]any{"code": "gap", "actor": gap.Actor, "want": gap.Want})
	case errors.As(err, &fork):
		return conflict("This actor id is in use for another history; continue under a new one.",
			map[string]any{"code": "fork", "actor": fork.Dot.Actor, "seq": fork.Dot.Seq})
	case errors.As(err, &missing):
		dots := make([]string, len(missing.Dots))
		for i, d := range missing.Dots {
			dots[i] = d.String()
		}
		return conflict("An operation names others that are not here.", map[string]any{"code": "missing", "dots": dots})
	case errors.Is(err, crdt.ErrInboxFull):
		return newProblem(http.StatusServiceUnavailable, "Too many operations arrived early; send them again later.")
	case errors.Is(err, crdt.ErrFormat):
		detail := "A value is not in canonical form."
		var f *crdt.FormatError
		if errors.As(err, &f) {
			detail = "Not in canonical form: " + f.Reason + "."
		}
		return newProblem(http.StatusUnprocessableEntity, detail, FieldError{Pointer: "", Detail: detail})
	}
	return nil
}

// accountProblem is what logging in refuses.
func accountProblem(err error) *Problem {
	var throttled *hooks.ThrottledError
	switch {
	case errors.As(err, &throttled):
		return newProblem(http.StatusTooManyRequests, "Too many failed logins. Try again later.").again(throttled.RetryAfter)
	case errors.Is(err, hooks.ErrBusy):
		return newProblem(http.StatusServiceUnavailable, "Too many people are logging in.")
	case errors.Is(err, hooks.ErrCredentials):
		return newProblem(http.StatusUnauthorized, "Unknown account or wrong password.")
	case errors.Is(err, hooks.ErrInactive):
		return newProblem(http.StatusForbidden, "This account is switched off.")
	}
	return nil
}

// storageProblem is what the disk and the database refuse.
func storageProblem(err error) *Problem {
	full := func() *Problem {
		return newProblem(http.StatusInsufficientStorage, "There is no space left to store this.").because(err)
	}
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return full()
	}
	var db *sqlite.Error
	if !errors.As(err, &db) {
		return nil
	}
	switch db.Code() {
	case sqlite3.SQLITE_FULL:
		return full()
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_BUSY_SNAPSHOT, sqlite3.SQLITE_BUSY_TIMEOUT:
		return newProblem(http.StatusServiceUnavailable, "The database is busy.").because(err)
	case sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY, sqlite3.SQLITE_CONSTRAINT_TRIGGER:
		return conflict("This does not go together with what is stored.", nil).because(err)
	}
	return nil
}

// apiProblem is an error of PocketBase's own routes. Its sentence and its data
// are meant for the public.
func apiProblem(e *router.ApiError) *Problem {
	cause, _ := e.RawData().(error)
	if p := storageProblem(cause); p != nil && p.Status != http.StatusConflict {
		return p // PocketBase calls every failed save a bad request
	}
	p := newProblem(e.Status, e.Message).because(cause)
	if e.Data != nil {
		p.Data = e.Data
	}
	p.Errors = dataErrors("", e.Data)
	switch e.Status {
	case http.StatusTooManyRequests:
		p.retryAfter = rateWindow
	case http.StatusInternalServerError:
		p.Detail = "Something went wrong on our side."
		p.Message = p.Detail
	}
	return p
}

// dataErrors lists PocketBase's nested per-field map as pointers, in order.
func dataErrors(pointer string, data map[string]any) []FieldError {
	out := []FieldError{}
	for _, name := range slices.Sorted(maps.Keys(data)) {
		item, ok := data[name].(map[string]any)
		if !ok {
			continue
		}
		at := pointer + "/" + escapePointer(name)
		if msg, ok := item["message"].(string); ok {
			out = append(out, FieldError{Pointer: at, Detail: msg})
			continue
		}
		out = append(out, dataErrors(at, item)...)
	}
	return out
}

// fieldsProblem is what PocketBase's validators refused on a save from /v1.
func fieldsProblem(fields validation.Errors) *Problem {
	status := http.StatusUnprocessableEntity
	detail := "The request is well formed but not valid."
	var errs []FieldError
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		text := "Invalid value."
		if v, ok := fields[name].(validation.Error); ok {
			text = v.Error()
			if v.Code() == "validation_not_unique" {
				status, detail = http.StatusConflict, "The same thing exists already."
			}
		}
		errs = append(errs, FieldError{Pointer: "/" + escapePointer(name), Detail: text})
	}
	return newProblem(status, detail, errs...)
}

// humaProblem is what huma's own validation refused.
func humaProblem(status int, msg string, errs ...error) *Problem {
	p := newProblem(status, publicSentence(status, msg))
	for _, err := range errs {
		var own *Problem
		if errors.As(err, &own) {
			return own
		}
		var d *huma.ErrorDetail
		if errors.As(err, &d) {
			p.Errors = append(p.Errors, fieldError(d))
		} else if status == http.StatusInternalServerError {
			p.cause = err
		}
	}
	return p
}

func publicSentence(status int, msg string) string {
	switch {
	case status == http.StatusInternalServerError:
		return "Something went wrong on our side."
	case msg == "validation failed":
		return "The request is well formed but not valid."
	case msg == "":
		return statusTitle(status) + "."
	}
	return strings.ToUpper(msg[:1]) + msg[1:] + "."
}

// fieldError turns huma's location ("body.changes[0].op", "query.limit") into a
// pointer. The value is left out: it may be personal data.
func fieldError(d *huma.ErrorDetail) FieldError {
	out := FieldError{Detail: d.Message}
	where, rest, _ := strings.Cut(d.Location, ".")
	if where == "body" || strings.HasPrefix(where, "body[") {
		if where != "body" {
			rest = strings.TrimPrefix(d.Location, "body")
		}
	} else {
		out.In = where
	}
	for _, step := range strings.FieldsFunc(rest, func(r rune) bool { return r == '.' || r == '[' || r == ']' }) {
		out.Pointer += "/" + escapePointer(step)
	}
	return out
}

// escapePointer writes one step of a JSON Pointer.
func escapePointer(step string) string {
	return strings.ReplaceAll(strings.ReplaceAll(strings.ToValidUTF8(step, "\uFFFD"), "~", "~0"), "/", "~1")
}

func indexStep(i int) string { return strconv.Itoa(i) }
