package hooks

import (
	"bytes"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"firemode/collections"

	"github.com/pocketbase/dbx"
	validation "github.com/pocketbase/ozzo-validation/v4"
	"github.com/pocketbase/pocketbase/core"
	"github.com/pocketbase/pocketbase/tools/hook"
)

// madeByServer are the records that only the program's own code may make: an upload whose
// bytes were hashed, a decision with its rule, a rule that was checked, an entry of the log.
var madeByServer = []string{
	collections.Evidence, collections.Classifications, collections.Rules, collections.AuditLog, collections.IdempotencyKeys,
}

// registerDoors closes what the record API, batch and the admin UI would open to an
// administrator, whom no access rule holds: deleting compliance records, making records
// that prove something by hand, and moving a state past its table of moves.
func registerDoors(app core.App) {
	app.OnRecordDeleteRequest(ourNames...).Bind(&hook.Handler[*core.RecordRequestEvent]{
		Id: "firemode.doors.delete", Priority: priorityDoor,
		Func: func(e *core.RecordRequestEvent) error {
			return e.ForbiddenError("Compliance records are not deleted. A user is disabled, a building is deleted through /v1.", nil)
		},
	})
	app.OnRecordCreateRequest(madeByServer...).Bind(&hook.Handler[*core.RecordRequestEvent]{
		Id: "firemode.doors.create", Priority: priorityDoor,
		Func: func(e *core.RecordRequestEvent) error {
			return e.ForbiddenError("Such a record is made by the program only.", nil)
		},
	})
	app.OnRecordUpdateRequest(collections.TestSessions).Bind(&hook.Handler[*core.RecordRequestEvent]{
		Id: "firemode.doors.session-status", Priority: priorityDoor,
		Func: func(e *core.RecordRequestEvent) error {
			if e.Record.GetString(collections.FieldStatus) != e.Record.Original().GetString(collections.FieldStatus) {
				return e.BadRequestError("A session is reviewed, reopened and locked through /v1.", validation.Errors{
					collections.FieldStatus: validation.NewError("validation_status", "Changes through /v1/tests/sessions/{id}/review, reopen and lock only."),
				})
			}
			return e.Next()
		},
	})
	app.OnRecordUpdateRequest(collections.Defects).Bind(&hook.Handler[*core.RecordRequestEvent]{
		Id: "firemode.doors.defect-state", Priority: priorityDoor,
		Func: func(e *core.RecordRequestEvent) error {
			states := collections.DefectStates()
			from := slices.Index(states, e.Record.Original().GetString(collections.FieldState))
			to := slices.Index(states, e.Record.GetString(collections.FieldState))
			if to != from && to != from+1 {
				return e.BadRequestError("A defect passes its states one at a time.", validation.Errors{
					collections.FieldState: validation.NewError("validation_state", "The next state only; none is skipped and none comes again."),
				})
			}
			return e.Next()
		},
	})
	app.OnRecordCreate(collections.TestSessions).Bind(&hook.Handler[*core.RecordEvent]{
		Id: "firemode.doors.session-id", Priority: priorityGuard,
		Func: refuseUsedSessionID,
	})
}

// priorityDoor comes before a request's transaction and audit entry.
const priorityDoor = priorityAttribute - 10

// refuseUsedSessionID keeps a new session from taking over the operation log of one that is
// gone.
func refuseUsedSessionID(e *core.RecordEvent) error {
	if e.Record.Id == "" {
		return e.Next()
	}
	var one int
	err := e.App.DB().Select("(1)").From(collections.TableCRDTDocs).Where(dbx.HashExp{"key": e.Record.Id}).Row(&one)
	if errors.Is(err, sql.ErrNoRows) {
		return e.Next()
	}
	if err != nil {
		return fmt.Errorf("look for an operation log: %w", err)
	}
	return validation.Errors{collections.FieldID: validation.NewError("validation_not_unique", "An operation log has this id already.")}
}

// refuseUnfitText refuses what PostgreSQL cannot hold, a NUL character or bytes that are no
// UTF-8, in any text of the record: it would never reach the mirror.
func refuseUnfitText(e *core.RecordEvent) error {
	for _, f := range e.Record.Collection().Fields {
		text := e.Record.GetString(f.GetName())
		nul := strings.ContainsRune(text, 0)
		switch f.(type) {
		case *core.JSONField:
			nul = nul || escapedNUL([]byte(text))
		case *core.PasswordField:
			continue // stored as a hash
		}
		switch {
		case nul:
			return validation.Errors{f.GetName(): validation.NewError("validation_nul", "Must not contain the NUL character.")}
		case !utf8.ValidString(text):
			return validation.Errors{f.GetName(): validation.NewError("validation_utf8", "Must be valid UTF-8.")}
		}
	}
	return e.Next()
}

// escapedNUL reports whether JSON text holds the escape of NUL, as against an escaped
// backslash in front of the letter u.
func escapedNUL(text []byte) bool {
	for {
		i := bytes.Index(text, []byte(`\u0000`))
		if i < 0 {
			return false
		}
		backslashes := len(text[:i+1]) - len(bytes.TrimRight(text[:i+1], `\`))
		if backslashes%2 == 1 {
			return true
		}
		text = text[i+1:]
	}
}
