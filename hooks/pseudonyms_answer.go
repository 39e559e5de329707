package hooks

import (
	"context"
	"net/http"
	"strings"

	"firemode/collections"

	"github.com/pocketbase/pocketbase/apis"
	"github.com/pocketbase/pocketbase/core"
	"github.com/pocketbase/pocketbase/tools/hook"
)

// priorityPseudonyms runs once the caller is known and before anybody reads the query.
const priorityPseudonyms = priorityTokenCheck + 1

// operationTopics are of messages that carry operations byte for byte, as operationRoutes do.
const operationTopics = "sessions/"

// operationRoutes end the paths of answers with operations: their authors' bytes, over which the
// chains are. They name no account, only actor ids.
var operationRoutes = []string{"/ops", "/sync"}

// registerPseudonyms puts pseudonyms into every answer to an auditor, and into the messages of
// realtime streams. What is evidence stays as it is: files, and the lines of the operation log.
func registerPseudonyms(app core.App) {
	var names *Pseudonyms // read before the first request, never changed afterwards
	app.OnServe().Bind(&hook.Handler[*core.ServeEvent]{
		Id: "firemode.pseudonyms.serve",
		Func: func(se *core.ServeEvent) (err error) {
			if names, err = LoadPseudonyms(se.App); err != nil {
				return err
			}
			se.Router.Bind(&hook.Handler[*core.RequestEvent]{
				Id: "firemode.pseudonyms.answer", Priority: priorityPseudonyms,
				Func: func(e *core.RequestEvent) error { return names.answer(e) },
			})
			return se.Next()
		},
	})
	// The answer to a login can be expanded, and nobody is known before it.
	app.OnRecordAuthRequest(collections.Users, collections.Superusers).Bind(&hook.Handler[*core.RecordAuthRequestEvent]{
		Id: "firemode.pseudonyms.login", Priority: priorityPseudonyms,
		Func: func(e *core.RecordAuthRequestEvent) error {
			if !isAuditor(e.Record) {
				return e.Next()
			}
			if modified(e.Request.URL.Query().Get(fieldsParam)) {
				return wholeFieldsOnly(e.RequestEvent)
			}
			return names.through(e.RequestEvent, e.Record.Id, e.Next)
		},
	})
	app.OnRealtimeMessageSend().Bind(&hook.Handler[*core.RealtimeMessageEvent]{
		Id: "firemode.pseudonyms.message", Priority: priorityPseudonyms,
		Func: func(e *core.RealtimeMessageEvent) error {
			auth, _ := e.Client.Get(apis.RealtimeClientAuthKey).(*core.Record)
			if isAuditor(auth) && !strings.HasPrefix(e.Message.Name, operationTopics) {
				data, err := names.hide(e.Request.Context(), e.App, e.Message.Data, auth.Id)
				if err != nil {
					return err
				}
				e.Message.Data = data
			}
			return e.Next()
		},
	})
}

// isAuditor reports whether record is an auditor, as a user or as a superuser.
func isAuditor(record *core.Record) bool {
	if record == nil || record.Collection().Name != collections.Users && !record.IsSuperuser() {
		return false
	}
	return record.GetString(collections.FieldRole) == collections.RoleAuditor
}

// answer lets an auditor's request through with pseudonyms on both ways.
func (p *Pseudonyms) answer(e *core.RequestEvent) error {
	if !isAuditor(e.Auth) {
		return e.Next()
	}
	query, err := p.resolve(e.Request.Context(), e.App, e.Request.URL.RawQuery)
	if err != nil {
		return err
	}
	e.Request.URL.RawQuery = query
	for _, end := range operationRoutes {
		if strings.HasSuffix(e.Request.URL.Path, end) {
			return e.Next()
		}
	}
	return p.through(e, e.Auth.Id, e.Next)
}

// through lets next write its answer with pseudonyms, but for the caller's own id.
func (p *Pseudonyms) through(e *core.RequestEvent, own string, next func() error) error {
	w := &pseudonymWriter{ResponseWriter: e.Response, hide: func(text []byte) ([]byte, error) {
		return p.hide(context.WithoutCancel(e.Request.Context()), e.App, text, own)
	}}
	e.Response = w
	err := next()
	if ended := w.end(); err == nil {
		err = ended
	}
	return err
}

// pseudonymWriter replaces ids in text that passes through it. What may be the beginning of an
// id waits for the rest.
type pseudonymWriter struct {
	http.ResponseWriter
	hide    func([]byte) ([]byte, error)
	decided bool
	text    bool
	waiting []byte
}

// Unwrap is for http.ResponseController and PocketBase's trackers.
func (w *pseudonymWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *pseudonymWriter) Write(b []byte) (int, error) {
	if !w.decided {
		w.decided, w.text = true, hasIDs(w.Header())
		if w.text {
			w.Header().Del("Content-Length")
		}
	}
	if !w.text {
		return w.ResponseWriter.Write(b)
	}
	all := append(w.waiting, b...)
	cut := len(all) - beginsID(all)
	out, err := w.hide(all[:cut])
	if err != nil {
		return 0, err
	}
	w.waiting = append([]byte(nil), all[cut:]...)
	if len(out) > 0 {
		if _, err := w.ResponseWriter.Write(out); err != nil {
			return 0, err
		}
	}
	return len(b), nil
}

// end writes what waits.
func (w *pseudonymWriter) end() error {
	if len(w.waiting) == 0 {
		return nil
	}
	out, err := w.hide(w.waiting)
	if err == nil {
		_, err = w.ResponseWriter.Write(out)
	}
	w.waiting = nil
	return err
}

// hasIDs reports whether an answer may name accounts. Streams of events are looked at message
// by message, and what is downloaded is evidence.
func hasIDs(h http.Header) bool {
	return strings.Contains(h.Get("Content-Type"), "json") && h.Get("Content-Disposition") == ""
}

// runMax is more of what ids are made of in a row than an answer has: hashes have 64.
const runMax = 4096

// beginsID returns how many bytes at the end of text may belong to an id that goes on: the
// last run of what ids are made of.
func beginsID(text []byte) int {
	n := 0
	for n < len(text) {
		if c := text[len(text)-1-n]; c != '-' && (c < '0' || c > '9') && (c < 'a' || c > 'z') {
			return n
		}
		if n++; n > runMax {
			return 0
		}
	}
	return n
}
