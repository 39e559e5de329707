package api

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"firemode/collections"

	"github.com/danielgtaylor/huma/v2"
	"github.com/pocketbase/dbx"
	"github.com/pocketbase/pocketbase/core"
	"github.com/pocketbase/pocketbase/tools/filesystem"
	"github.com/pocketbase/pocketbase/tools/filesystem/blob"
)

// evidenceItem is one piece of evidence as /v1 shows it.
type evidenceItem struct {
	EvidenceID       string     `json:"evidence_id"`
	ID               string     `json:"id" doc:"The same as evidence_id"`
	SessionID        string     `json:"session_id"`
	EvidenceType     string     `json:"evidence_type"`
	Hash             string     `json:"hash" doc:"SHA-256 of the bytes, lower-case hexadecimal"`
	Status           string     `json:"status" enum:"verified" doc:"The bytes matched their checksum when they were stored"`
	Filename         string     `json:"filename"`
	FileType         string     `json:"file_type" doc:"Media type found in the bytes"`
	FileSize         int64      `json:"file_size" doc:"Bytes"`
	EvidenceMetadata object     `json:"evidence_metadata"`
	CapturedAt       *time.Time `json:"captured_at"`
	UploadedAt       time.Time  `json:"uploaded_at"`
	UploadedBy       *string    `json:"uploaded_by"`
	FlaggedForReview bool       `json:"flagged_for_review"`
	FlagReason       *string    `json:"flag_reason"`
	FlaggedAt        *time.Time `json:"flagged_at"`
	FlaggedBy        *string    `json:"flagged_by"`
	RetainUntil      time.Time  `json:"retain_until"`
	LegalHold        bool       `json:"legal_hold"`
}

func evidenceView(r *core.Record) (evidenceItem, error) {
	return evidenceItem{
		EvidenceID: r.Id, ID: r.Id, SessionID: r.GetString(collections.FieldSessionID),
		EvidenceType: r.GetString(collections.FieldEvidenceType), Hash: r.GetString(collections.FieldChecksum), Status: "verified",
		Filename: r.GetString(collections.FieldFile), FileType: r.GetString(collections.FieldMediaType),
		FileSize: int64(r.GetInt(collections.FieldSize)), EvidenceMetadata: object{rawOf(r, collections.FieldMetadata)},
		CapturedAt: timeOf(r, collections.FieldCapturedAt), UploadedAt: momentOf(r, collections.FieldCreatedAt),
		UploadedBy:       textOf(r, collections.FieldCreatedBy),
		FlaggedForReview: r.GetBool(collections.FieldFlaggedForReview), FlagReason: textOf(r, collections.FieldFlagReason),
		FlaggedAt: timeOf(r, collections.FieldFlaggedAt), FlaggedBy: textOf(r, collections.FieldFlaggedBy),
		RetainUntil: momentOf(r, collections.FieldRetainUntil), LegalHold: r.GetBool(collections.FieldLegalHold),
	}, nil
}

func (s *service) bindEvidence(api huma.API) {
	tags := []string{"evidence"}
	for path, id := range map[string]string{"/v1/evidence": "upload-evidence", "/v1/evidence/submit": "submit-evidence"} {
		register(api, uploadOperation(id, path, tags), (*call).uploadEvidence)
		documentForm(api, path)
	}
	register(api, huma.Operation{
		OperationID: "get-evidence", Method: http.MethodGet, Path: "/v1/evidence/{id}", Tags: tags, Summary: "Get what is known about a piece of evidence",
	}, func(c *call, in *IDPath) (*one[evidenceItem], error) {
		r, err := c.find(collections.Evidence, in.ID)
		if err != nil {
			return nil, err
		}
		view, err := evidenceView(r)
		return &one[evidenceItem]{ETag: etagOf(r), Body: view}, err
	})
	register(api, huma.Operation{
		OperationID: "list-session-evidence", Method: http.MethodGet, Path: "/v1/evidence/session/{id}", Tags: tags,
		Summary: "List the evidence of a test session, newest first",
	}, (*call).listEvidence)
	register(api, huma.Operation{
		OperationID: "download-evidence", Method: http.MethodGet, Path: "/v1/evidence/{id}/download", Tags: tags,
		Summary: "Download the bytes of a piece of evidence", Description: "Byte ranges are served. The ETag is the SHA-256 of the bytes.",
		Responses: downloadResponses(),
		Errors:    []int{http.StatusPreconditionFailed, http.StatusRequestedRangeNotSatisfiable},
	}, (*call).downloadEvidence)
	register(api, huma.Operation{
		OperationID: "verify-evidence", Method: http.MethodGet, Path: "/v1/evidence/{id}/verify", Tags: tags,
		Summary: "Read the stored bytes again and compare them with the checksum",
	}, (*call).verifyEvidence)
	register(api, huma.Operation{
		OperationID: "flag-evidence", Method: http.MethodPatch, Path: "/v1/evidence/{id}/flag", Tags: tags,
		Summary: "Flag a piece of evidence for review", Description: "For managers and officers.",
	}, (*call).flagEvidence)
}

