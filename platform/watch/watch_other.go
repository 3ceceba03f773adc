//go:build !linux

package watch

import (
	"context"
	"errors"
)

// Folders watches nothing here, and says so with an error that wraps errors.ErrUnsupported.
func Folders(context.Context, []string, func()) error { return errors.ErrUnsupported }
