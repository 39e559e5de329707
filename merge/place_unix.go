//go:build unix

package merge

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// databasePlace tells the database file from a copy of it.
func databasePlace(dataDir string) string {
	info, err := os.Stat(filepath.Join(dataDir, "data.db"))
	if err != nil {
		return ""
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return ""
	}
	return fmt.Sprintf("%d:%d", stat.Dev, stat.Ino)
}
