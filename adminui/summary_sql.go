package adminui

import (
	"time"

	"firemode/collections"

	"github.com/pocketbase/dbx"
	"github.com/pocketbase/pocketbase/tools/types"
)

// conflictSessionsMax bounds how many documents are searched for conflicts when
// the program brings no count of its own: a document may hold megabytes, and
// this runs on each look at the overview.
const conflictSessionsMax = 500

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

// conflicts counts the marks that the merge service left in the documents of
// the newest sessions.
func (q counter) conflicts() (Conflicts, error) {
	scope := ` FROM ` + collections.TestSessions + ` WHERE true` + q.inScope("building_id")
	params := dbx.Params{"max": conflictSessionsMax}
	var sessions int64
	if err := q.query(`SELECT count(*)`+scope, params).Row(&sessions); err != nil {
		return Conflicts{}, err
	}
	out := Conflicts{Complete: sessions <= conflictSessionsMax}
	// The merge service writes its marks without spaces. The look for their
	// text spares the parser the documents that have none, which is most.
	sql := `WITH newest AS (SELECT id, session_data` + scope + ` ORDER BY id DESC LIMIT {:max}),
		marked AS MATERIALIZED (SELECT id, session_data FROM newest WHERE instr(session_data, '"$conflict":true') > 0 AND json_valid(session_data))
		SELECT count(*), count(DISTINCT marked.id) FROM marked, json_tree(marked.session_data) AS node
		WHERE node.key = '$conflict' AND node.type = 'true'`
	err := q.query(sql, params).Row(&out.Unresolved, &out.Sessions)
	return out, err
}
