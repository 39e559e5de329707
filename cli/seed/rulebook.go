package seed

import (
	"fmt"
	"strings"
	"time"

	"firemode/collections"
	"firemode/rules"

	"github.com/pocketbase/pocketbase/tools/types"
)

// rulebook holds the stored rule of each starter code.
type rulebook map[string]storedRule

type storedRule struct {
	rule   rules.Rule
	id     string
	sha256 string
}

// ruleRows are the starter packs.
func (m maker) ruleRows() ([]row, rulebook, error) {
	packs, err := rules.Starter()
	if err != nil {
		return nil, nil, fmt.Errorf("load the starter rules: %w", err)
	}
	var rows []row
	book := rulebook{}
	at := m.signedUp().Add(time.Hour)
	for _, p := range packs {
		for _, r := range p.Rules {
			text, err := r.Canonical()
			if err != nil {
				return nil, nil, err
			}
			sum, err := r.SHA256()
			if err != nil {
				return nil, nil, err
			}
			// The id depends on the rule alone: the same rule twice is one rule.
			id := maker{}.id("rule", r.Code+"@"+r.Version, time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
			book[r.Code] = storedRule{r, id, sum}
			rows = append(rows, row{collection: collections.Rules, id: id, at: at, values: map[string]any{
				collections.FieldRuleCode: r.Code, collections.FieldVersion: r.Version, collections.FieldRuleName: r.Title,
				collections.FieldDescription: r.Description, collections.FieldRuleSchema: types.JSONRaw(text), collections.FieldPack: r.Pack,
				collections.FieldProvenance: r.Provenance, collections.FieldIsActive: r.Status == "active", collections.FieldRuleSHA256: sum,
			}})
		}
	}
	return rows, book, nil
}

// writeRules stores the starter rules. A version that somebody stored under
// another id is kept and used; a code with an active version of somebody's own
// keeps it, and the starter version is stored as inactive.
func (w *writer) writeRules(rows []row, book rulebook) error {
	var stored []struct {
		ID      string `db:"id"`
		Code    string `db:"rule_code"`
		Version string `db:"version"`
		SHA256  string `db:"rule_sha256"`
		Active  bool   `db:"is_active"`
	}
	err := w.app.DB().Select("id", collections.FieldRuleCode, collections.FieldVersion, collections.FieldRuleSHA256, collections.FieldIsActive).
		From(collections.Rules).All(&stored)
	if err != nil {
		return fmt.Errorf("read rules: %w", err)
	}
	var missing []row
	for _, r := range rows {
		code, known := r.values[collections.FieldRuleCode].(string), false
		for _, s := range stored {
			if s.Code != code {
				continue
			}
			if s.Version == r.values[collections.FieldVersion] {
				known = true
				ours := book[code]
				ours.id, ours.sha256 = s.ID, s.SHA256
				book[code] = ours
			} else if s.Active {
				r.values[collections.FieldIsActive] = false
			}
		}
		if !known {
			missing = append(missing, r)
		} else {
			w.progress(1)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return w.write(missing)
}

// classificationRows are the decisions on the findings of each visit: all that
// found a fault, and the first that found none.
func (m maker) classificationRows(visits []visit, book rulebook) []row {
	var rows []row
	for _, v := range visits {
		passes := 0
		for _, f := range v.findings {
			r := f.outcome()
			if r.clause == passed {
				if passes++; passes > 1 {
					continue
				}
			}
			rows = append(rows, m.classification(v, f, r, book))
		}
	}
	return rows
}

func (m maker) classificationID(v visit, f finding) string {
	return m.id("classification", v.id+"/"+f.item(), v.start.Add(6*time.Hour))
}

func (m maker) classification(v visit, f finding, r reading, book rulebook) row {
	stored := book[f.check.code()]
	clause := stored.rule.Decide[len(stored.rule.Decide)-1]
	if r.clause != passed {
		clause = stored.rule.Decide[r.clause]
	}
	return row{
		collection: collections.Classifications, id: m.classificationID(v, f), at: v.start.Add(6 * time.Hour),
		values: map[string]any{
			collections.FieldSessionID: v.id, collections.FieldItemCode: f.item(), collections.FieldInput: r.inputs,
			collections.FieldOutcome: clause.Outcome, collections.FieldRuleID: stored.id, collections.FieldRuleVersion: stored.rule.Version,
			collections.FieldRuleSHA256: stored.sha256, collections.FieldReasons: []string{clause.Reason},
			collections.FieldCreatedBy: m.userID(v.team[0]),
		},
	}
}

// outcomeUnder is what the rule of the finding decides.
func (f finding) outcomeUnder(book rulebook) string {
	decide := book[f.check.code()].rule.Decide
	if c := f.outcome().clause; c != passed {
		return decide[c].Outcome
	}
	return decide[len(decide)-1].Outcome
}

// isDefect says whether an outcome has to be followed up.
func isDefect(outcome string) bool {
	return strings.HasSuffix(outcome, "_defect") || outcome == "non_conformance"
}
