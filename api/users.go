package api

import (
	"fmt"
	"net/http"
	"time"

	"firemode/collections"

	"github.com/danielgtaylor/huma/v2"
	"github.com/pocketbase/dbx"
	"github.com/pocketbase/pocketbase/core"
)

// account is the caller's own user or superuser record.
type account struct {
	ID             string     `json:"id"`
	Username       *string    `json:"username" doc:"Null for a superuser"`
	Email          string     `json:"email"`
	FullName       *string    `json:"full_name"`
	Phone          *string    `json:"phone"`
	Role           string     `json:"role" doc:"inspector, manager, officer, owner, auditor or client; superuser:<role> for a superuser"`
	OrganisationID *string    `json:"organisation_id"`
	IsActive       bool       `json:"is_active"`
	CreatedAt      *time.Time `json:"created_at"`
}

func (c *call) accountView(r *core.Record) (account, error) {
	shown := r.Fresh()
	if err := c.reveal(shown); err != nil {
		return account{}, err
	}
	open := shown.PublicExport()
	view := account{
		ID: r.Id, Username: textOf(r, collections.FieldUsername), Email: r.Email(),
		FullName: shownText(open, collections.FieldFullName), Phone: shownText(open, collections.FieldPhone),
		Role: r.GetString(collections.FieldRole), OrganisationID: textOf(r, collections.FieldOrganisationID),
		IsActive: r.GetBool(collections.FieldIsActive), CreatedAt: timeOf(r, collections.FieldCreatedAt),
	}
	if r.IsSuperuser() {
		view.Role, view.IsActive, view.CreatedAt = c.actor().Role, true, timeOf(r, "created")
	}
	return view, nil
}

// auditEntry is one act of the caller as the audit log holds it.
type auditEntry struct {
	ID           string    `json:"id"`
	Seq          int64     `json:"seq" doc:"Number of the entry in the whole log, without gaps"`
	Action       string    `json:"action"`
	ResourceType string    `json:"resource_type"`
	ResourceID   string    `json:"resource_id"`
	OldValues    any       `json:"old_values" doc:"Sealed values appear as the SHA-256 of their token"`
	NewValues    any       `json:"new_values"`
	IPAddress    string    `json:"ip_address"`
	UserAgent    string    `json:"user_agent"`
	RequestID    string    `json:"request_id"`
	LeafHash     string    `json:"leaf_hash"`
	CreatedAt    time.Time `json:"created_at"`
}

func auditView(r *core.Record) (auditEntry, error) {
	return auditEntry{
		ID: r.Id, Seq: int64(r.GetInt(collections.FieldSeq)), Action: r.GetString(collections.FieldAction),
		ResourceType: r.GetString(collections.FieldResourceType), ResourceID: r.GetString(collections.FieldResourceID),
		OldValues: r.Get(collections.FieldOldValues), NewValues: r.Get(collections.FieldNewValues),
		IPAddress: r.GetString(collections.FieldIPAddress), UserAgent: r.GetString(collections.FieldUserAgent),
		RequestID: r.GetString(collections.FieldRequestID), LeafHash: r.GetString(collections.FieldLeafHash),
		CreatedAt: momentOf(r, collections.FieldCreatedAt),
	}, nil
}

func (s *service) bindUsers(api huma.API) {
	tags := []string{"users"}
	register(api, huma.Operation{
		OperationID: "get-me", Method: http.MethodGet, Path: "/v1/users/me", Tags: tags, Summary: "Get your own account",
	}, func(c *call, _ *struct{}) (*one[account], error) {
		view, err := c.accountView(c.auth())
		return &one[account]{ETag: etagOf(c.auth()), Body: view}, err
	})
	register(api, huma.Operation{
		OperationID: "search-users", Method: http.MethodPost, Path: "/v1/users/search", Tags: tags, DefaultStatus: http.StatusOK,
		Summary: "Find people by their telephone number",
		Description: "Numbers are sealed; a keyed digest finds the whole number and nothing like it. Spaces, hyphens and brackets do not matter. " +
			"For managers and officers, among the people whom they may see. The number is in the body since addresses are written to logs.",
	}, (*call).searchUsers)
	register(api, huma.Operation{
		OperationID: "list-my-audits", Method: http.MethodGet, Path: "/v1/users/me/audits", Tags: tags,
		Summary: "List what you did, newest first",
	}, func(c *call, in *PageInput) (*pageOutput[auditEntry], error) {
		records, next, err := c.list(*in, listing{
			collection: collections.AuditLog, name: "my-audits", order: newestFirst, filters: []any{c.auth().Id},
			where: []dbx.Expression{dbx.HashExp{column(collections.AuditLog, collections.FieldUserID): c.auth().Id}},
		})
		if err != nil {
			return nil, err
		}
		return pageOf(records, next, auditView)
	})
}

type searchInput struct {
	Body struct {
		Phone string `json:"phone" minLength:"1" maxLength:"32"`
	}
}

// person is a colleague, without what is sealed.
type person struct {
	ID             string `json:"id"`
	Username       string `json:"username"`
	Role           string `json:"role"`
	OrganisationID string `json:"organisation_id"`
	IsActive       bool   `json:"is_active"`
}

type people struct {
	Data []person `json:"data" nullable:"false"`
}

func (c *call) searchUsers(in *searchInput) (*one[people], error) {
	if !c.isStaff() {
		return nil, forbidden()
	}
	query, err := c.visible(collections.Users)
	if err != nil {
		return nil, err
	}
	users, err := c.app.FindCachedCollectionByNameOrId(collections.Users)
	if err != nil {
		return nil, fmt.Errorf("find collection: %w", err)
	}
	digests, err := users.Fields.GetByName(collections.FieldPhone).(*collections.EncryptedField).SearchDigests(in.Body.Phone)
	if err != nil {
		return nil, fmt.Errorf("search by number: %w", err)
	}
	found := people{Data: []person{}}
	if len(digests) == 0 {
		return &one[people]{Body: found}, nil // nothing but spaces and hyphens
	}
	among := make([]any, len(digests))
	for i, d := range digests {
		among[i] = d
	}
	var records []*core.Record
	err = query.AndWhere(dbx.In(column(collections.Users, collections.FieldPhoneIndex), among...)).
		OrderBy(column(collections.Users, collections.FieldUsername)).Limit(peopleMax).All(&records)
	if err != nil {
		return nil, fmt.Errorf("search by number: %w", err)
	}
	for _, r := range records {
		found.Data = append(found.Data, person{
			ID: r.Id, Username: r.GetString(collections.FieldUsername), Role: r.GetString(collections.FieldRole),
			OrganisationID: r.GetString(collections.FieldOrganisationID), IsActive: r.GetBool(collections.FieldIsActive),
		})
	}
	return &one[people]{Body: found}, nil
}

// peopleMax is more people than share a number.
const peopleMax = 100
