//go:build unix

package disk

import "golang.org/x/sys/unix"

// Free is the space, in bytes, that this process may still use on path's file system.
func Free(path string) (uint64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(path, &s); err != nil {
		return 0, err
	}
	return uint64(s.Bavail) * uint64(s.Bsize), nil
}
