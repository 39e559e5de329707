package hooks

import (
	"firemode/collections"

	validation "github.com/pocketbase/ozzo-validation/v4"
	"github.com/pocketbase/pocketbase/core"
	"github.com/pocketbase/pocketbase/tools/hook"
	"github.com/pocketbase/pocketbase/tools/types"
)

// documentFields are the columns of a test session that the merge service
// materialises from the operation log. It writes them by SQL; a save through
// PocketBase never changes them.
var documentFields = []string{collections.FieldSessionData, collections.FieldVectorClock, collections.FieldServerSeq}

// registerGuards keeps saves from overwriting what they did not change, fills
// in what the server decides and refuses edits of the merged document.
func registerGuards(app core.App) {
	// PocketBase writes every column of a record, so of two people who edit
	// different fields the second would put back what the first one changed.
	app.OnRecordUpdate(ourNames...).Bind(&hook.Handler[*core.RecordEvent]{
		Id: "firemode.guard.changed-columns-only", Priority: priorityGuard,
		Func: func(e *core.RecordEvent) error {
			// A record that this process created has no loaded state to compare
			// with: every field that was set back to its zero value would count as
			// unchanged.
			e.Record.IgnoreUnchangedFields(e.Record.Original().Id != "")
			return e.Next()
		},
	})
	app.OnRecordCreateRequest(ourNames...).Bind(&hook.Handler[*core.RecordRequestEvent]{
		Id: "firemode.guard.created-by", Priority: priorityGuard,
		Func: func(e *core.RecordRequestEvent) error {
			for _, by := range []string{collections.FieldCreatedBy, collections.FieldGrantedBy} {
				if e.Collection.Fields.GetByName(by) != nil {
					e.Record.Set(by, userID(e.Auth))
				}
			}
			return e.Next()
		},
	})
	for name, on := range map[string]*hook.TaggedHook[*core.RecordEvent]{
		"create": app.OnRecordCreate(ourNames...), "update": app.OnRecordUpdate(ourNames...),
	} {
		on.Bind(&hook.Handler[*core.RecordEvent]{Id: "firemode.guard.text." + name, Priority: priorityGuard, Func: refuseUnfitText})
	}
	app.OnRecordAuthRefreshRequest().Bind(&hook.Handler[*core.RecordAuthRefreshRequestEvent]{
		Id: "firemode.guard.refresh-body", Priority: priorityGuard,
		Func: func(e *core.RecordAuthRefreshRequestEvent) error {
			// PocketBase reads the body late and takes a malformed one for a fault of its own.
			if _, err := e.RequestInfo(); err != nil {
				return e.BadRequestError("The body is not valid.", err)
			}
			return e.Next()
		},
	})
	app.OnRecordCreate(collections.Buildings).Bind(&hook.Handler[*core.RecordEvent]{
		Id: "firemode.buildings.defaults", Priority: priorityGuard,
		Func: func(e *core.RecordEvent) error {
			if e.Record.GetString(collections.FieldComplianceStatus) == "" {
				e.Record.Set(collections.FieldComplianceStatus, "pending")
			}
			return e.Next()
		},
	})
	app.OnRecordCreate(collections.TestSessions).Bind(&hook.Handler[*core.RecordEvent]{
		Id: "firemode.test_sessions.start-empty", Priority: priorityGuard,
		Func: func(e *core.RecordEvent) error {
			if e.Record.GetString(collections.FieldStatus) == "" {
				e.Record.Set(collections.FieldStatus, collections.SessionActive)
			}
			e.Record.Set(collections.FieldSessionData, types.JSONRaw("{}"))
			e.Record.Set(collections.FieldVectorClock, types.JSONRaw("{}"))
			e.Record.Set(collections.FieldServerSeq, 0)
			return e.Next()
		},
	})
	app.OnRecordUpdate(collections.TestSessions).Bind(&hook.Handler[*core.RecordEvent]{
		Id: "firemode.test_sessions.merge-only", Priority: priorityGuard,
		Func: func(e *core.RecordEvent) error {
			loaded := e.Record.Original()
			for _, name := range documentFields {
				if loaded.Id != "" && e.Record.GetString(name) != loaded.GetString(name) {
					return validation.Errors{name: validation.NewError("validation_merge_only",
						"The test session's document changes through merge only: POST /v1/tests/sessions/{id}/results.")}
				}
			}
			return e.Next()
		},
	})
	app.OnRecordUpdateExecute(collections.TestSessions).Bind(&hook.Handler[*core.RecordEvent]{
		Id: "firemode.test_sessions.keep-document", Priority: priorityGuard,
		Func: func(e *core.RecordEvent) error {
			return inTx(&e.App, func() error {
				// The document may have been merged since the record was loaded.
				stored, err := e.App.FindRecordById(collections.TestSessions, e.Record.Id)
				if err != nil {
					return err
				}
				for _, name := range documentFields {
					e.Record.SetRaw(name, stored.GetRaw(name))
				}
				return e.Next()
			})
		},
	})
}

// priorityGuard runs before PocketBase validates a record.
const priorityGuard = -95

var ourNames = func() (names []string) {
	for _, c := range collections.All() {
		names = append(names, c.Name)
	}
	return names
}()

// userID is the id to store in a relation to users: empty for superusers and guests.
func userID(auth *core.Record) string {
	if auth == nil || auth.Collection().Name != collections.Users {
		return ""
	}
	return auth.Id
}
