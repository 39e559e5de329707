package adminui

import (
	"embed"
	"net/http"
	"strings"
	"time"

	"firemode/audit"
	"firemode/pgsync"

	"github.com/pocketbase/pocketbase/apis"
	"github.com/pocketbase/pocketbase/core"
	"github.com/pocketbase/pocketbase/tools/hook"
)

// extensionsPath is where PocketBase serves the files of extensions.
const extensionsPath = "/_/extensions/"

// extensions are the directories under ui/ and the names they are served by.
// Each has a main.js; PocketBase joins these in this order into one script.
var extensions = []struct{ name, dir string }{
	{"firemode-sealed", "ui/sealed"},
	{"firemode-roles", "ui/roles"},
	{"firemode", "ui/compliance"},
}

// configPath tells the extensions what the server allows.
const configPath = extensionsPath + "firemode/config.json"

// priorityHeaders runs before every other middleware of ours, so that refusals
// carry the headers as well.
const priorityHeaders = apis.DefaultLoadAuthTokenMiddlewarePriority - 5

// priorityGuard runs right after the revocation check, which stands at +1.
const priorityGuard = apis.DefaultLoadAuthTokenMiddlewarePriority + 2

// contentSecurityPolicy of the admin UI: nothing but this server. Styles are
// inline because PocketBase's UI sets them on elements; previews are blobs.
const contentSecurityPolicy = "default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; " +
	"img-src 'self' data: blob:; media-src 'self' blob:; object-src 'self' blob:; connect-src 'self'; " +
	"base-uri 'self'; form-action 'self'; frame-ancestors 'none'"

//go:embed ui
var uiFiles embed.FS

// Config is what the admin UI needs from the program. The zero value is the
// safe one: no SQL console, no schema edits, mirror shown as off.
type Config struct {
	// Development opens the SQL console to unrestricted superusers.
	Development bool
	// AllowSchemaEdits lets unrestricted superusers change collections. It
	// counts only together with Development.
	AllowSchemaEdits bool
	// Mirror reports the state of the PostgreSQL mirror, without waiting for
	// it: (*pgsync.Worker).Status. Nil means off.
	Mirror func() pgsync.Status
	// Actor says on whose account a reveal of a sealed value goes into the audit
	// log. Nil takes the signed-in superuser, the address and the user agent.
	Actor func(e *core.RequestEvent) audit.Actor
	// Now is the clock of the summary and of the limit on reveals. Nil means time.Now.
	Now func() time.Time
}

func (c Config) withDefaults() Config {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Actor == nil {
		c.Actor = superuserActor
	}
	return c
}

// Register adds the Compliance section, its data routes and the guard to app.
// It MUST be called before the app serves.
func Register(app core.App, config Config) {
	config = config.withDefaults()
	registerGuard(app)
	registerWithhold(app)
	registerRealtimeGuard(app)
	registerCollectionsMeta(app)
	registerSchemaGuard(app, config)
	app.OnServe().Bind(&hook.Handler[*core.ServeEvent]{
		Id: "firemode.adminui.serve",
		Func: func(se *core.ServeEvent) error {
			for _, x := range extensions {
				se.UIExtensions = append(se.UIExtensions, core.UIExtension{Name: x.name, FS: apis.MustSubFS(uiFiles, x.dir)})
			}
			se.Router.Bind(headers())
			bindConfig(se, config)
			bindCompliance(se, config)
			bindReveal(se, config)
			return se.Next()
		},
	})
}

// headers sets the policy and the caching of the admin UI's answers.
func headers() *hook.Handler[*core.RequestEvent] {
	return &hook.Handler[*core.RequestEvent]{
		Id: "firemode.adminui.headers", Priority: priorityHeaders,
		Func: func(e *core.RequestEvent) error {
			if strings.HasPrefix(e.Request.URL.Path, "/_/") {
				h := e.Response.Header()
				h.Set("Content-Security-Policy", contentSecurityPolicy)
				h.Set("Referrer-Policy", "same-origin")
				if strings.HasPrefix(e.Request.URL.Path, extensionsPath[:len(extensionsPath)-1]) {
					// PocketBase would keep these fixed addresses for 14 days,
					// so a browser would run the old page after an upgrade.
					h.Set("Cache-Control", "no-cache")
				}
			}
			return e.Next()
		},
	}
}

// bindConfig tells the extensions what this process allows. It holds nothing
// secret, because the page needs it before anybody has logged in.
func bindConfig(se *core.ServeEvent, config Config) {
	se.Router.GET(configPath, func(e *core.RequestEvent) error {
		return e.JSON(http.StatusOK, map[string]bool{
			"sqlConsole":  config.Development,
			"schemaEdits": config.schemaEdits(),
		})
	}).Bind(apis.SkipSuccessActivityLog())
}
