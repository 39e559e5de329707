package api

import (
	"net/http"
	"strings"
	"time"

	"firemode/collections"

	"github.com/danielgtaylor/huma/v2"
	"github.com/pocketbase/dbx"
	"github.com/pocketbase/pocketbase/core"
)

// building is a place under test as /v1 shows it.
type building struct {
	BuildingID       string    `json:"building_id"`
	ID               string    `json:"id" doc:"The same as building_id"`
	Name             string    `json:"name"`
	Address          string    `json:"address"`
	BuildingType     string    `json:"building_type" doc:"Class of the building"`
	ComplianceStatus string    `json:"compliance_status" enum:"pending,compliant,non_compliant,under_review"`
	Metadata         object    `json:"metadata"`
	Status           string    `json:"status" enum:"active" doc:"A deleted building is not shown"`
	OwnerID          *string   `json:"owner_id"`
	OrganisationID   string    `json:"organisation_id"`
	Jurisdiction     *string   `json:"jurisdiction" doc:"ISO 3166-1 or 3166-2"`
	TimeZone         *string   `json:"time_zone" doc:"IANA name"`
	ContactName      *string   `json:"contact_name" doc:"Null when there is none or you may not read it"`
	ContactPhone     *string   `json:"contact_phone"`
	ContactEmail     *string   `json:"contact_email"`
	CreatedAt        time.Time `json:"created_at"`
	UpdatedAt        time.Time `json:"updated_at"`
}

func (c *call) buildingView(r *core.Record) (building, error) {
	// A copy: opening hidden fields must not last beyond this answer.
	shown := r.Fresh()
	if err := c.reveal(shown); err != nil {
		return building{}, err
	}
	open := shown.PublicExport()
	return building{
		BuildingID: r.Id, ID: r.Id,
		Name: r.GetString(collections.FieldName), Address: r.GetString(collections.FieldAddress),
		BuildingType:     r.GetString(collections.FieldBuildingType),
		ComplianceStatus: r.GetString(collections.FieldComplianceStatus),
		Metadata:         object{rawOf(r, collections.FieldMetadata)}, Status: "active",
		OwnerID: textOf(r, collections.FieldOwnerID), OrganisationID: r.GetString(collections.FieldOrganisationID),
		Jurisdiction: textOf(r, collections.FieldJurisdiction), TimeZone: textOf(r, collections.FieldTimeZone),
		ContactName:  shownText(open, collections.FieldContactName),
		ContactPhone: shownText(open, collections.FieldContactPhone),
		ContactEmail: shownText(open, collections.FieldContactEmail),
		CreatedAt:    momentOf(r, collections.FieldCreatedAt), UpdatedAt: momentOf(r, collections.FieldUpdatedAt),
	}, nil
}

// BuildingChange are the members that create and update share. A member that is
// absent stays as it is.
type BuildingChange struct {
	Name             *string `json:"name,omitempty" minLength:"1" maxLength:"255"`
	Address          *string `json:"address,omitempty" minLength:"1" maxLength:"1000"`
	BuildingType     *string `json:"building_type,omitempty" minLength:"1" maxLength:"100"`
	ComplianceStatus *string `json:"compliance_status,omitempty" enum:"pending,compliant,non_compliant,under_review"`
	OwnerID          *string `json:"owner_id,omitempty" maxLength:"36" doc:"Id of a user; empty for none"`
	Jurisdiction     *string `json:"jurisdiction,omitempty" maxLength:"16" pattern:"^([A-Z]{2}(-[A-Z0-9]{1,3})?)?$"`
	TimeZone         *string `json:"time_zone,omitempty" maxLength:"64"`
	ContactName      *string `json:"contact_name,omitempty" maxLength:"255"`
	ContactPhone     *string `json:"contact_phone,omitempty" maxLength:"32"`
	ContactEmail     *string `json:"contact_email,omitempty" maxLength:"255"`
	Metadata         *object `json:"metadata,omitempty"`
}

// values are the members that were sent, by the names of the record's fields.
func (b BuildingChange) values() map[string]any {
	out := map[string]any{}
	for field, value := range map[string]*string{
		collections.FieldName: b.Name, collections.FieldAddress: b.Address, collections.FieldBuildingType: b.BuildingType,
		collections.FieldComplianceStatus: b.ComplianceStatus, collections.FieldOwnerID: b.OwnerID,
		collections.FieldJurisdiction: b.Jurisdiction, collections.FieldTimeZone: b.TimeZone,
		collections.FieldContactName: b.ContactName, collections.FieldContactPhone: b.ContactPhone, collections.FieldContactEmail: b.ContactEmail,
	} {
		if value != nil {
			out[field] = *value
		}
	}
	if b.Metadata != nil {
		out[collections.FieldMetadata] = string(b.Metadata.RawMessage)
	}
	return out
}

