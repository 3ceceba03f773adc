// Package userspace is a platform.Host without the operating system: its TUN
// device is the outer side of an IP stack in this process (gVisor), and programs
// enter that stack through a SOCKS5 server, an HTTP proxy and port forwards.
// It needs no privileges and never changes a route, an address or a resolver of
// the machine; what the plan does not route is refused, not sent elsewhere.
//
// It does not know OpenVPN, and it does not resolve names outside the tunnel.
//
// Goroutines: a Link has none of its own. A Host's stack has its own timers and
// workers, which end in Host.Close. Each front's Serve waits for all that it
// started before it returns.
package userspace
