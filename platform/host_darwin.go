package platform

import (
	"context"
	"log/slog"
)

// NewHost is the door to this macOS. What a crashed run of the same name left behind is undone first, but for its guard.
func NewHost(cfg HostConfig) (Host, error) {
	return newHost(cfg, newMacMachine(kernelCalls{}, cfg.JournalDir, cfg.Log))
}

// CleanUp undoes what crashed runs left behind, as their journals in dir and the system itself say, and returns how
// many changes it took back. Journals of living Hosts are left alone; one that cannot be read is moved aside
// (NAME.json.bad). It is safe to call again.
func CleanUp(ctx context.Context, dir string, log *slog.Logger) (undone int, err error) {
	return CleanUpBut(ctx, dir, func(string) bool { return false }, log)
}

// CleanUpBut is CleanUp, but the guards of the Hosts whose names keep says yes to stay closed. It is asked about closed guards alone.
func CleanUpBut(ctx context.Context, dir string, keep func(name string) bool, log *slog.Logger) (undone int, err error) {
	return cleanUpMachine(ctx, dir, newMacMachine(kernelCalls{}, dir, log), keep, log)
}
