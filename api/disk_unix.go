//go:build unix

package api

import "golang.org/x/sys/unix"

// freeBytes is the space that this process may still use on path's file system.
func freeBytes(path string) (uint64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(path, &s); err != nil {
		return 0, err
	}
	return uint64(s.Bavail) * uint64(s.Bsize), nil
}
