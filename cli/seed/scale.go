package seed

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"firemode/collections"

	"github.com/pocketbase/pocketbase/core"
)

// ScaleMax bounds the buildings of one directory to what one was measured with.
const ScaleMax = 1_000_000

// scaleChunk is how many buildings are planned at once.
const scaleChunk = 500

// Scale stores n buildings for load tests, each with one empty session, under
// an organisation of their own with one manager (load.manager) and one inspector
// (load.inspector) who has access to all. A larger n later adds the difference.
func Scale(ctx context.Context, app core.App, n int, c Config) (Report, error) {
	c = c.withDefaults()
	if n < 1 || n > ScaleMax {
		return Report{}, fmt.Errorf("%d buildings: must be 1 to %d", n, ScaleMax)
	}
	m, err := remember(app, paramScale, c)
	if err != nil {
		return Report{}, err
	}
	const accounts = 3
	w := newWriter(ctx, app, "seed --scale", accounts+3*n, c)
	before, err := w.auditEntries()
	if err != nil {
		return Report{}, err
	}
	organisation := m.id("organisation", "load", m.signedUp())
	manager, inspector := m.id("user", "load.manager", m.signedUp()), m.id("user", "load.inspector", m.signedUp())
	if err := w.write([]row{{
		collection: collections.Organisations, id: organisation, at: m.signedUp(),
		values: map[string]any{collections.FieldName: "Load Test Services", collections.FieldKind: "contractor"},
	}}); err != nil {
		return Report{}, err
	}
	account := func(id, username, role string) row {
		return row{collection: collections.Users, id: id, at: m.signedUp(), password: DemoPassword, values: map[string]any{
			collections.FieldUsername: username, collections.FieldEmail: username + "@firemode.test", "verified": true, collections.FieldRole: role,
			collections.FieldFullName: username, collections.FieldOrganisationID: organisation, collections.FieldIsActive: true,
		}}
	}
	if err := w.write([]row{account(manager, "load.manager", collections.RoleManager), account(inspector, "load.inspector", collections.RoleInspector)}); err != nil {
		return Report{}, err
	}
	for from := 0; from < n; from += scaleChunk {
		buildings, grants, sessions := m.scaleRows(from, min(from+scaleChunk, n), organisation, manager, inspector)
		for _, rows := range [][]row{buildings, grants, sessions} {
			if err := w.write(rows); err != nil {
				return Report{}, err
			}
		}
	}
	report, err := w.report(m, before)
	report.Logins = []Login{{"load.manager", collections.RoleManager, "API"}, {"load.inspector", collections.RoleInspector, "API"}}
	return report, err
}

// scaleRows plans buildings from..until-1, spread over places, classes and states.
func (m maker) scaleRows(from, until int, organisation, manager, inspector string) (buildings, grants, sessions []row) {
	statuses := []string{"compliant", "compliant", "under_review", "non_compliant", "pending"}
	for i := from; i < until; i++ {
		name := "Load building " + strconv.Itoa(i+1)
		at := m.signedUp().Add(time.Duration(i) * time.Second)
		like, r := places[i%len(places)], m.rand("load", name)
		id := m.id("building", name, at)
		buildings = append(buildings, row{collection: collections.Buildings, id: id, at: at, values: map[string]any{
			collections.FieldName: name, collections.FieldAddress: strconv.Itoa(i+1) + " Load Street", collections.FieldBuildingType: like.kind,
			collections.FieldOrganisationID: organisation, collections.FieldComplianceStatus: statuses[r.IntN(len(statuses))],
			collections.FieldJurisdiction: like.jurisdiction, collections.FieldTimeZone: like.zone,
			collections.FieldContactName: like.contact, collections.FieldContactPhone: like.phone,
			collections.FieldMetadata: map[string]any{"storeys": 1 + r.IntN(40)},
		}})
		grants = append(grants, row{collection: collections.BuildingGrants, id: m.id("grant", name, at), at: at, values: map[string]any{
			collections.FieldBuildingID: id, collections.FieldUserID: inspector, collections.FieldStartsAt: at, collections.FieldGrantedBy: manager,
		}})
		sessions = append(sessions, row{collection: collections.TestSessions, id: m.id("session", name, at), at: at, values: map[string]any{
			collections.FieldBuildingID: id, collections.FieldSessionName: "Load session " + strconv.Itoa(i+1),
			collections.FieldStatus: collections.SessionActive, collections.FieldCreatedBy: inspector,
		}})
	}
	return buildings, grants, sessions
}
