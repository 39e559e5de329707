package hooks

import "github.com/pocketbase/pocketbase/core"

// Register binds every hook of FireMode to app.
func Register(app core.App) {
	registerGuards(app)
	registerAudit(app)
}