type sessionEvidenceInput struct {
	IDPath
	PageInput
}

func (c *call) listEvidence(in *sessionEvidenceInput) (*pageOutput[evidenceItem], error) {
	if _, err := c.find(collections.TestSessions, in.ID); err != nil {
		return nil, err
	}
	records, next, err := c.list(in.PageInput, listing{
		collection: collections.Evidence, name: "session-evidence", order: newestFirst, filters: []any{in.ID},
		where: []dbx.Expression{dbx.HashExp{column(collections.Evidence, collections.FieldSessionID): in.ID}},
	})
	if err != nil {
		return nil, err
	}
	return pageOf(records, next, evidenceView)
}

// downloadResponses declare what a download answers: huma cannot see it.
func downloadResponses() map[string]*huma.Response {
	file := map[string]*huma.MediaType{}
	for _, kind := range collections.EvidenceMediaTypes() {
		file[kind] = &huma.MediaType{Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}
	}
	part := map[string]*huma.MediaType{"multipart/byteranges": {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}}
	for kind, media := range file {
		part[kind] = media
	}
	return map[string]*huma.Response{
		"200": {Description: "The whole file", Content: file},
		"206": {Description: "The ranges that were asked for", Content: part},
		"304": {Description: "Not modified"},
	}
}

func (c *call) downloadEvidence(in *IDPath) (*written, error) {
	r, err := c.find(collections.Evidence, in.ID)
	if err != nil {
		return nil, err
	}
	fsys, file, err := openEvidence(c.app, r)
	if err != nil {
		return nil, err
	}
	return &written{Body: func(huma.Context) {
		defer fsys.Close()
		defer file.Close()
		h := c.event.Response.Header()
		h.Set("Content-Type", r.GetString(collections.FieldMediaType))
		h.Set("Content-Disposition", `attachment; filename="`+r.GetString(collections.FieldFile)+`"`)
		h.Set("ETag", `"`+r.GetString(collections.FieldChecksum)+`"`)
		// Evidence never changes under its id; it is still personal data.
		h.Set("Cache-Control", "private, no-store")
		http.ServeContent(&rangeAnswer{ResponseWriter: c.event.Response, event: c.event}, c.event.Request, "", momentOf(r, collections.FieldCreatedAt), file)
	}}, nil
}

// rangeAnswer gives the refusals of http.ServeContent, a range without a byte or
// an If-Match of other bytes, the shape that every error has.
type rangeAnswer struct {
	http.ResponseWriter
	event   *core.RequestEvent
	refused bool
}

func (w *rangeAnswer) WriteHeader(status int) {
	detail := ""
	switch status {
	case http.StatusRequestedRangeNotSatisfiable:
		detail = "No byte of the file is in the range; Content-Range says how long it is."
	case http.StatusPreconditionFailed:
		detail = "The file has another ETag."
	default:
		w.ResponseWriter.WriteHeader(status)
		return
	}
	w.refused = true
	newProblem(status, detail).write(w.event)
}

func (w *rangeAnswer) Write(b []byte) (int, error) {
	if w.refused {
		return len(b), nil // the text of http.Error
	}
	return w.ResponseWriter.Write(b)
}

