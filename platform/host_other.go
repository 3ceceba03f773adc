//go:build !linux

package platform

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
)

// notYet is ErrNotSupported with the system's name.
type notYet struct{}

func (notYet) Error() string {
	return fmt.Sprintf("kernel tunnels are not supported on %s yet; use --userspace", runtime.GOOS)
}

func (notYet) Is(target error) bool { return target == ErrNotSupported }

// Mark is no more than a name where packets have no routing mark.
const Mark = 0

// NewHost says that this system has no kernel tunnels yet.
func NewHost(HostConfig) (Host, error) { return nil, notYet{} }

// CleanUp has nothing to undo where no Host can be made.
func CleanUp(context.Context, string, *slog.Logger) (int, error) { return 0, nil }

// CleanUpBut has nothing to undo, and no guard to keep.
func CleanUpBut(context.Context, string, func(name string) bool, *slog.Logger) (int, error) {
	return 0, nil
}
