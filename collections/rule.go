package collections

import "github.com/pocketbase/pocketbase/core"

// semverPattern is the pattern published at semver.org (version 2.0.0).
const semverPattern = `^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(?:-((?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)(?:\.(?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*))?(?:\+([0-9a-zA-Z-]+(?:\.[0-9a-zA-Z-]+)*))?$`

// rules are versioned and immutable: only is_active may change, and one version
// of a code is active at a time.
func rules() *core.Collection {
	b := newBase(Rules)
	b.requiredText(FieldRuleCode, 50)
	b.pattern(FieldVersion, true, 50, semverPattern)
	b.requiredText(FieldRuleName, 255)
	b.text(FieldDescription, 5000)
	b.add(&core.JSONField{Name: FieldRuleSchema, MaxSize: jsonMaxBytes, Required: true})
	b.text(FieldPack, 100)
	b.enum(FieldProvenance, true, "public", "illustrative", "customer")
	b.boolean(FieldIsActive)
	b.pattern(FieldRuleSHA256, false, 64, `^[0-9a-f]{64}$`)
	b.relation(FieldCreatedBy, Users, false)
	b.createdAt()
	b.index(true, FieldRuleCode, FieldVersion)
	b.c.AddIndex("unq_as1851_rules_one_active", true, "`rule_code`", "`is_active` = 1")

	b.rules(all(signedIn, oneOf(FieldIsActive+" = true", roleIn(RoleOfficer, RoleManager, RoleAuditor))), "", "")
	return b.c
}

// outcomes are the results a classification may have, in the vocabulary of
// AS 1851. How severe each is, is a fact of the rule pack, not of this list.
func outcomes() []string {
	return []string{"pass", "non_conformance", "non_critical_defect", "critical_defect", "out_of_tolerance", "unable_to_test", "unclassified"}
}

func priorities() []string { return []string{"critical", "high", "medium", "low"} }

// classifications are decisions: inputs, outcome and the exact rule that decided.
func classifications() *core.Collection {
	b := newBase(Classifications)
	b.relation(FieldSessionID, TestSessions, false)
	b.requiredText(FieldItemCode, 100)
	b.json(FieldInput, jsonMaxBytes)
	b.enum(FieldOutcome, true, outcomes()...)
	b.enum(FieldPriority, false, priorities()...)
	b.relation(FieldRuleID, Rules, true)
	b.requiredText(FieldRuleVersion, 50)
	b.pattern(FieldRuleSHA256, true, 64, `^[0-9a-f]{64}$`)
	b.json(FieldReasons, jsonMaxBytes)
	b.relation(FieldAuditID, AuditLog, false)
	b.relation(FieldCreatedBy, Users, false)
	b.createdAt()
	b.rules(canSeeBuilding(FieldSessionID+"."+FieldBuildingID+"."), "", "")
	return b.c
}
