//go:build unix

package pgsync

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// machinePlace tells machines, their starts and files apart. What a platform does not have is left out.
func machinePlace(dataDir string) (string, error) {
	info, err := os.Stat(filepath.Join(dataDir, "data.db"))
	if err != nil {
		return "", fmt.Errorf("identify database file: %w", err)
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return "", fmt.Errorf("identify database file: no inode")
	}
	parts := []string{fmt.Sprintf("%d:%d", stat.Dev, stat.Ino)}
	for _, path := range []string{"/etc/machine-id", "/proc/sys/kernel/random/boot_id"} {
		b, _ := os.ReadFile(path) // Linux only; elsewhere the host name must do
		parts = append(parts, strings.TrimSpace(string(b)))
	}
	host, err := os.Hostname()
	if err != nil {
		return "", fmt.Errorf("identify host: %w", err)
	}
	return strings.Join(append(parts, host), "\x00"), nil
}
