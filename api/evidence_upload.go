package api

import (
	"context"
	"errors"
	"image"
	_ "image/jpeg" // registers the decoder for imageTooLarge
	_ "image/png"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"os"
	"reflect"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"firemode/collections"
	"firemode/evidence"

	"github.com/danielgtaylor/huma/v2"
	"github.com/pocketbase/dbx"
	"github.com/pocketbase/pocketbase/core"
	"github.com/pocketbase/pocketbase/tools/types"
	_ "golang.org/x/image/webp"
)

const (
	// formFieldMaxBytes bounds one text part of the form; metadata is the largest.
	formFieldMaxBytes = 64 << 10
	// formOverheadBytes is what the form may take beside the file: its text
	// parts, part headers and boundaries.
	formOverheadBytes = 1 << 20
	// imagePixelsMax keeps pictures out that would exhaust whoever opens them.
	imagePixelsMax = 100_000_000
)

var checksumPattern = regexp.MustCompile(`^[0-9A-Fa-f]{64}$`)

// uploadForm documents the multipart form and receives its text parts.
type uploadForm struct {
	File         string `json:"file" format:"binary" doc:"The bytes"`
	SHA256Hash   string `json:"sha256_hash" pattern:"^[0-9A-Fa-f]{64}$" doc:"SHA-256 of the bytes in hexadecimal, computed before sending"`
	SessionID    string `json:"session_id"`
	EvidenceType string `json:"evidence_type" minLength:"1" maxLength:"100" doc:"For example photo, video, document"`
	Metadata     string `json:"metadata,omitempty" doc:"A JSON object"`
	CapturedAt   string `json:"captured_at,omitempty" format:"date-time"`
}

func uploadOperation(id, path string, tags []string) huma.Operation {
	return huma.Operation{
		OperationID: id, Method: http.MethodPost, Path: path, Tags: tags, DefaultStatus: http.StatusCreated,
		Summary: "Upload a piece of evidence",
		Description: "The bytes are hashed while they arrive and are on disk before the answer. " +
			"The same bytes for the same session again answer 200 with what is stored. Needs an Idempotency-Key.",
		Responses: map[string]*huma.Response{"200": {
			Description: "These bytes are stored for this session already",
			Content:     map[string]*huma.MediaType{"application/json": {Schema: &huma.Schema{Ref: "#/components/schemas/EvidenceItem"}}},
		}},
	}
}

// documentForm declares the form of an operation that was registered. Declared
// earlier it would make huma read the body itself.
func documentForm(api huma.API, path string) {
	form := api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[uploadForm](), true, "")
	api.OpenAPI().Paths[path].Post.RequestBody = &huma.RequestBody{
		Required: true, Content: map[string]*huma.MediaType{"multipart/form-data": {Schema: form}},
	}
}

// An upload is a form whose file is staged on disk.
type upload struct {
	form   uploadForm
	file   *evidence.Staged
	seen   map[string]bool
	errors []FieldError
}

type uploadInput struct {
	// Required, but judged by us: huma would answer before the form is read.
	IdempotencyKey string `header:"Idempotency-Key" doc:"Required. Names this upload: a repeat gets the stored answer for 24 h"`
}

func (c *call) uploadEvidence(in *uploadInput) (*output[evidenceItem], error) {
	if in.IdempotencyKey == "" {
		return nil, newProblem(http.StatusUnprocessableEntity, "An idempotency key is needed.",
			FieldError{Pointer: "/Idempotency-Key", In: "header", Detail: "is missing"})
	}
	u, err := c.receive()
	if err != nil {
		return nil, err
	}
	defer u.file.Discard()
	// Both paths are one operation, and the boundary of a repeated form differs.
	c.route = "/v1/evidence"
	f := u.form
	c.body = []byte(digest([]byte(u.file.SHA256), []byte(f.SessionID), []byte(f.EvidenceType), []byte(f.Metadata), []byte(f.CapturedAt)))
	record, err := c.evidenceRecord(u)
	if err != nil {
		return nil, err
	}
	place := func() error {
		if err := c.mayAddTo(f.SessionID); err != nil {
			return err
		}
		return u.file.Place(c.app, record)
	}
	return mutateAfter(c, in.IdempotencyKey, place, func(c *call) (*reply[evidenceItem], error) { return c.storeEvidence(u, record) })
}

