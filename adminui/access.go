package adminui

import (
	"firemode/collections"

	"github.com/pocketbase/pocketbase/core"
)

// action is one way to read a collection. Writing is not among them: officers
// and auditors change records only through operations of their own.
type action uint8

const (
	actionList action = 1 << iota
	actionView
	actionRealtime // record topics
	actionFile     // download of protected files
)

// none closes a collection; records opens its lists, views and topics; files
// opens its downloads as well.
const (
	none    action = 0
	records        = actionList | actionView | actionRealtime
	files          = records | actionFile
)

// collectionAccess is one row of the access table.
type collectionAccess struct {
	collection       string
	officer, auditor action
	// withheldFromAuditor names fields that are hidden on top of the hidden
	// and sealed ones, which no restricted role receives.
	withheldFromAuditor []string
}

// accessTable says what restricted superusers may read. A collection without a
// row is closed; a test fails until it has one.
var accessTable = []collectionAccess{
	{collection: collections.Organisations, officer: records, auditor: records},
	// An auditor sees people as ids only.
	{collection: collections.Users, officer: records, auditor: none},
	{collection: collections.Buildings, officer: records, auditor: records},
	{collection: collections.BuildingGrants, officer: records, auditor: records},
	{collection: collections.TestSessions, officer: records, auditor: records},
	// The original carries place and device; an auditor works with the checksum.
	{collection: collections.Evidence, officer: files, auditor: records,
		withheldFromAuditor: []string{collections.FieldMetadata}},
	{collection: collections.Rules, officer: records, auditor: records},
	{collection: collections.Classifications, officer: records, auditor: records},
	{collection: collections.Defects, officer: records, auditor: records},
	{collection: collections.CalibrationCertificates, officer: files, auditor: files},
	{collection: collections.AuditLog, officer: records, auditor: records,
		// The values would name people: accounts have entries too.
		withheldFromAuditor: []string{collections.FieldIPAddress, collections.FieldUserAgent, collections.FieldOldValues, collections.FieldNewValues}},
	{collection: collections.RevokedTokens, officer: records, auditor: none},
	{collection: collections.IdempotencyKeys, officer: none, auditor: none},
	// Their own record is admitted by the guard, not by this table.
	{collection: collections.Superusers, officer: none, auditor: none},
	{collection: core.CollectionNameExternalAuths, officer: none, auditor: none},
	{collection: core.CollectionNameMFAs, officer: none, auditor: none},
	{collection: core.CollectionNameOTPs, officer: none, auditor: none},
	{collection: core.CollectionNameAuthOrigins, officer: none, auditor: none},
}

// subject is a restricted superuser.
type subject struct {
	id, role string
}

// restricted returns the subject when record is a superuser whom the guard
// holds. An empty role counts as admin: superusers made before roles existed,
// and by PocketBase's own command, are administrators.
func restricted(record *core.Record) (subject, bool) {
	if record == nil || !record.IsSuperuser() {
		return subject{}, false
	}
	switch role := record.GetString(collections.FieldRole); role {
	case "", collections.RoleAdmin:
		return subject{}, false
	default:
		return subject{id: record.Id, role: role}, true
	}
}

// may reports whether the access table admits the action. An unknown role may
// do nothing.
func (s subject) may(collection string, wanted action) bool {
	row, ok := accessRow(collection)
	return ok && row.of(s.role)&wanted == wanted
}

func (r collectionAccess) of(role string) action {
	switch role {
	case collections.RoleOfficer:
		return r.officer
	case collections.RoleAuditor:
		return r.auditor
	}
	return none
}

// withheld names the fields of a collection that the subject never receives.
func (s subject) withheld(c *core.Collection) []string {
	var names []string
	for _, f := range c.Fields {
		if f.GetHidden() {
			names = append(names, f.GetName())
		}
	}
	if row, ok := accessRow(c.Name); ok && s.role != collections.RoleOfficer {
		names = append(names, row.withheldFromAuditor...)
	}
	return names
}

func accessRow(collection string) (collectionAccess, bool) {
	for _, row := range accessTable {
		if row.collection == collection {
			return row, true
		}
	}
	return collectionAccess{}, false
}
