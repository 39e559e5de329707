package collections

import "github.com/pocketbase/pocketbase/core"

// EvidenceMaxBytes is the default limit of one upload.
const EvidenceMaxBytes = 50 << 20

// EvidenceMediaTypes is the allow-list that an upload's sniffed type must be in.
func EvidenceMediaTypes() []string {
	return []string{
		"image/jpeg", "image/png", "image/webp", "image/heic", "image/heif",
		"application/pdf", "video/mp4", "video/quicktime", "audio/mpeg", "audio/mp4", "text/plain", "text/csv",
	}
}

// evidence is immutable but for its flag and hold; the bytes are stored under
// their SHA-256 and uploaded only through POST /v1/evidence.
func evidence() *core.Collection {
	b := newBase(Evidence)
	b.relation(FieldSessionID, TestSessions, true)
	b.requiredText(FieldEvidenceType, 100)
	b.add(&core.FileField{
		Name: FieldFile, Protected: true, MaxSelect: 1, MaxSize: EvidenceMaxBytes,
		MimeTypes: EvidenceMediaTypes(), Thumbs: []string{"240x240f"},
	})
	b.pattern(FieldChecksum, true, 64, `^[0-9a-f]{64}$`)
	b.integer(FieldSize)
	b.requiredText(FieldMediaType, 127)
	b.json(FieldMetadata, jsonMaxBytes)
	b.date(FieldCapturedAt, false)
	b.relation(FieldCreatedBy, Users, false)
	b.boolean(FieldFlaggedForReview)
	b.text(FieldFlagReason, 1000)
	b.date(FieldFlaggedAt, false)
	b.relation(FieldFlaggedBy, Users, false)
	b.date(FieldRetainUntil, true)
	b.boolean(FieldLegalHold)
	b.createdAt()
	b.index(true, FieldSessionID, FieldChecksum)
	b.index(false, FieldChecksum)

	b.rules(canSeeBuilding(FieldSessionID+"."+FieldBuildingID+"."), "", "")
	return b.c
}