// receive reads the form: the file goes to a staging file as it comes. On an
// error nothing stays on disk.
func (c *call) receive() (*upload, error) {
	r := c.event.Request
	kind, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/form-data" || params["boundary"] == "" {
		return nil, newProblem(http.StatusUnsupportedMediaType, "Send multipart/form-data.")
	}
	max := c.EvidenceMaxBytes + formOverheadBytes
	if r.ContentLength > max {
		return nil, tooLarge(r)
	}
	u := &upload{seen: map[string]bool{}}
	err = u.read(c, multipart.NewReader(http.MaxBytesReader(nil, r.Body, max), params["boundary"]))
	if err == nil {
		err = u.check()
	}
	if err == nil {
		return u, nil
	}
	if u.file != nil {
		u.file.Discard()
	}
	return nil, uploadProblem(r, err)
}

func (u *upload) read(c *call, form *multipart.Reader) error {
	for {
		part, err := form.NextRawPart()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := u.part(c, part); err != nil {
			return err
		}
	}
}

func (u *upload) part(c *call, part *multipart.Part) error {
	name := part.FormName()
	if u.seen[name] {
		return formError(name, "appears twice")
	}
	u.seen[name] = true
	if name == "file" {
		var err error
		u.file, err = evidence.Stage(c.app, part, c.EvidenceMaxBytes)
		return err
	}
	target := map[string]*string{
		"sha256_hash": &u.form.SHA256Hash, "session_id": &u.form.SessionID, "evidence_type": &u.form.EvidenceType,
		"metadata": &u.form.Metadata, "captured_at": &u.form.CapturedAt,
	}[name]
	if target == nil {
		return formError(shorten(name, 100), "is not a member of this form")
	}
	raw, err := io.ReadAll(io.LimitReader(part, formFieldMaxBytes+1))
	if err != nil {
		return err
	}
	if len(raw) > formFieldMaxBytes {
		return formError(name, "is too long")
	}
	if !utf8.Valid(raw) || strings.Contains(string(raw), "\x00") {
		return formError(name, "must be UTF-8 without NUL")
	}
	*target = string(raw)
	// A caller who may not write here is refused before the bytes come, where
	// the form names the session first.
	if name == "session_id" {
		return c.mayAddTo(u.form.SessionID)
	}
	return nil
}

// check says everything that is wrong with a form that was read to its end.
func (u *upload) check() error {
	need := func(name, value string) bool {
		if value == "" {
			u.errors = append(u.errors, FieldError{Pointer: "/" + name, In: "form", Detail: "is required"})
		}
		return value != ""
	}
	if u.file == nil {
		need("file", "")
	}
	need("session_id", u.form.SessionID)
	if need("evidence_type", u.form.EvidenceType) && utf8.RuneCountInString(u.form.EvidenceType) > 100 {
		u.errors = append(u.errors, FieldError{Pointer: "/evidence_type", In: "form", Detail: "must be at most 100 characters"})
	}
	if need("sha256_hash", u.form.SHA256Hash) {
		switch {
		case !checksumPattern.MatchString(u.form.SHA256Hash):
			u.errors = append(u.errors, FieldError{Pointer: "/sha256_hash", In: "form", Detail: "must be 64 hexadecimal digits"})
		case u.file != nil && !strings.EqualFold(u.form.SHA256Hash, u.file.SHA256):
			u.errors = append(u.errors, FieldError{Pointer: "/sha256_hash", In: "form", Detail: "is not the SHA-256 of the bytes that arrived"})
		}
	}
	if m := u.form.Metadata; m != "" {
		if p := checkJSON([]byte(m)); p != nil || !strings.HasPrefix(strings.TrimLeft(m, " \t\r\n"), "{") {
			u.errors = append(u.errors, FieldError{Pointer: "/metadata", In: "form", Detail: "must be a JSON object"})
		}
	}
	if t := u.form.CapturedAt; t != "" {
		if _, err := time.Parse(time.RFC3339, t); err != nil {
			u.errors = append(u.errors, FieldError{Pointer: "/captured_at", In: "form", Detail: "must be an RFC 3339 time"})
		}
	}
	if len(u.errors) > 0 {
		return newProblem(http.StatusUnprocessableEntity, "The evidence was not stored.", u.errors...)
	}
	if err := u.file.CheckMediaType(); err != nil {
		return err
	}
	return u.checkPicture()
}

