package hooks

import "github.com/pocketbase/pocketbase/core"

// Deps are the parts that hooks work with. Both are required.
type Deps struct {
	Hasher *Hasher
	Tokens *Tokens
}

// Register binds every hook of FireMode to app.
func Register(app core.App, d Deps) {
	registerIDs(app)
	registerPasswords(app, d.Hasher)
	registerTokens(app, d.Tokens)
	registerRevocation(app, d.Tokens)
	registerPseudonyms(app)
	registerSealed(app)
	registerGuards(app)
	registerDoors(app)
	registerQueries(app)
	registerAudit(app)
	registerAdministrationAudit(app)
}
