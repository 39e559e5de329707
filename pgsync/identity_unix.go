//go:build unix

package pgsync

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// machinePlace tells machines and files apart, and boot one start of the machine from the next. What a platform does not
// have is left out.
func machinePlace(dataDir string) (place, boot string, err error) {
	info, err := os.Stat(filepath.Join(dataDir, "data.db"))
	if err != nil {
		return "", "", fmt.Errorf("identify database file: %w", err)
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return "", "", fmt.Errorf("identify database file: no inode")
	}
	host, err := os.Hostname()
	if err != nil {
		return "", "", fmt.Errorf("identify host: %w", err)
	}
	id := func(path string) string {
		b, _ := os.ReadFile(path) // Linux only; elsewhere the host name must do
		return strings.TrimSpace(string(b))
	}
	place = strings.Join([]string{fmt.Sprintf("%d:%d", stat.Dev, stat.Ino), id("/etc/machine-id"), host}, "\x00")
	return place, id("/proc/sys/kernel/random/boot_id"), nil
}
