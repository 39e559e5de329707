package story

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"sync/atomic"
	"time"
)

const (
	// retryFor bounds how long a device tries one request; the server is away
	// for a few seconds while it is killed and started again.
	retryFor   = 2 * time.Minute
	retryEvery = 50 * time.Millisecond
	// attemptTimeout bounds one attempt: a killed server may leave a connection
	// that nobody answers.
	attemptTimeout = 30 * time.Second
)

// A device is one inspector's tablet. It is safe for use by many goroutines.
type device struct {
	base  atomic.Pointer[string] // URL of the server; it changes when the server does
	token string
	user  string // id
}

func (d *device) url(path string) string { return *d.base.Load() + path }

// answer is one HTTP answer, read whole.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func (a answer) decode(into any) error {
	if err := json.Unmarshal(a.body, into); err != nil {
		return fmt.Errorf("answer %d is not JSON: %w: %.300s", a.status, err, a.body)
	}
	return nil
}

// once sends one request; body may be nil, bytes (sent as contentType) or a
// value to send as JSON.
func (d *device) once(ctx context.Context, method, path string, header map[string]string, body any) (answer, error) {
	var reader io.Reader
	contentType := "application/json"
	switch b := body.(type) {
	case nil:
	case form:
		reader, contentType = bytes.NewReader(b.bytes), b.contentType
	default:
		raw, err := json.Marshal(b)
		if err != nil {
			return answer{}, err
		}
		reader = bytes.NewReader(raw)
	}
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, d.url(path), reader)
	if err != nil {
		return answer{}, err
	}
	if reader != nil {
		req.Header.Set("Content-Type", contentType)
	}
	if d.token != "" {
		req.Header.Set("Authorization", "Bearer "+d.token)
	}
	for k, v := range header {
		req.Header.Set(k, v)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	return answer{res.StatusCode, res.Header, raw}, err
}

// until sends a request as a device does: again and again, unchanged, until the
// server answers something other than "try later".
func (d *device) until(ctx context.Context, method, path string, header map[string]string, body any) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, retryFor)
	defer cancel()
	var last error
	for {
		a, err := d.once(ctx, method, path, header, body)
		switch {
		case err == nil && a.status != http.StatusServiceUnavailable && a.status != http.StatusTooManyRequests && !inFlight(a):
			return a, nil
		case err == nil:
			last = fmt.Errorf("answer %d: %.200s", a.status, a.body)
		default:
			last = err
		}
		select {
		case <-ctx.Done():
			return answer{}, errors.Join(ctx.Err(), last)
		case <-time.After(retryEvery):
		}
	}
}

// inFlight says whether the first copy of a doubled request still runs.
func inFlight(a answer) bool {
	var problem struct {
		Retryable bool `json:"retryable"`
	}
	return a.status == http.StatusConflict && json.Unmarshal(a.body, &problem) == nil && problem.Retryable
}

// form is a multipart body that can be sent more than once.
type form struct {
	bytes       []byte
	contentType string
}

// photoForm is an upload of photo to a session, with its SHA-256.
func photoForm(session string, photo []byte) (form, error) {
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	sum := sha256.Sum256(photo)
	for name, value := range map[string]string{
		"session_id": session, "evidence_type": "photo", "sha256_hash": hex.EncodeToString(sum[:]),
		"metadata": `{"item":"FE-001"}`,
	} {
		if err := w.WriteField(name, value); err != nil {
			return form{}, err
		}
	}
	part, err := w.CreateFormFile("file", "photo.png")
	if err != nil {
		return form{}, err
	}
	if _, err := part.Write(photo); err != nil {
		return form{}, err
	}
	if err := w.Close(); err != nil {
		return form{}, err
	}
	return form{b.Bytes(), w.FormDataContentType()}, nil
}
