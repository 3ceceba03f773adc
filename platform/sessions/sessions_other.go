//go:build !linux

package sessions

import "context"

// Watch is not there yet on this system.
func Watch(context.Context, string, func([]User)) error { return ErrNotSupported }
