//go:build !linux && !windows && !darwin

package udp

import "syscall"

// Control has nothing to set: Mark is ignored, as there is nothing like it.
func Control(Options) func(network, address string, c syscall.RawConn) error { return nil }
