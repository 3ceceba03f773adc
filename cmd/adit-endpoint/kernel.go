package main

import (
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
	"net/netip"
	"path/filepath"

	"github.com/adit-vpn/adit/endpoint"
	"github.com/adit-vpn/adit/endpoint/network"
)

// openKernel makes the kernel network. Its id follows from the data directory, so
// that the next run finds what a crashed one left, and two endpoints never share.
func openKernel(cfg endpoint.Config, own []netip.AddrPort, log *slog.Logger) (network.Network, error) {
	dir, err := filepath.Abs(cfg.DataDir())
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256([]byte(dir))
	return network.NewKernel(network.KernelConfig{
		ID: hex.EncodeToString(sum[:5]), MTU: cfg.TunMTU, Queues: endpoint.Shards(), StateDir: dir, Own: own, Log: log,
	})
}
