package evidence

import (
	"fmt"
	"os"
	"slices"

	"firemode/collections"
)

// CheckMediaType returns ErrMediaType when the sniffed type is outside of the
// allow-list. Save checks the same.
func (s *Staged) CheckMediaType() error {
	if !slices.Contains(collections.EvidenceMediaTypes(), s.MediaType) {
		return fmt.Errorf("%w: %s", ErrMediaType, s.MediaType)
	}
	return nil
}

// Open reads the staged bytes. The caller closes the file.
func (s *Staged) Open() (*os.File, error) { return os.Open(s.path) }
