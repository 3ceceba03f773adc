//go:build !linux

package probe

import (
	"context"
	"net/netip"
	"time"
)

// ping is not known here: TCP is tried.
func ping(context.Context, netip.Addr, time.Duration) (Result, error) { return Result{}, errNoPing }
