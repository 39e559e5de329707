package hooks

import (
	"crypto/sha256"
	"encoding/hex"
	"reflect"
	"slices"

	"firemode/audit"
	"firemode/collections"

	"github.com/pocketbase/pocketbase/core"
	"github.com/pocketbase/pocketbase/tools/hook"
)

// Priorities of the handlers in this package. Lower runs earlier and wraps the rest.
const (
	// priorityAttribute opens the transaction of a record request. What is slow
	// and needs no database (password hashing) runs before it.
	priorityAttribute = -50
	// priorityAudit wraps the write of a record: PocketBase's own handlers and
	// the sealing of values run inside.
	priorityAudit = -90
)

// RequestIDKey is where the outermost middleware keeps the id of a request.
const RequestIDKey = "firemode.requestID"

// ActorOf returns who sent a request.
func ActorOf(e *core.RequestEvent) audit.Actor { return actor(e, e.Auth) }

// actor is the request e made by auth, which is nil for a guest.
func actor(e *core.RequestEvent, auth *core.Record) audit.Actor {
	a := audit.Actor{Role: "guest", IP: e.RealIP(), UserAgent: e.Request.UserAgent()}
	a.RequestID, _ = e.Get(RequestIDKey).(string)
	if auth == nil {
		return a
	}
	a.ID, a.Collection, a.Role = auth.Id, auth.Collection().Name, auth.GetString(collections.FieldRole)
	if auth.IsSuperuser() {
		role := a.Role
		if role == "" {
			role = collections.RoleAdmin
		}
		a.Role = "superuser:" + role
	}
	return a
}

// registerAudit writes one entry per create, update, delete and login, in the
// transaction of its effect.
func registerAudit(app core.App) {
	attribute := func(e *core.RecordRequestEvent) error {
		return inTx(&e.App, func() error {
			defer audit.Attribute(e.App, ActorOf(e.RequestEvent))()
			return e.Next()
		})
	}
	for name, on := range map[string]*hook.TaggedHook[*core.RecordRequestEvent]{
		"create": app.OnRecordCreateRequest(), "update": app.OnRecordUpdateRequest(), "delete": app.OnRecordDeleteRequest(),
	} {
		on.Bind(&hook.Handler[*core.RecordRequestEvent]{Id: "firemode.attribute." + name, Priority: priorityAttribute, Func: attribute})
	}

	record := func(action string) func(e *core.RecordEvent) error {
		return func(e *core.RecordEvent) error {
			if !audited(e.Record.Collection().Name) {
				return e.Next()
			}
			return inTx(&e.App, func() error { return saveAudited(e, action) })
		}
	}
	for action, on := range map[string]*hook.TaggedHook[*core.RecordEvent]{
		"create": app.OnRecordCreateExecute(), "update": app.OnRecordUpdateExecute(), "delete": app.OnRecordDeleteExecute(),
	} {
		on.Bind(&hook.Handler[*core.RecordEvent]{Id: "firemode.audit." + action, Priority: priorityAudit, Func: record(action)})
	}

	app.OnRecordAuthRequest().Bind(&hook.Handler[*core.RecordAuthRequestEvent]{
		Id: "firemode.audit.login", Priority: priorityAudit,
		Func: func(e *core.RecordAuthRequestEvent) error {
			if e.AuthMethod == "" {
				if e.Auth == nil || e.Auth.Id == e.Record.Id {
					return e.Next() // a refresh prolongs a login that is on record
				}
				if err := appendImpersonation(e); err != nil {
					return err
				}
				return e.Next()
			}
			if err := AppendLogin(e.RequestEvent, e.Record, e.AuthMethod); err != nil {
				return err
			}
			return e.Next()
		},
	})
}

