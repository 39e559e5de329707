package adminui

import (
	"net/http"
	"strings"

	"firemode/collections"

	"github.com/pocketbase/pocketbase/core"
	"github.com/pocketbase/pocketbase/tools/hook"
	"github.com/pocketbase/pocketbase/tools/security"
)

// routeCheck decides about one route. It admits by calling e.Next.
type routeCheck func(e *core.RequestEvent, s subject) error

// guardedRoutes lists every route that a restricted superuser may call. A
// pattern that is not here is refused.
var guardedRoutes = map[string]routeCheck{
	"GET /api/collections/{collection}/records":                 listRecords,
	"GET /api/collections/{collection}/records/{id}":            viewRecord,
	"GET /api/files/{collection}/{recordId}/{filename}":         downloadFile,
	"POST /api/files/token":                                     admit, // each download is checked
	"GET /api/realtime":                                         admit, // carries nothing until subscribed
	"POST /api/realtime":                                        admit, // topics are checked by the subscribe hook
	"GET /api/health":                                           admit,
	"GET /api/collections":                                      admit, // filtered by the list hook
	"GET /api/collections/meta/scaffolds":                       answer(map[string]any{}),
	"GET /api/collections/meta/oauth2-providers":                answer([]any{}),
	"GET /api/settings":                                         publicSettings,
	"GET " + summaryPath:                                        admit,
	"POST " + revealPath:                                        admit, // asks for the role itself
	"GET /api/collections/{collection}/auth-methods":            ownCollection,
	"POST /api/collections/{collection}/auth-refresh":           ownCollection,
	"POST /api/collections/{collection}/auth-with-password":     ownCollection,
	"POST /api/collections/{collection}/auth-with-otp":          ownCollection,
	"POST /api/collections/{collection}/request-otp":            ownCollection,
	"POST /api/collections/{collection}/request-password-reset": ownCollection,
	"POST /api/collections/{collection}/confirm-password-reset": ownCollection,
	"POST /v1/{path...}":                                        logout,
}

// registerGuard holds restricted superusers to guardedRoutes.
func registerGuard(app core.App) {
	app.OnServe().Bind(&hook.Handler[*core.ServeEvent]{
		Id: "firemode.adminui.guard",
		Func: func(se *core.ServeEvent) error {
			se.Router.Bind(&hook.Handler[*core.RequestEvent]{
				Id: "firemode.adminui.guard", Priority: priorityGuard, Func: guard,
			})
			return se.Next()
		},
	})
}

func guard(e *core.RequestEvent) error {
	bearer, held := restricted(e.Auth)
	if holder, ok := restricted(fileTokenRecord(e)); ok {
		// A file token stands beside the bearer token, and PocketBase asks only
		// whether its owner is a superuser. Both must be admitted.
		if err := checkFileToken(e, holder); err != nil {
			return err
		}
	}
	if !held {
		return e.Next()
	}
	if strings.HasPrefix(e.Request.Pattern, "GET /_/") {
		return e.Next() // the UI's own files are the same for everybody
	}
	check, ok := guardedRoutes[e.Request.Pattern]
	if !ok {
		return refuse(e)
	}
	return check(e, bearer)
}

// refuse says no without saying what is there.
func refuse(e *core.RequestEvent) error {
	return e.ForbiddenError("Your role does not allow this.", nil)
}

// logout admits the end of one's own session, and nothing else of /v1.
func logout(e *core.RequestEvent, _ subject) error {
	if strings.TrimRight(e.Request.URL.Path, "/") != "/v1/auth/logout" {
		return refuse(e)
	}
	return e.Next()
}

func admit(e *core.RequestEvent, _ subject) error { return e.Next() }

// answer replaces what the UI loads at login but restricted roles cannot use.
func answer(body any) routeCheck {
	return func(e *core.RequestEvent, _ subject) error { return e.JSON(http.StatusOK, body) }
}

// publicSettings is the part of the settings that the UI draws its frame with.
func publicSettings(e *core.RequestEvent, _ subject) error {
	meta := e.App.Settings().Meta
	return e.JSON(http.StatusOK, map[string]any{"meta": map[string]any{
		"appName": meta.AppName, "appURL": meta.AppURL, "accentColor": meta.AccentColor, "hideControls": true,
	}})
}

func ownCollection(e *core.RequestEvent, _ subject) error {
	c, err := pathCollection(e)
	if err != nil || c.Name != collections.Superusers {
		return refuse(e)
	}
	return e.Next()
}

func listRecords(e *core.RequestEvent, s subject) error {
	c, err := pathCollection(e)
	if err != nil || !s.may(c.Name, actionList) || !s.mayQuery(e.App, c, e.Request.URL.Query()) {
		return refuse(e)
	}
	return e.Next()
}

func viewRecord(e *core.RequestEvent, s subject) error {
	c, err := pathCollection(e)
	if err != nil {
		return refuse(e)
	}
	own := c.Name == collections.Superusers && e.Request.PathValue("id") == s.id
	if !own && !s.may(c.Name, actionView) || !s.mayQuery(e.App, c, e.Request.URL.Query()) {
		return refuse(e)
	}
	return e.Next()
}

func downloadFile(e *core.RequestEvent, s subject) error {
	c, err := pathCollection(e)
	if err != nil || !s.may(c.Name, actionFile) {
		return refuse(e)
	}
	return e.Next()
}

// checkFileToken admits a restricted superuser's file token for downloads of
// the collections that the table opens, and nowhere else (backups take one too).
func checkFileToken(e *core.RequestEvent, s subject) error {
	c, err := pathCollection(e)
	if err != nil || !strings.HasPrefix(e.Request.Pattern, "GET /api/files/") || !s.may(c.Name, actionFile) {
		return refuse(e)
	}
	return nil
}

// fileTokenRecord returns the owner of the file token in the address, or nil.
func fileTokenRecord(e *core.RequestEvent) *core.Record {
	token := e.Request.URL.Query().Get("token")
	if token == "" {
		return nil
	}
	// The claims are only peeked at to spare users the look-up below; the
	// signature is checked there.
	claims, err := security.ParseUnverifiedJWT(token)
	if err != nil || claims[core.TokenClaimType] != core.TokenTypeFile {
		return nil
	}
	superusers, err := e.App.FindCachedCollectionByNameOrId(collections.Superusers)
	if err != nil || claims[core.TokenClaimCollectionId] != superusers.Id {
		return nil
	}
	record, err := e.App.FindAuthRecordByToken(token, core.TokenTypeFile)
	if err != nil {
		return nil // the download route refuses it
	}
	return record
}

// pathCollection is the collection that the route names, found the way
// PocketBase finds it: by id, or by name in any case.
func pathCollection(e *core.RequestEvent) (*core.Collection, error) {
	return e.App.FindCachedCollectionByNameOrId(e.Request.PathValue("collection"))
}
