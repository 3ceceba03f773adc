package platform

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"

	"github.com/adit-vpn/adit/platform/wfp"
)

// winService is the name of the Windows service, which opens the guards again.
const winService = "Adit"

// newWall is the firewall for the journals in dir, which it knows by the whole path.
func newWall(dir string) (*wfp.Firewall, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	return wfp.New(wfp.Config{Dir: dir, Service: winService})
}

// NewHost is the door to this Windows; it needs an administrator. What a crashed run of the same name left behind is undone first, but
// for its guard. Etc, Bus and Resolvconf mean nothing here.
func NewHost(cfg HostConfig) (Host, error) {
	if cfg.JournalDir == "" {
		return nil, errors.New("host: no journal directory")
	}
	wall, err := newWall(cfg.JournalDir)
	if err != nil {
		return nil, err
	}
	return newHost(cfg, newWinMachine(winSystem{}, wall, cfg.JournalDir, cfg.Name, orSilent(cfg.Log)))
}

// CleanUp undoes what crashed runs left behind, as their journals in dir, the DNS client's rules and the firewall say, and
// returns how many changes it took back. What living Hosts did is left alone. It is safe to call again.
func CleanUp(ctx context.Context, dir string, log *slog.Logger) (undone int, err error) {
	return CleanUpBut(ctx, dir, func(string) bool { return false }, log)
}

// CleanUpBut is CleanUp, but the guards of the Hosts whose names keep says yes to stay closed. It is asked about closed guards alone.
func CleanUpBut(ctx context.Context, dir string, keep func(name string) bool, log *slog.Logger) (undone int, err error) {
	wall, err := newWall(dir)
	if err != nil {
		return 0, err
	}
	return cleanUpMachine(ctx, dir, newWinMachine(winSystem{}, wall, dir, "", orSilent(log)), keep, log)
}
