package probe

import "golang.org/x/sys/windows"

// What Winsock's errors mean. Read-only. A firewall of the machine itself gives WSAEACCES.
var (
	refusals     = []error{windows.WSAECONNREFUSED}
	blocks       = []error{windows.WSAEACCES}
	noRoutes     = []error{windows.WSAENETUNREACH, windows.WSAEADDRNOTAVAIL, windows.WSAEAFNOSUPPORT, windows.WSAENETDOWN}
	unreachables = []error{windows.WSAEHOSTUNREACH, windows.WSAEHOSTDOWN, windows.WSAECONNRESET}
)
