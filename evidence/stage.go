package evidence

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/gabriel-vasile/mimetype"
	"github.com/pocketbase/pocketbase/core"
)

var (
	// ErrTooLarge reports more bytes than the limit.
	ErrTooLarge = errors.New("evidence is larger than the limit")
	// ErrEmpty reports an upload without a byte.
	ErrEmpty = errors.New("evidence is empty")
	// ErrMediaType reports bytes whose sniffed type is not in the allow-list.
	ErrMediaType = errors.New("media type of evidence is not accepted")
)

// sniffBytes is how much of the start decides the media type; the library reads
// no further by default.
const sniffBytes = 3072

// stagingDir lies beside the final folders, so that placing is a rename-free
// link within one file system.
const stagingDir = ".evidence-staging"

// Staged is evidence whose bytes are on disk but belong to no record yet. It is
// for one goroutine. Discard MUST be called in the end, also after Save.
type Staged struct {
	SHA256    string // lower-case hex
	Size      int64
	MediaType string // sniffed, without parameters
	Ext       string // with its dot, "" when the type has none
	path      string

	placedFor string // id of the record that the bytes were placed for
	remove    func() // takes the placed bytes away; nil when none are, or they are saved
}

// Stage reads r to its end. On any error nothing stays on disk; a sender that
// goes away is an error of r.
func Stage(app core.App, r io.Reader, maxBytes int64) (*Staged, error) {
	dir := filepath.Join(app.DataDir(), core.LocalStorageDirName, stagingDir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("stage evidence: %w", err)
	}
	f, err := os.CreateTemp(dir, "upload-")
	if err != nil {
		return nil, fmt.Errorf("stage evidence: %w", err)
	}
	s := &Staged{path: f.Name()}
	if err := errors.Join(s.receive(f, r, maxBytes), f.Close()); err != nil {
		s.Discard()
		return nil, fmt.Errorf("stage evidence: %w", err)
	}
	return s, nil
}

func (s *Staged) receive(f *os.File, r io.Reader, maxBytes int64) error {
	digest, head := sha256.New(), &prefix{}
	// One byte beyond the limit tells "exactly at the limit" from "above".
	n, err := io.Copy(io.MultiWriter(f, digest, head), io.LimitReader(r, maxBytes+1))
	switch {
	case err != nil:
		return err
	case n > maxBytes:
		return ErrTooLarge
	case n == 0:
		return ErrEmpty
	}
	kind := mimetype.Detect(head.Bytes())
	s.SHA256, s.Size, s.Ext = hex.EncodeToString(digest.Sum(nil)), n, kind.Extension()
	s.MediaType = bare(kind.String())
	if err := f.Chmod(0o444); err != nil {
		return err
	}
	return f.Sync()
}

// bare is a media type without its parameters.
func bare(mediaType string) string {
	name, _, _ := bytes.Cut([]byte(mediaType), []byte(";"))
	return string(bytes.TrimSpace(name))
}

// Name is the file's name in storage.
func (s *Staged) Name() string { return s.SHA256 + s.Ext }

// Discard removes the staged bytes, and placed ones whose record was not saved.
func (s *Staged) Discard() {
	s.removePlaced() // first: the staged file is what Sweep knows them by
	_ = os.Remove(s.path)
}

// prefix keeps the first sniffBytes of what is written to it.
type prefix struct{ bytes.Buffer }

func (p *prefix) Write(b []byte) (int, error) {
	if room := sniffBytes - p.Len(); room > 0 {
		p.Buffer.Write(b[:min(room, len(b))])
	}
	return len(b), nil
}
