package adminui

import (
	"github.com/pocketbase/pocketbase/core"
	"github.com/pocketbase/pocketbase/tools/hook"
)

// priorityWithhold wraps every other enrich hook: what it hides after e.Next
// stays hidden, whatever the others revealed.
const priorityWithhold = -1000

// registerWithhold hides in answers, expands and realtime messages what the
// access table keeps from a restricted superuser. PocketBase reveals all hidden
// fields to superusers in the innermost step, hence after e.Next.
func registerWithhold(app core.App) {
	app.OnRecordEnrich().Bind(&hook.Handler[*core.RecordEnrichEvent]{
		Id: "firemode.adminui.withhold", Priority: priorityWithhold,
		Func: func(e *core.RecordEnrichEvent) error {
			record := e.Record
			err := e.Next()
			if e.RequestInfo == nil {
				return err
			}
			if s, ok := restricted(e.RequestInfo.Auth); ok {
				record.Hide(s.withheld(record.Collection())...)
			}
			return err
		},
	})
}
