package collections

import (
	"encoding/json"
	"fmt"

	"github.com/pocketbase/pocketbase/core"
)

// All returns every declared collection, referenced ones before those that
// refer to them. Each call builds new values, so callers may change them.
func All() []*core.Collection {
	return []*core.Collection{
		organisations(), users(), buildings(), buildingGrants(), testSessions(),
		evidence(), auditLog(), rules(), classifications(), defects(),
		calibrationCertificates(), revokedTokens(), idempotencyKeys(),
	}
}

// Mirrored names the collections that go to PostgreSQL, parents first.
// Idempotency keys stay behind: they are a cache of answers, not records.
func Mirrored() []string {
	return []string{
		Organisations, Users, Buildings, BuildingGrants, TestSessions, Evidence, AuditLog,
		Rules, Classifications, Defects, CalibrationCertificates, RevokedTokens,
	}
}

// SuperuserRole is the field that every superuser carries besides PocketBase's
// own: what of the admin UI the guard opens to them.
func SuperuserRole() core.Field {
	return &core.SelectField{
		Id: fieldID(Superusers, FieldRole), Name: FieldRole, MaxSelect: 1,
		Values: []string{RoleAdmin, RoleOfficer, RoleAuditor},
	}
}

// SchemaJSON is the declared schema in PocketBase's import form, indented and
// with stable order: the text of the golden file and of the first migration.
// Secrets and times, which differ per installation, are not part of it.
func SchemaJSON() ([]byte, error) {
	var out []map[string]any
	for _, c := range All() {
		m, err := exported(c)
		if err != nil {
			return nil, err
		}
		out = append(out, m)
	}
	return json.MarshalIndent(out, "", "  ")
}

func exported(c *core.Collection) (map[string]any, error) {
	raw, err := json.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("export collection %s: %w", c.Name, err)
	}
	m := map[string]any{}
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil, fmt.Errorf("export collection %s: %w", c.Name, err)
	}
	delete(m, "created")
	delete(m, "updated")
	return m, nil
}
