//go:build !unix

package pgsync

import (
	"fmt"
	"os"
	"path/filepath"
)

// machinePlace tells machines and files apart by host name and path where there are no inodes.
func machinePlace(dataDir string) (place, boot string, err error) {
	host, err := os.Hostname()
	if err != nil {
		return "", "", fmt.Errorf("identify host: %w", err)
	}
	path, err := filepath.Abs(filepath.Join(dataDir, "data.db"))
	if err != nil {
		return "", "", fmt.Errorf("identify database file: %w", err)
	}
	return host + "\x00" + path, "", nil
}
