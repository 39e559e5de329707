package collections

import "github.com/pocketbase/pocketbase/core"

// DefectStates are the states of a defect, in the only order they may be passed through.
func DefectStates() []string {
	return []string{"open", "acknowledged", "repair_scheduled", "repaired", "verified", "closed"}
}

// evidenceLinksMax bounds the evidence of one defect.
const evidenceLinksMax = 200

// defects follow a finding from discovery to closure.
func defects() *core.Collection {
	b := newBase(Defects)
	b.relation(FieldSessionID, TestSessions, true)
	b.relation(FieldBuildingID, Buildings, true)
	b.relation(FieldClassificationID, Classifications, false)
	b.enum(FieldSeverityClass, true, "critical_defect", "non_critical_defect", "non_conformance")
	b.enum(FieldPriority, false, priorities()...)
	b.text(FieldCategory, 50)
	b.requiredText(FieldDescription, 5000)
	b.text(FieldRuleCode, 50)
	b.enum(FieldState, true, DefectStates()...)
	b.date(FieldDiscoveredAt, true)
	b.date(FieldNotifyBy, false)
	b.date(FieldAcknowledgedAt, false)
	b.relation(FieldAcknowledgedBy, Users, false)
	b.date(FieldRepairedAt, false)
	b.date(FieldVerifiedAt, false)
	b.date(FieldClosedAt, false)
	b.relations(FieldEvidenceIDs, Evidence, evidenceLinksMax)
	b.relations(FieldRepairEvidenceIDs, Evidence, evidenceLinksMax)
	b.relation(FieldCreatedBy, Users, false)
	b.stamps()
	b.index(false, FieldState, FieldNotifyBy)
	b.rules(canSeeBuilding(FieldBuildingID+"."), "", "")
	return b.c
}

// calibrationCertificates prove that an instrument was fit at the time of a
// measurement; renewals are new records, so the history stays.
func calibrationCertificates() *core.Collection {
	b := newBase(CalibrationCertificates)
	b.relation(FieldOrganisationID, Organisations, true)
	b.requiredText(FieldInstrumentID, 100)
	b.requiredText(FieldInstrumentType, 50)
	b.requiredText(FieldCertificateNumber, 100)
	b.date(FieldCalibratedAt, true)
	b.date(FieldExpiresAt, true)
	b.text(FieldLaboratory, 255)
	b.add(&core.FileField{Name: FieldFile, Protected: true, MaxSelect: 1, MaxSize: 10 << 20, MimeTypes: []string{"application/pdf", "image/jpeg", "image/png"}})
	b.relation(FieldCreatedBy, Users, false)
	b.createdAt()
	b.index(true, FieldOrganisationID, FieldInstrumentID, FieldCertificateNumber)
	b.index(false, FieldExpiresAt)

	own := all(signedIn, roleIn(RoleManager, RoleOfficer, RoleInspector), FieldOrganisationID+" = @request.auth.organisation_id")
	manage := sameOrganisation(FieldOrganisationID)
	b.rules(own, manage, "")
	return b.c
}
