//go:build unix

package probe

import "syscall"

// What the system's errors mean. Read-only. Linux gives EACCES for a prohibited route and where a router filters.
var (
	refusals     = []error{syscall.ECONNREFUSED}
	blocks       = []error{syscall.EPERM}
	noRoutes     = []error{syscall.ENETUNREACH, syscall.EADDRNOTAVAIL, syscall.EAFNOSUPPORT, syscall.ENETDOWN}
	unreachables = []error{syscall.EHOSTUNREACH, syscall.EHOSTDOWN, syscall.EACCES, syscall.ECONNRESET}
)
