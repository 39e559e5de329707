package adminui

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"firemode/collections"

	"github.com/pocketbase/pocketbase/core"
)

// summaryPath is the data behind the overview page.
const summaryPath = "/api/firemode/compliance/summary"

// summaryTimeout bounds the whole summary; it answers from counts, so a slower
// one means that the database is in trouble.
const summaryTimeout = 10 * time.Second

// bindCompliance mounts the data routes of the Compliance section.
func bindCompliance(se *core.ServeEvent, config Config) {
	se.Router.GET(summaryPath, func(e *core.RequestEvent) error {
		organisation, err := complianceScope(e)
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(e.Request.Context(), summaryTimeout)
		defer cancel()
		s, err := summarise(ctx, e.App, config, organisation)
		if err != nil {
			return fmt.Errorf("summarise compliance: %w", err)
		}
		e.Response.Header().Set("Cache-Control", "no-store")
		return e.JSON(http.StatusOK, s)
	})
}

// complianceScope admits superusers of every role to all organisations (the
// empty scope) and active users with the role officer to their own.
func complianceScope(e *core.RequestEvent) (organisation string, err error) {
	switch {
	case e.Auth == nil:
		return "", e.UnauthorizedError("Log in to see the compliance summary.", nil)
	case e.Auth.IsSuperuser():
		return "", nil
	case e.Auth.Collection().Name == collections.Users &&
		e.Auth.GetBool(collections.FieldIsActive) &&
		e.Auth.GetString(collections.FieldRole) == collections.RoleOfficer &&
		e.Auth.GetString(collections.FieldOrganisationID) != "":
		return e.Auth.GetString(collections.FieldOrganisationID), nil
	}
	return "", e.ForbiddenError("The compliance summary is for compliance officers.", nil)
}
