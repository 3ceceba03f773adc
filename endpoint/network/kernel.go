package network

import (
	"log/slog"
	"net/netip"
)

// KernelConfig is what NewKernel needs.
type KernelConfig struct {
	// ID tells endpoints on one machine apart: lower-case letters, digits and _, up
	// to 16. It names the nftables table, adit_endpoint_<ID>.
	ID   string
	Name string // the TUN device's; "" lets the system choose
	MTU  int    // 1500 if 0
	// Queues is how many the TUN device has, for as many processors; 1 if 0.
	Queues int
	// StateDir holds the journal for CleanUp. It exists and is the endpoint's own.
	StateDir string
	// SharedDir is common to all endpoints of the machine and forgotten at boot:
	// forwarding is switched back by the last one that needs it.
	// "" is /run/adit-endpoint.
	SharedDir string
	// Own is where the endpoint itself answers, closed to clients as in UserspaceConfig.
	Own []netip.AddrPort
	Log *slog.Logger
}
