package adminui

import (
	"context"
	"fmt"
	"time"

	"firemode/collections"

	"github.com/pocketbase/dbx"
	"github.com/pocketbase/pocketbase/core"
)

// Count is how many records share one value of a field.
type Count struct {
	Value string `json:"value" db:"value"`
	Count int64  `json:"count" db:"count"`
}

// Tally is a number of records and how it splits. Values that no record has
// are listed with 0, in the order of the schema.
type Tally struct {
	Total int64   `json:"total"`
	By    []Count `json:"by"`
}

// Conflicts is how many decisions officers are waited for.
type Conflicts struct {
	Unresolved int64 `json:"unresolved"`
	Sessions   int64 `json:"sessions"` // in how many test sessions
}

// Defects are those not closed yet, by severity class.
type Defects struct {
	Tally
	Overdue int64 `json:"overdue"` // notice not acknowledged in time
}

// EvidenceCount sums up the stored evidence.
type EvidenceCount struct {
	Total            int64 `json:"total" db:"total"`
	FlaggedForReview int64 `json:"flagged_for_review" db:"flagged"`
	LegalHold        int64 `json:"legal_hold" db:"held"`
	Bytes            int64 `json:"bytes" db:"bytes"`
}

// AuditEntry is one line of the log, without values and addresses.
type AuditEntry struct {
	ID           string `json:"id" db:"id"`
	Seq          int64  `json:"seq" db:"seq"`
	CreatedAt    string `json:"created_at" db:"created_at"`
	Action       string `json:"action" db:"action"`
	ResourceType string `json:"resource_type" db:"resource_type"`
	ResourceID   string `json:"resource_id" db:"resource_id"`
	UserID       string `json:"user_id" db:"user_id"`
	UserRole     string `json:"user_role" db:"user_role"`
	LeafHash     string `json:"leaf_hash" db:"leaf_hash"`
}

// AuditSummary is the newest end of the log, newest first.
type AuditSummary struct {
	Latest []AuditEntry `json:"latest"`
}

// Summary is the answer of the summary route.
type Summary struct {
	GeneratedAt  time.Time     `json:"generated_at"`
	Buildings    Tally         `json:"buildings"` // deleted ones left out
	TestSessions Tally         `json:"test_sessions"`
	Conflicts    Conflicts     `json:"conflicts"`
	Defects      Defects       `json:"defects"`
	Evidence     EvidenceCount `json:"evidence"`
	Mirror       Mirror        `json:"mirror"`
	Audit        AuditSummary  `json:"audit"`
}

// auditLatestMax is one screen of entries; the log itself is a collection.
const auditLatestMax = 10

// summarise counts what the overview shows. organisation narrows it to that
// organisation's buildings and people; empty means all.
func summarise(ctx context.Context, app core.App, config Config, organisation string) (Summary, error) {
	s := Summary{GeneratedAt: config.Now().UTC().Truncate(time.Second), Mirror: Mirror{State: MirrorOff}}
	q := counter{ctx: ctx, app: app, organisation: organisation}
	var err error
	if s.Buildings, err = q.buildings(); err != nil {
		return s, fmt.Errorf("count buildings: %w", err)
	}
	if s.TestSessions, err = q.sessions(); err != nil {
		return s, fmt.Errorf("count test sessions: %w", err)
	}
	if s.Defects, err = q.defects(s.GeneratedAt); err != nil {
		return s, fmt.Errorf("count defects: %w", err)
	}
	if s.Evidence, err = q.evidence(); err != nil {
		return s, fmt.Errorf("count evidence: %w", err)
	}
	if s.Audit.Latest, err = q.latestAudit(); err != nil {
		return s, fmt.Errorf("read audit log: %w", err)
	}
	if s.Conflicts, err = q.conflicts(); err != nil {
		return s, fmt.Errorf("count conflicts: %w", err)
	}
	if config.Mirror != nil {
		s.Mirror = mirrorOf(config.Mirror())
	}
	return s, nil
}

// tally orders found counts like the field's declared values and adds the
// missing ones.
func tally(app core.App, collection, field string, found []Count) (Tally, error) {
	c, err := app.FindCachedCollectionByNameOrId(collection)
	if err != nil {
		return Tally{}, err
	}
	var values []string
	if f, ok := c.Fields.GetByName(field).(*core.SelectField); ok {
		values = f.Values
	}
	byValue := map[string]int64{}
	for _, row := range found {
		byValue[row.Value] = row.Count
	}
	out := Tally{By: []Count{}}
	for _, v := range values {
		out.By = append(out.By, Count{Value: v, Count: byValue[v]})
		out.Total += byValue[v]
	}
	return out, nil
}

// counter runs the counting queries of one summary.
type counter struct {
	ctx          context.Context
	app          core.App
	organisation string
}

// query binds the organisation, which every text below may use as {:org}.
func (q counter) query(sql string, params dbx.Params) *dbx.Query {
	bound := dbx.Params{"org": q.organisation}
	for k, v := range params {
		bound[k] = v
	}
	return q.app.ConcurrentDB().NewQuery(sql).WithContext(q.ctx).Bind(bound)
}

// inScope limits a column that holds a building's id.
func (q counter) inScope(column string) string {
	if q.organisation == "" {
		return ""
	}
	return " AND " + column + " IN (SELECT id FROM " + collections.Buildings + " WHERE organisation_id = {:org})"
}
