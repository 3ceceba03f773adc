package platform

import "errors"

// Errors that callers tell apart to say what helps.
var (
	// ErrTUNNotPermitted: the process may not make TUN devices (it needs root or CAP_NET_ADMIN).
	ErrTUNNotPermitted = errors.New("TUN not permitted")
	// ErrTUNMissing: the system has no TUN driver or hides /dev/net/tun.
	ErrTUNMissing = errors.New("/dev/net/tun is missing")
	// ErrNotSupported: kernel tunnels are not built for this system yet.
	ErrNotSupported = errors.New("kernel tunnels are not supported on this system yet")
	// ErrDNS: addresses and routes are in force, but the resolver configuration is
	// not, or not wholly. The text says what and why.
	ErrDNS = errors.New("DNS not set")
	// ErrGuard: what shall not leave beside the tunnel cannot be stopped. The text says why.
	ErrGuard = errors.New("guard not closed")
	// ErrBusy: another live process or connection holds the journal of this name.
	ErrBusy = errors.New("the journal is in use by a running tunnel")
)
