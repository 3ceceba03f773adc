//go:build !windows

package signin

import (
	"errors"
	"syscall"
)

// exclusive has nothing to do: the SO_REUSEADDR that package net sets on these systems passes
// over what is left of closed connections only, and never shares a port with one who listens.
func exclusive(_, _ string, _ syscall.RawConn) error { return nil }

func inUse(err error) bool { return errors.Is(err, syscall.EADDRINUSE) }
