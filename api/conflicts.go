package api

import (
	"net/http"
	"regexp"
	"time"

	"firemode/collections"

	"github.com/danielgtaylor/huma/v2"
	"github.com/pocketbase/dbx"
)

func (s *service) bindConflicts(api huma.API) {
	register(api, huma.Operation{
		OperationID: "list-all-conflicts", Method: http.MethodGet, Path: "/v1/conflicts", Tags: []string{"sessions"},
		Summary: "List the conflicts of all test sessions that the caller may see",
		Description: "A conflict is a field that holds more than one value because its authors did not see each other's. In the order in which they first came up, newest first; one that comes up again keeps its place. Open ones unless status says otherwise; a resolved one stays in the list. " +
			"The values and who wrote them: GET /v1/tests/sessions/{id}/conflicts?path=…; decide one: POST /v1/tests/sessions/{id}/conflicts/resolve.",
	}, (*call).listAllConflicts)
}

type listAllConflictsInput struct {
	PageInput
	Status     string `query:"status" enum:"open,resolved,all" default:"open"`
	BuildingID string `query:"building_id" maxLength:"64"`
	SessionID  string `query:"session_id" maxLength:"64"`
	Policy     string `query:"policy" enum:"worst,mv,lww,any,min,max" doc:"Only fields that are read by this policy"`
	Path       string `query:"path" maxLength:"256" doc:"Only fields whose document path begins with this"`
}

// listedConflict is a conflict in the list over all sessions.
type listedConflict struct {
	SessionID   string     `json:"session_id"`
	SessionName string     `json:"session_name"`
	BuildingID  string     `json:"building_id"`
	Path        string     `json:"path" example:"items/FE-001/result"`
	Policy      string     `json:"policy" doc:"By which the field is read meanwhile"`
	Values      int64      `json:"values" doc:"How many stand"`
	OpenedAt    time.Time  `json:"opened_at" doc:"By the server's clock; of the last time, when it was resolved and came up again"`
	ChangedAt   time.Time  `json:"changed_at"`
	ResolvedAt  *time.Time `json:"resolved_at" doc:"Null while it is open"`
}

// conflictRow is a row of the query.
type conflictRow struct {
	ID         string `db:"id"`
	Session    string `db:"session"`
	Name       string `db:"session_name"`
	Building   string `db:"building_id"`
	Path       string `db:"path"`
	Policy     string `db:"policy"`
	Values     int64  `db:"value_count"`
	OpenedAt   int64  `db:"opened_at"`
	ChangedAt  int64  `db:"changed_at"`
	ResolvedAt int64  `db:"resolved_at"`
}

// rowNumber matches the ids of tables that are no collections.
var rowNumber = regexp.MustCompile(`^[1-9][0-9]{0,17}$`)

func (c *call) listAllConflicts(in *listAllConflictsInput) (*pageOutput[listedConflict], error) {
	query, err := c.visible(collections.TestSessions)
	if err != nil {
		return nil, err
	}
	l := listing{name: "conflicts", id: "c.id", ids: rowNumber, order: newestFirst, filters: []any{in.Status, in.BuildingID, in.SessionID, in.Policy, in.Path}}
	if in.Status != "all" {
		op := map[string]string{"open": "=", "resolved": "<>"}[in.Status]
		l.where = append(l.where, dbx.NewExp("c.resolved_at "+op+" 0"))
	}
	for name, value := range map[string]string{column(collections.TestSessions, collections.FieldBuildingID): in.BuildingID,
		column(collections.TestSessions, collections.FieldID): in.SessionID, "c.policy": in.Policy} {
		if value != "" {
			l.where = append(l.where, dbx.HashExp{name: value})
		}
	}
	if in.Path != "" {
		l.where = append(l.where, dbx.NewExp("substr(c.path, 1, length({:path})) = {:path}", dbx.Params{"path": in.Path}))
	}
	query.InnerJoin(collections.TableCRDTDocs+" d", dbx.NewExp("d.key = {{"+collections.TestSessions+"}}.id")).
		InnerJoin(collections.TableCRDTConflicts+" c", dbx.NewExp("c.doc = d.id")).
		Select("CAST(c.id AS TEXT) AS id", "d.key AS session", column(collections.TestSessions, collections.FieldSessionName),
			column(collections.TestSessions, collections.FieldBuildingID), "c.path", "c.policy", "c.value_count", "c.opened_at", "c.changed_at", "c.resolved_at")
	var rows []conflictRow
	next, err := turn(query, in.PageInput, l, &rows, func(r conflictRow) string { return r.ID })
	if err != nil {
		return nil, err
	}
	return pageOf(rows, next, func(r conflictRow) (listedConflict, error) {
		v := listedConflict{SessionID: r.Session, SessionName: r.Name, BuildingID: r.Building, Path: r.Path, Policy: r.Policy, Values: r.Values,
			OpenedAt: time.UnixMilli(r.OpenedAt).UTC(), ChangedAt: time.UnixMilli(r.ChangedAt).UTC()}
		if r.ResolvedAt > 0 {
			at := time.UnixMilli(r.ResolvedAt).UTC()
			v.ResolvedAt = &at
		}
		return v, nil
	})
}