// openEvidence opens the stored bytes of r. The caller closes both.
func openEvidence(app core.App, r *core.Record) (*filesystem.System, *blob.Reader, error) {
	fsys, err := app.NewFilesystem()
	if err != nil {
		return nil, nil, fmt.Errorf("open evidence store: %w", err)
	}
	file, err := fsys.GetReader(r.BaseFilesPath() + "/" + r.GetString(collections.FieldFile))
	if err != nil {
		_ = fsys.Close()
		return nil, nil, fmt.Errorf("open evidence %s: %w", r.Id, errMissingBytes(err))
	}
	return fsys, file, nil
}

// errMissingBytes keeps "no such file" from reading as 404: a record without
// its bytes is damage, not an unknown id.
func errMissingBytes(err error) error {
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, filesystem.ErrNotFound) {
		return errors.New("the bytes are missing")
	}
	return err
}

// verification is the outcome of reading stored bytes again.
type verification struct {
	EvidenceID string    `json:"evidence_id"`
	Verified   bool      `json:"verified"`
	Hash       string    `json:"hash" doc:"The checksum on record"`
	ActualHash *string   `json:"actual_hash" doc:"What the stored bytes give now; null when they are missing"`
	FileSize   int64     `json:"file_size" doc:"Bytes read"`
	CheckedAt  time.Time `json:"checked_at"`
}

func (c *call) verifyEvidence(in *IDPath) (*one[verification], error) {
	r, err := c.find(collections.Evidence, in.ID)
	if err != nil {
		return nil, err
	}
	v := verification{EvidenceID: r.Id, Hash: r.GetString(collections.FieldChecksum), CheckedAt: c.Now().UTC()}
	sum, n, err := rehash(c.ctx(), c.app, r)
	if err != nil {
		if c.ctx().Err() != nil {
			return nil, c.ctx().Err()
		}
		c.app.Logger().Error("evidence cannot be read", "evidence_id", r.Id, "error", err)
		return &one[verification]{Body: v}, nil
	}
	v.ActualHash, v.FileSize, v.Verified = &sum, n, sum == v.Hash
	if !v.Verified {
		c.app.Logger().Error("evidence differs from its checksum", "evidence_id", r.Id, "actual", sum)
	}
	return &one[verification]{Body: v}, nil
}

func rehash(ctx context.Context, app core.App, r *core.Record) (sum string, n int64, err error) {
	fsys, file, err := openEvidence(app, r)
	if err != nil {
		return "", 0, err
	}
	defer fsys.Close()
	defer file.Close()
	h := sha256.New()
	n, err = io.Copy(h, &contextReader{ctx, file})
	return hex.EncodeToString(h.Sum(nil)), n, err
}

// contextReader stops reading when its context ends.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c *contextReader) Read(b []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(b)
}

type flagInput struct {
	IDPath
	KeyInput
	Body struct {
		FlagReason string `json:"flag_reason" minLength:"1" maxLength:"1000"`
		Flagged    *bool  `json:"flagged_for_review,omitempty" doc:"false takes the flag away; default true"`
	}
}

func (c *call) flagEvidence(in *flagInput) (*output[evidenceItem], error) {
	return mutate(c, in.IdempotencyKey, func(c *call) (*reply[evidenceItem], error) {
		r, err := c.find(collections.Evidence, in.ID)
		if err != nil {
			return nil, err
		}
		// Whoever manages the building decides what needs a second look.
		session, err := c.app.FindRecordById(collections.TestSessions, r.GetString(collections.FieldSessionID))
		if err != nil {
			return nil, fmt.Errorf("find the evidence's session: %w", err)
		}
		building, err := c.app.FindRecordById(collections.Buildings, session.GetString(collections.FieldBuildingID))
		if err != nil {
			return nil, fmt.Errorf("find the evidence's building: %w", err)
		}
		if err := c.mayWrite(building, nil); err != nil {
			return nil, err
		}
		flagged := in.Body.Flagged == nil || *in.Body.Flagged
		r.Set(collections.FieldFlaggedForReview, flagged)
		r.Set(collections.FieldFlagReason, in.Body.FlagReason)
		r.Set(collections.FieldFlaggedAt, stamp(c.Now()))
		r.Set(collections.FieldFlaggedBy, c.userID())
		if err := c.app.Save(r); err != nil {
			return nil, err
		}
		view, err := evidenceView(r)
		return &reply[evidenceItem]{status: http.StatusOK, etag: etagOf(r), body: view}, err
	})
}
