package adminui

import (
	"github.com/pocketbase/pocketbase/core"
	"github.com/pocketbase/pocketbase/tools/hook"
)

// sqlRoutes run SQL of the caller's choice. The second one only reads, but it
// reads everything, past hidden fields and sealed values' tokens.
var sqlRoutes = map[string]bool{
	"POST /api/sql": true,
	"POST /api/collections/meta/dry-run-view": true,
}

// truncateRoute deletes all records of a collection past every audit entry.
// PocketBase has no request hook for it.
const truncateRoute = "DELETE /api/collections/{collection}/truncate"

func (c Config) schemaEdits() bool { return c.Development && c.AllowSchemaEdits }

const (
	sqlRefusal      = "The SQL console is switched off. It is available in development, with FIREMODE_ALLOW_SCHEMA_EDIT=true."
	schemaRefusal   = "The schema is part of the program and changes with its version. Collections cannot be edited here."
	truncateRefusal = "Compliance records cannot be deleted as a whole."
)

// registerSchemaGuard keeps SQL and schema edits out of a running system, for
// superusers of every role.
func registerSchemaGuard(app core.App, config Config) {
	app.OnServe().Bind(&hook.Handler[*core.ServeEvent]{
		Id: "firemode.adminui.sql",
		Func: func(se *core.ServeEvent) error {
			se.Router.Bind(&hook.Handler[*core.RequestEvent]{
				Id: "firemode.adminui.sql", Priority: priorityGuard + 1,
				Func: func(e *core.RequestEvent) error {
					switch {
					case sqlRoutes[e.Request.Pattern] && !config.schemaEdits():
						return e.ForbiddenError(sqlRefusal, nil)
					case e.Request.Pattern == truncateRoute && !config.schemaEdits():
						return e.ForbiddenError(truncateRefusal, nil)
					}
					return e.Next()
				},
			})
			return se.Next()
		},
	})
	if config.schemaEdits() {
		return
	}
	refuseEdit := func(e *core.CollectionRequestEvent) error { return e.ForbiddenError(schemaRefusal, nil) }
	const id = "firemode.adminui.schema"
	// One Handler value each: a Handler bound to two hooks fires on one only.
	app.OnCollectionCreateRequest().Bind(&hook.Handler[*core.CollectionRequestEvent]{Id: id, Priority: priorityWithhold, Func: refuseEdit})
	app.OnCollectionUpdateRequest().Bind(&hook.Handler[*core.CollectionRequestEvent]{Id: id, Priority: priorityWithhold, Func: refuseEdit})
	app.OnCollectionDeleteRequest().Bind(&hook.Handler[*core.CollectionRequestEvent]{Id: id, Priority: priorityWithhold, Func: refuseEdit})
	app.OnCollectionsImportRequest().Bind(&hook.Handler[*core.CollectionsImportRequestEvent]{
		Id: id, Priority: priorityWithhold,
		Func: func(e *core.CollectionsImportRequestEvent) error { return e.ForbiddenError(schemaRefusal, nil) },
	})
}
