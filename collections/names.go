package collections

// Collection names. They are also the SQL table names, in SQLite and in the
// PostgreSQL mirror.
const (
	Organisations           = "organisations"
	Users                   = "users"
	Buildings               = "buildings"
	BuildingGrants          = "building_grants"
	TestSessions            = "test_sessions"
	Evidence                = "evidence"
	Rules                   = "as1851_rules"
	Classifications         = "classifications"
	Defects                 = "defects"
	CalibrationCertificates = "calibration_certificates"
	RevokedTokens           = "token_revocation_list"
	IdempotencyKeys         = "idempotency_keys"
	AuditLog                = "audit_log"
	Superusers              = "_superusers"
)

// Plain SQLite tables: not collections, so no API rule can expose or edit them.
const (
	TableCRDTDocs       = "crdt_docs"
	TableCRDTActors     = "crdt_actors"
	TableCRDTOps        = "crdt_ops"
	TableCRDTHeads      = "crdt_heads"
	TableCRDTRedactions = "crdt_redactions"
	TableCRDTConflicts  = "crdt_conflicts"
	TableCRDTSnaps      = "crdt_snaps"
	TableParams         = "_fm_params"
)

// Field names, most shared first.
const (
	FieldID        = "id"
	FieldCreatedAt = "created_at"
	FieldUpdatedAt = "updated_at"
	FieldCreatedBy = "created_by"
	FieldDeletedAt = "deleted_at"
	FieldMetadata  = "metadata"
	FieldStatus    = "status"
	FieldName      = "name"

	FieldOrganisationID   = "organisation_id"
	FieldUserID           = "user_id"
	FieldBuildingID       = "building_id"
	FieldSessionID        = "session_id"
	FieldRuleID           = "rule_id"
	FieldClassificationID = "classification_id"

	FieldKind = "kind"

	FieldUsername         = "username"
	FieldEmail            = "email"
	FieldPassword         = "password"
	FieldFullName         = "full_name"
	FieldPhone            = "phone"
	FieldPhoneIndex       = "phone_index"
	FieldRole             = "role"
	FieldIsActive         = "is_active"
	FieldTokensValidAfter = "tokens_valid_after"

	FieldAddress          = "address"
	FieldBuildingType     = "building_type"
	FieldOwnerID          = "owner_id"
	FieldComplianceStatus = "compliance_status"
	FieldContactName      = "contact_name"
	FieldContactPhone     = "contact_phone"
	FieldContactEmail     = "contact_email"
	FieldJurisdiction     = "jurisdiction"
	FieldTimeZone         = "time_zone"

	FieldStartsAt  = "starts_at"
	FieldEndsAt    = "ends_at"
	FieldGrantedBy = "granted_by"

	FieldSessionName = "session_name"
	FieldSessionData = "session_data"
	FieldVectorClock = "vector_clock"
	FieldServerSeq   = "server_seq"

	FieldEvidenceType     = "evidence_type"
	FieldFile             = "file"
	FieldChecksum         = "checksum"
	FieldSize             = "size"
	FieldMediaType        = "media_type"
	FieldCapturedAt       = "captured_at"
	FieldFlaggedForReview = "flagged_for_review"
	FieldFlagReason       = "flag_reason"
	FieldFlaggedAt        = "flagged_at"
	FieldFlaggedBy        = "flagged_by"
	FieldRetainUntil      = "retain_until"
	FieldLegalHold        = "legal_hold"

	FieldRuleCode    = "rule_code"
	FieldVersion     = "version"
	FieldRuleName    = "rule_name"
	FieldDescription = "description"
	FieldRuleSchema  = "rule_schema"
	FieldPack        = "pack"
	FieldProvenance  = "provenance"

	FieldItemCode    = "item_code"
	FieldInput       = "input"
	FieldOutcome     = "outcome"
	FieldPriority    = "priority"
	FieldRuleVersion = "rule_version"
	FieldRuleSHA256  = "rule_sha256"
	FieldReasons     = "reasons"
	FieldAuditID     = "audit_id"

	FieldSeverityClass     = "severity_class"
	FieldState             = "state"
	FieldCategory          = "category"
	FieldDiscoveredAt      = "discovered_at"
	FieldNotifyBy          = "notify_by"
	FieldAcknowledgedAt    = "acknowledged_at"
	FieldAcknowledgedBy    = "acknowledged_by"
	FieldRepairedAt        = "repaired_at"
	FieldVerifiedAt        = "verified_at"
	FieldClosedAt          = "closed_at"
	FieldEvidenceIDs       = "evidence_ids"
	FieldRepairEvidenceIDs = "repair_evidence_ids"

	FieldInstrumentID      = "instrument_id"
	FieldInstrumentType    = "instrument_type"
	FieldCertificateNumber = "certificate_number"
	FieldCalibratedAt      = "calibrated_at"
	FieldExpiresAt         = "expires_at"
	FieldLaboratory        = "laboratory"

	FieldTokenJTI  = "token_jti"
	FieldReason    = "reason"
	FieldRevokedAt = "revoked_at"
	FieldRevokedBy = "revoked_by"

	FieldPrincipal    = "principal"
	FieldMethod       = "method"
	FieldRoute        = "route"
	FieldKeyHash      = "key_hash"
	FieldRequestHash  = "request_hash"
	FieldStatusCode   = "status_code"
	FieldResponseData = "response_data"

	FieldSeq          = "seq"
	FieldUserRole     = "user_role"
	FieldAction       = "action"
	FieldResourceType = "resource_type"
	FieldResourceID   = "resource_id"
	FieldOldValues    = "old_values"
	FieldNewValues    = "new_values"
	FieldIPAddress    = "ip_address"
	FieldUserAgent    = "user_agent"
	FieldRequestID    = "request_id"
	FieldAppVersion   = "app_version"
	FieldLeafHash     = "leaf_hash"
)

// Roles of users.
const (
	RoleInspector = "inspector"
	RoleManager   = "manager"
	RoleOfficer   = "officer"
	RoleOwner     = "owner"
	RoleAuditor   = "auditor"
	RoleClient    = "client"
)

// Roles of _superusers. Only RoleAdmin is unrestricted; the admin UI guard
// holds the others to what their role may see.
const RoleAdmin = "admin"

// States of a test session.
const (
	SessionActive   = "active"
	SessionInReview = "in_review"
	SessionLocked   = "locked"
)

// DemoUserID is the fixed id of the demo user, kept from the system this one
// replaces. It is not a UUIDv7; the id pattern admits exactly this one value.
const DemoUserID = "00000000-0000-0000-0000-000000000001"

// IDPattern matches every id of a FireMode collection.
const IDPattern = `^([0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}|00000000-0000-0000-0000-000000000001)$`

// idAutogenerate is PocketBase's fallback and the hint that keeps the admin UI
// from asking for an id. The ids hook sets a real, time-ordered UUIDv7 first.
const idAutogenerate = `[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}`
