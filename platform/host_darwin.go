package platform

import (
	"context"
	"log/slog"
)

// NewHost says that this system has no kernel tunnels yet.
func NewHost(HostConfig) (Host, error) { return nil, notYet{} }

// CleanUp has nothing to undo where no Host can be made.
func CleanUp(context.Context, string, *slog.Logger) (int, error) { return 0, nil }

// CleanUpBut has nothing to undo, and no guard to keep.
func CleanUpBut(context.Context, string, func(name string) bool, *slog.Logger) (int, error) {
	return 0, nil
}
