package main

import (
	"fmt"
	"log/slog"

	"github.com/adit-vpn/adit/endpoint"
	"github.com/adit-vpn/adit/endpoint/network"
)

// openKernel makes the kernel network.
func openKernel(endpoint.Config, *slog.Logger) (network.Network, error) {
	return nil, fmt.Errorf("kernel network: %w", network.ErrUnsupported)
}