// AppendLogin records that record logged in by method ("password", "otp", …).
func AppendLogin(e *core.RequestEvent, record *core.Record, method string) error {
	return e.App.RunInTransaction(func(tx core.App) error {
		defer audit.Attribute(tx, actor(e, record))()
		_, err := audit.Append(tx, audit.Entry{
			Action: "login", ResourceType: record.Collection().Name, ResourceID: record.Id,
			New: map[string]any{"method": method},
		})
		return err
	})
}

// appendImpersonation records that an administrator took a token of somebody
// else; what is done with it is on that person's account.
func appendImpersonation(e *core.RecordAuthRequestEvent) error {
	return e.App.RunInTransaction(func(tx core.App) error {
		defer audit.Attribute(tx, ActorOf(e.RequestEvent))()
		_, err := audit.Append(tx, audit.Entry{
			Action: "impersonate", ResourceType: e.Record.Collection().Name, ResourceID: e.Record.Id,
		})
		return err
	})
}

// audited says which collections have their saves on record: all that FireMode
// declares but the log itself and the cache of answers, and the superusers.
// PocketBase's one-time codes and the like are not records.
func audited(name string) bool {
	return name == collections.Superusers || slices.Contains(auditedNames, name)
}

var auditedNames = func() (names []string) {
	for _, c := range collections.All() {
		if c.Name != collections.AuditLog && c.Name != collections.IdempotencyKeys {
			names = append(names, c.Name)
		}
	}
	return names
}()

// saveAudited runs the write and appends its entry. An update that changes
// nothing leaves no entry.
func saveAudited(e *core.RecordEvent, action string) error {
	var before map[string]any
	if action != "create" {
		// Read again: Record.Original is what the caller loaded, which another
		// request may have changed since.
		stored, err := e.App.FindRecordById(e.Record.Collection(), e.Record.Id)
		if err != nil {
			return err
		}
		before = auditValues(stored)
	}
	passwordChanged := passwordSet(e.Record)
	if err := e.Next(); err != nil {
		return err
	}
	entry := audit.Entry{Action: action, ResourceType: e.Record.Collection().Name, ResourceID: e.Record.Id}
	switch action {
	case "create":
		entry.New = auditValues(e.Record)
	case "delete":
		entry.Old = before
	case "update":
		old, new := changed(before, auditValues(e.Record))
		if passwordChanged {
			new[collections.FieldPassword] = "changed"
		}
		if len(old) == 0 && len(new) == 0 {
			return nil
		}
		entry.Old, entry.New = old, new
	}
	_, err := audit.Append(e.App, entry)
	return err
}

func passwordSet(r *core.Record) bool {
	v, ok := r.GetRaw(core.FieldNamePassword).(*core.PasswordFieldValue)
	return ok && v.Plain != ""
}

// auditValues is a record as the log may show it: no password, no token key, no
// search digest, sealed values as the SHA-256 of their token. The materialised
// document is left out; its operations have their own log.
func auditValues(r *core.Record) map[string]any {
	values := map[string]any{}
	for _, f := range r.Collection().Fields {
		name := f.GetName()
		switch f := f.(type) {
		case *core.PasswordField, *core.AutodateField:
			continue
		case *collections.EncryptedField:
			if token := r.GetString(name + collections.TokenSuffix); token != "" {
				sum := sha256.Sum256([]byte(token))
				values[name] = "sha256:" + hex.EncodeToString(sum[:])
			} else {
				values[name] = ""
			}
			continue
		case *core.TextField:
			if f.Hidden {
				continue // token keys and blind indexes
			}
		}
		if name == collections.FieldSessionData || name == collections.FieldVectorClock {
			continue
		}
		values[name] = r.Get(name)
	}
	return values
}

// changed keeps the members in which two exports of a record differ.
func changed(before, after map[string]any) (old, new map[string]any) {
	old, new = map[string]any{}, map[string]any{}
	for name := range after {
		if !reflect.DeepEqual(before[name], after[name]) {
			old[name], new[name] = before[name], after[name]
		}
	}
	return old, new
}
