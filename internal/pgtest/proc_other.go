//go:build unix && !linux

package pgtest

import "syscall"

// dieWithParent does nothing where the kernel has no parent-death signal: there only Stop ends the server.
func dieWithParent(attr *syscall.SysProcAttr) *syscall.SysProcAttr { return attr }
