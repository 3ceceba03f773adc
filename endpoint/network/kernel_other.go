//go:build !linux

package network

import "fmt"

// NewKernel says that only Linux has a kernel network.
func NewKernel(KernelConfig) (Network, error) {
	return nil, fmt.Errorf("%w: --network kernel needs Linux (nftables); use --network userspace", ErrUnsupported)
}

// CleanUp has nothing to undo where no kernel network can be made.
func CleanUp(string) error { return nil }