type buildingCreate struct {
	SiteName       *string `json:"site_name,omitempty" minLength:"1" maxLength:"255" doc:"Another spelling of name"`
	SiteAddress    *string `json:"site_address,omitempty" minLength:"1" maxLength:"1000" doc:"Another spelling of address"`
	OrganisationID *string `json:"organisation_id,omitempty" maxLength:"36" doc:"Default: your own organisation"`
	BuildingChange
}

// resolve settles the two spellings of the name and the address.
func (b *buildingCreate) resolve() error {
	var errs []FieldError
	settle := func(field string, value **string, alias *string) {
		switch {
		case *value == nil:
			*value = alias
		case alias != nil && *alias != **value:
			errs = append(errs, FieldError{Pointer: "/site_" + field, Detail: "differs from " + field})
		}
		if *value == nil {
			errs = append(errs, FieldError{Pointer: "/" + field, Detail: "is required"})
		}
	}
	settle("name", &b.Name, b.SiteName)
	settle("address", &b.Address, b.SiteAddress)
	if b.BuildingType == nil {
		errs = append(errs, FieldError{Pointer: "/building_type", Detail: "is required"})
	}
	if errs != nil {
		return newProblem(http.StatusUnprocessableEntity, "The request is well formed but not valid.", errs...)
	}
	return nil
}

func (s *service) bindBuildings(api huma.API) {
	tags := []string{"buildings"}
	register(api, huma.Operation{
		OperationID: "list-buildings", Method: http.MethodGet, Path: "/v1/buildings", Tags: tags,
		Summary: "List the buildings you may see, oldest first",
	}, (*call).listBuildings)
	register(api, huma.Operation{
		OperationID: "create-building", Method: http.MethodPost, Path: "/v1/buildings", Tags: tags, DefaultStatus: http.StatusCreated,
		Summary: "Create a building", Description: "409 when your organisation has one of the same name and address.",
	}, (*call).createBuilding)
	register(api, huma.Operation{
		OperationID: "get-building", Method: http.MethodGet, Path: "/v1/buildings/{id}", Tags: tags, Summary: "Get a building",
	}, (*call).getBuilding)
	for _, method := range []string{http.MethodPut, http.MethodPatch} {
		register(api, huma.Operation{
			OperationID: strings.ToLower(method) + "-building", Method: method, Path: "/v1/buildings/{id}", Tags: tags,
			Summary: "Change a building", Description: "Members that are absent stay as they are. Needs If-Match.",
			Errors: []int{http.StatusPreconditionFailed, http.StatusPreconditionRequired},
		}, (*call).updateBuilding)
	}
	register(api, huma.Operation{
		OperationID: "delete-building", Method: http.MethodDelete, Path: "/v1/buildings/{id}", Tags: tags, DefaultStatus: http.StatusNoContent,
		Summary: "Delete a building", Description: "The building disappears from every list. Refused with 409 while evidence of it is retained.",
	}, (*call).deleteBuilding)
}

type listBuildingsInput struct {
	PageInput
	BuildingType     string `query:"building_type" maxLength:"100"`
	ComplianceStatus string `query:"compliance_status" enum:"pending,compliant,non_compliant,under_review"`
	Q                string `query:"q" maxLength:"100" doc:"Part of the name or the address"`
}

func (c *call) listBuildings(in *listBuildingsInput) (*pageOutput[building], error) {
	l := listing{collection: collections.Buildings, name: "buildings", order: oldestFirst}
	for field, value := range map[string]string{
		collections.FieldBuildingType: in.BuildingType, collections.FieldComplianceStatus: in.ComplianceStatus,
	} {
		if value != "" {
			l.where = append(l.where, dbx.HashExp{column(collections.Buildings, field): value})
		}
	}
	if in.Q != "" {
		// dbx escapes the wildcards but does not tell SQLite by which character.
		contains := func(field string) string {
			return "[[" + column(collections.Buildings, field) + "]] LIKE {:q} ESCAPE '!'"
		}
		l.where = append(l.where, dbx.NewExp("("+contains(collections.FieldName)+" OR "+contains(collections.FieldAddress)+")",
			dbx.Params{"q": "%" + strings.NewReplacer("!", "!!", "%", "!%", "_", "!_").Replace(in.Q) + "%"}))
	}
	l.filters = []any{in.BuildingType, in.ComplianceStatus, in.Q}
	records, next, err := c.list(in.PageInput, l)
	if err != nil {
		return nil, err
	}
	return pageOf(records, next, c.buildingView)
}

// one is the answer of operations that read one thing.
type one[T any] struct {
	ETag string `header:"ETag"`
	Body T
}

