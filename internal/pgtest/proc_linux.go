package pgtest

import "syscall"

// dieWithParent makes the kernel end the server when the test process ends in whatever way.
func dieWithParent(attr *syscall.SysProcAttr) *syscall.SysProcAttr {
	attr.Pdeathsig = syscall.SIGQUIT
	return attr
}
