package platform

import (
	"context"
	"errors"
	"log/slog"
	"testing"

	"golang.org/x/sys/windows"

	"github.com/adit-vpn/adit/routes"
)

// A Host without a device: its guard, and nothing left.
func TestWinHost(t *testing.T) {
	if !windows.GetCurrentProcessToken().IsElevated() {
		t.Skip("needs an administrator")
	}
	dir, log := t.TempDir(), slog.New(slog.NewTextHandler(t.Output(), nil))
	h, err := NewHost(HostConfig{JournalDir: dir, Name: "adit-test", Log: log})
	if err != nil {
		t.Fatal(err)
	}
	facts, err := h.Facts(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", facts)
	if _, err := NewHost(HostConfig{JournalDir: dir, Name: "adit-test", Log: log}); !errors.Is(err, ErrBusy) {
		t.Errorf("a second Host of the name: %v", err)
	}
	g := routes.Guard{Closed: splitPlan().Addresses}
	if err := h.Apply(context.Background(), routes.Plan{Guard: g}); err != nil {
		t.Fatal(err)
	}
	if err := h.Leave(); err != nil {
		t.Fatal(err)
	}
	if n, err := CleanUpBut(context.Background(), dir, func(string) bool { return true }, log); n != 0 || err != nil {
		t.Errorf("all but the guard: %d, %v", n, err)
	}
	if n, err := CleanUp(context.Background(), dir, log); n != 1 || err != nil {
		t.Errorf("the guard: %d, %v", n, err)
	}
}
