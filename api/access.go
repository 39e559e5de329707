package api

import (
	"fmt"

	"firemode/collections"

	"github.com/pocketbase/dbx"
	"github.com/pocketbase/pocketbase/core"
	"github.com/pocketbase/pocketbase/tools/search"
)

// find returns the record of a collection by id if the caller may view it by
// the collection's own rule, and a 404 otherwise.
func (c *call) find(collection, id string) (*core.Record, error) {
	record, err := c.app.FindRecordById(collection, id)
	if err != nil {
		return nil, problemOf(err)
	}
	ok, err := c.app.CanAccessRecord(record, c.info(nil), record.Collection().ViewRule)
	if err != nil {
		return nil, fmt.Errorf("check access to %s: %w", collection, err)
	}
	// Superusers pass every rule, but a building that was deleted is gone for all.
	if !ok || record.GetString(collections.FieldDeletedAt) != "" {
		return nil, notFound()
	}
	return record, nil
}

// mayWrite refuses with 403 unless the create rule of record's collection holds
// for record as it is. Whoever could create such a record may change it: update
// rules are closed on the record API, where nobody can ask for If-Match.
func (c *call) mayWrite(record *core.Record, body map[string]any) error {
	if c.readOnlySuperuser() {
		return forbidden()
	}
	ok, err := c.app.CanAccessRecord(record, c.info(body), record.Collection().CreateRule)
	if err != nil {
		return fmt.Errorf("check the right to write %s: %w", record.Collection().Name, err)
	}
	if !ok {
		return forbidden()
	}
	return nil
}

// isStaff reports whether the caller is an officer, a manager or a superuser.
func (c *call) isStaff() bool {
	if c.auth().IsSuperuser() {
		return true
	}
	role := c.auth().GetString(collections.FieldRole)
	return role == collections.RoleOfficer || role == collections.RoleManager
}

// visible is a query over the records of a collection that its own list rule
// shows to the caller.
func (c *call) visible(name string) (*dbx.SelectQuery, error) {
	collection, err := c.app.FindCachedCollectionByNameOrId(name)
	if err != nil {
		return nil, fmt.Errorf("find collection %s: %w", name, err)
	}
	query := c.app.RecordQuery(collection).WithContext(c.ctx())
	if collection.Fields.GetByName(collections.FieldDeletedAt) != nil {
		query.AndWhere(dbx.HashExp{column(name, collections.FieldDeletedAt): ""})
	}
	if c.auth().IsSuperuser() {
		return query, nil
	}
	if collection.ListRule == nil {
		return nil, forbidden()
	}
	if *collection.ListRule != "" {
		resolver := core.NewRecordFieldResolver(c.app, collection, c.info(nil), true)
		expr, err := search.FilterData(*collection.ListRule).BuildExpr(resolver)
		if err != nil {
			return nil, fmt.Errorf("read the list rule of %s: %w", name, err)
		}
		query.AndWhere(expr)
		if err := resolver.UpdateQuery(query); err != nil {
			return nil, fmt.Errorf("join for the list rule of %s: %w", name, err)
		}
	}
	return query, nil
}

// column names a column of a collection's own table, in a query that a list
// rule may have joined with others.
func column(collection, field string) string { return collection + "." + field }

// reveal opens the hidden fields that the caller may read, by the same hooks as
// PocketBase's record API.
func (c *call) reveal(record *core.Record) error {
	event := new(core.RecordEnrichEvent)
	event.App, event.Record, event.RequestInfo = c.app, record, c.info(nil)
	return c.app.OnRecordEnrich().Trigger(event, func(e *core.RecordEnrichEvent) error {
		if e.RequestInfo.HasSuperuserAuth() {
			for _, f := range collections.SealedFields(record.Collection()) {
				e.Record.Unhide(f.GetName())
			}
		}
		return e.Next()
	})
}