// checkPicture refuses pictures with more pixels than anybody can open. What
// our decoders do not know passes: refusing evidence is worse.
func (u *upload) checkPicture() error {
	f, err := u.file.Open()
	if err != nil {
		return err
	}
	defer f.Close()
	size, _, err := image.DecodeConfig(f)
	if err == nil && int64(size.Width)*int64(size.Height) > imagePixelsMax {
		return formError("file", "is a picture of more than 100 megapixels")
	}
	return nil
}

func formError(name, detail string) *Problem {
	return newProblem(http.StatusUnprocessableEntity, "The evidence was not stored.",
		FieldError{Pointer: "/" + escapePointer(name), In: "form", Detail: detail})
}

// uploadProblem turns what went wrong while a form was read into an answer.
func uploadProblem(r *http.Request, err error) error {
	var tooMany *http.MaxBytesError
	switch {
	case errors.As(err, &tooMany), errors.Is(err, evidence.ErrTooLarge):
		return tooLarge(r)
	case errors.Is(err, evidence.ErrEmpty):
		return formError("file", "is empty")
	case errors.Is(err, evidence.ErrMediaType):
		return newProblem(http.StatusUnsupportedMediaType, "Evidence of this media type is not accepted.",
			FieldError{Pointer: "/file", In: "form", Detail: "must be one of " + strings.Join(collections.EvidenceMediaTypes(), ", ")})
	}
	p := problemOf(err)
	var disk *os.PathError
	if p.Status == http.StatusInternalServerError && !errors.As(err, &disk) {
		// Not ours: the sender stopped, or the form is not one.
		return newProblem(http.StatusBadRequest, "The form could not be read to its end.").because(err)
	}
	return p
}

// evidenceRecord is the unsaved record of an upload.
func (c *call) evidenceRecord(u *upload) (*core.Record, error) {
	r, err := newRecord(c.app, collections.Evidence, map[string]any{
		collections.FieldSessionID: u.form.SessionID, collections.FieldEvidenceType: u.form.EvidenceType,
		collections.FieldCreatedBy: c.userID(), collections.FieldRetainUntil: evidence.RetainUntil(c.Now()),
	})
	if err != nil {
		return nil, err
	}
	if u.form.Metadata != "" {
		r.Set(collections.FieldMetadata, types.JSONRaw(u.form.Metadata))
	}
	if t, err := time.Parse(time.RFC3339, u.form.CapturedAt); err == nil {
		r.Set(collections.FieldCapturedAt, t)
	}
	return r, nil
}

// storeEvidence saves the record of an upload in the running transaction. Bytes
// that the session has already stay as they are.
func (c *call) storeEvidence(u *upload, r *core.Record) (*reply[evidenceItem], error) {
	if err := c.mayAddTo(u.form.SessionID); err != nil {
		return nil, err
	}
	same, err := c.app.FindFirstRecordByFilter(collections.Evidence,
		collections.FieldSessionID+" = {:session} && "+collections.FieldChecksum+" = {:checksum}",
		dbx.Params{"session": u.form.SessionID, "checksum": u.file.SHA256})
	if err == nil {
		view, err := evidenceView(same)
		return &reply[evidenceItem]{status: http.StatusOK, etag: etagOf(same), body: view}, err
	}
	if err := u.file.Save(c.app, r); err != nil {
		return nil, err
	}
	view, err := evidenceView(r)
	return &reply[evidenceItem]{status: http.StatusCreated, etag: etagOf(r), body: view}, err
}

// sweepUploads removes what uploads that died with an earlier process left.
func (s *service) sweepUploads() error {
	_, err := evidence.Sweep(context.Background(), s.app, s.Now())
	return err
}
