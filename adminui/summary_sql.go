package adminui

import (
	"time"

	"firemode/collections"

	"github.com/pocketbase/dbx"
	"github.com/pocketbase/pocketbase/tools/types"
)

// defectClosed is the state that takes a defect off the overview.
const defectClosed = "closed"

func (q counter) buildings() (Tally, error) {
	sql := `SELECT compliance_status AS value, count(*) AS count FROM ` + collections.Buildings + ` WHERE deleted_at = ''`
	if q.organisation != "" {
		sql += ` AND organisation_id = {:org}`
	}
	var found []Count
	if err := q.query(sql+` GROUP BY compliance_status`, nil).All(&found); err != nil {
		return Tally{}, err
	}
	return tally(q.app, collections.Buildings, collections.FieldComplianceStatus, found)
}

func (q counter) sessions() (Tally, error) {
	sql := `SELECT status AS value, count(*) AS count FROM ` + collections.TestSessions + ` WHERE true` + q.inScope("building_id") + ` GROUP BY status`
	var found []Count
	if err := q.query(sql, nil).All(&found); err != nil {
		return Tally{}, err
	}
	return tally(q.app, collections.TestSessions, collections.FieldStatus, found)
}

func (q counter) defects(now time.Time) (Defects, error) {
	open := ` FROM ` + collections.Defects + ` WHERE state != {:closed}` + q.inScope("building_id")
	params := dbx.Params{"closed": defectClosed, "now": now.Format(types.DefaultDateLayout)}
	var found []Count
	if err := q.query(`SELECT severity_class AS value, count(*) AS count`+open+` GROUP BY severity_class`, params).All(&found); err != nil {
		return Defects{}, err
	}
	t, err := tally(q.app, collections.Defects, collections.FieldSeverityClass, found)
	if err != nil {
		return Defects{}, err
	}
	out := Defects{Tally: t}
	err = q.query(`SELECT count(*)`+open+` AND notify_by != '' AND notify_by < {:now} AND acknowledged_at = ''`, params).Row(&out.Overdue)
	return out, err
}

func (q counter) evidence() (EvidenceCount, error) {
	sql := `SELECT count(*) AS total, coalesce(sum(flagged_for_review), 0) AS flagged,
		coalesce(sum(legal_hold), 0) AS held, coalesce(sum(size), 0) AS bytes FROM ` + collections.Evidence
	if q.organisation != "" {
		sql += ` WHERE session_id IN (SELECT id FROM ` + collections.TestSessions + ` WHERE true` + q.inScope("building_id") + `)`
	}
	var out EvidenceCount
	err := q.query(sql, nil).One(&out)
	return out, err
}

// latestAudit reads the newest entries; within an organisation those of its people.
func (q counter) latestAudit() ([]AuditEntry, error) {
	sql := `SELECT id, seq, created_at, action, resource_type, resource_id, user_id, user_role, leaf_hash FROM ` + collections.AuditLog
	if q.organisation != "" {
		sql += ` WHERE user_id IN (SELECT id FROM ` + collections.Users + ` WHERE organisation_id = {:org})`
	}
	out := []AuditEntry{}
	err := q.query(sql+` ORDER BY seq DESC LIMIT {:max}`, dbx.Params{"max": auditLatestMax}).All(&out)
	return out, err
}

// conflicts counts the open ones in the list that the merge service keeps.
func (q counter) conflicts() (Conflicts, error) {
	sql := `SELECT count(*), count(DISTINCT c.doc) FROM ` + collections.TableCRDTConflicts + ` c JOIN ` + collections.TableCRDTDocs + ` d ON d.id = c.doc
		JOIN ` + collections.TestSessions + ` s ON s.id = d.key WHERE c.resolved_at = 0` + q.inScope("s.building_id")
	var out Conflicts
	err := q.query(sql, nil).Row(&out.Unresolved, &out.Sessions)
	return out, err
}
