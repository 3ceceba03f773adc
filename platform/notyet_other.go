//go:build !linux && !windows

package platform

import (
	"fmt"
	"runtime"
)

// notYet is ErrNotSupported with the system's name.
type notYet struct{}

func (notYet) Error() string {
	return fmt.Sprintf("kernel tunnels are not supported on %s yet; use --userspace", runtime.GOOS)
}

func (notYet) Is(target error) bool { return target == ErrNotSupported }