func (c *call) getBuilding(in *IDPath) (*one[building], error) {
	r, err := c.find(collections.Buildings, in.ID)
	if err != nil {
		return nil, err
	}
	view, err := c.buildingView(r)
	return &one[building]{ETag: etagOf(r), Body: view}, err
}

type createBuildingInput struct {
	KeyInput
	Body buildingCreate
}

func (c *call) createBuilding(in *createBuildingInput) (*output[building], error) {
	if err := in.Body.resolve(); err != nil {
		return nil, err
	}
	return mutate(c, in.IdempotencyKey, func(c *call) (*reply[building], error) {
		r, err := newRecord(c.app, collections.Buildings, in.Body.values())
		if err != nil {
			return nil, err
		}
		organisation := c.auth().GetString(collections.FieldOrganisationID)
		if in.Body.OrganisationID != nil {
			organisation = *in.Body.OrganisationID
		}
		// Before the save: whether another organisation has such a building is
		// not the caller's to learn.
		if !c.auth().IsSuperuser() && organisation != c.auth().GetString(collections.FieldOrganisationID) {
			return nil, forbidden()
		}
		r.Set(collections.FieldOrganisationID, organisation)
		return c.saveBuilding(r, in.Body.values(), http.StatusCreated)
	})
}

// saveBuilding saves r and checks the create rule on it as it is now; a refusal
// undoes the save.
func (c *call) saveBuilding(r *core.Record, values map[string]any, status int) (*reply[building], error) {
	if err := c.app.Save(r); err != nil {
		return nil, err
	}
	if err := c.mayWrite(r, values); err != nil {
		return nil, err
	}
	saved, err := c.app.FindRecordById(collections.Buildings, r.Id)
	if err != nil {
		return nil, err
	}
	view, err := c.buildingView(saved)
	return &reply[building]{status: status, etag: etagOf(saved), body: view, private: true}, err
}

type updateBuildingInput struct {
	IDPath
	KeyInput
	IfMatchInput
	Body BuildingChange
}

func (c *call) updateBuilding(in *updateBuildingInput) (*output[building], error) {
	return mutate(c, in.IdempotencyKey, func(c *call) (*reply[building], error) {
		r, err := c.find(collections.Buildings, in.ID)
		if err != nil {
			return nil, err
		}
		if err := c.mayWrite(r, in.Body.values()); err != nil {
			return nil, err
		}
		if err := in.check(r); err != nil {
			return nil, err
		}
		r.Load(in.Body.values())
		return c.saveBuilding(r, in.Body.values(), http.StatusOK)
	})
}

type deleteBuildingInput struct {
	IDPath
	KeyInput
}

// nothing is the answer of operations that answer 204.
type nothing struct {
	Status   int
	Replayed string `header:"Idempotent-Replayed"`
}

func (c *call) deleteBuilding(in *deleteBuildingInput) (*nothing, error) {
	out, err := mutate(c, in.IdempotencyKey, func(c *call) (*reply[struct{}], error) {
		r, err := c.find(collections.Buildings, in.ID)
		if err != nil {
			return nil, err
		}
		if err := c.mayWrite(r, nil); err != nil {
			return nil, err
		}
		held, err := retainedEvidence(c.app, r.Id, stamp(c.Now()))
		if err != nil {
			return nil, err
		}
		if held > 0 {
			return nil, conflict("Evidence of this building is still retained.", map[string]any{"retained_evidence": held})
		}
		r.Set(collections.FieldDeletedAt, stamp(c.Now()))
		return &reply[struct{}]{status: http.StatusNoContent}, c.app.Save(r)
	})
	if err != nil {
		return nil, err
	}
	return &nothing{Status: out.Status, Replayed: out.Replayed}, nil
}

// retainedEvidence counts the evidence of a building that may not be released.
func retainedEvidence(app core.App, buildingID, now string) (n int, err error) {
	err = app.DB().Select("count(*)").From(collections.Evidence+" e").
		InnerJoin(collections.TestSessions+" s", dbx.NewExp("s.id = e.session_id")).
		Where(dbx.HashExp{"s." + collections.FieldBuildingID: buildingID}).
		AndWhere(dbx.Or(dbx.HashExp{"e." + collections.FieldLegalHold: true},
			dbx.NewExp("e."+collections.FieldRetainUntil+" > {:now}", dbx.Params{"now": now}))).
		Row(&n)
	return n, err
}

// newRecord makes an unsaved record of a collection.
func newRecord(app core.App, name string, values map[string]any) (*core.Record, error) {
	collection, err := app.FindCachedCollectionByNameOrId(name)
	if err != nil {
		return nil, err
	}
	r := core.NewRecord(collection)
	r.Load(values)
	return r, nil
}
