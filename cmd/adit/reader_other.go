//go:build !windows

package main

import (
	"errors"
	"syscall"
)

// readerLeft says whether nobody reads any more what was written.
func readerLeft(err error) bool { return errors.Is(err, syscall.EPIPE) }
