package hooks

import (
	"fmt"

	"firemode/collections"

	"github.com/google/uuid"
	"github.com/pocketbase/pocketbase/core"
	"github.com/pocketbase/pocketbase/tools/hook"
)

// priorityIDs runs before PocketBase's own handler (-99), which would fill an
// empty id from the field's random pattern.
const priorityIDs = -100

// registerIDs gives every new record of ours a UUIDv7, so that ids sort by the
// time of creation. An id that the caller chose is kept; the field's pattern
// judges it.
func registerIDs(app core.App) {
	app.OnRecordCreate(ourNames...).Bind(&hook.Handler[*core.RecordEvent]{
		Id: "firemode.ids", Priority: priorityIDs,
		Func: func(e *core.RecordEvent) error {
			if e.Record.Id == "" {
				id, err := uuid.NewV7()
				if err != nil {
					return fmt.Errorf("make id: %w", err)
				}
				e.Record.Set(collections.FieldID, id.String())
			}
			return e.Next()
		},
	})
}
