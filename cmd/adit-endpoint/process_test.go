package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"testing"

	"github.com/adit-vpn/adit/endpoint"
	"github.com/adit-vpn/adit/endpoint/fleet"
)

// TestServeKeepsTheDirectory: while a process ends its endpoints, and until it is through, no other one takes the directory.
func TestServeKeepsTheDirectory(t *testing.T) {
	dir := t.TempDir()
	control, err := endpoint.OpenControl(dir)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	p := &process{fleet: fleet.New(fleet.Leaves{})}
	if err := p.serve(ctx, io.Discard, control, nil, nil, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	if _, err := endpoint.NewControlClient(dir).Connections(t.Context()); !errors.Is(err, endpoint.ErrNotRunning) {
		t.Errorf("the socket: %v", err)
	}
	if _, err := endpoint.OpenControl(dir); !errors.Is(err, endpoint.ErrRunning) {
		t.Errorf("another one takes the directory: %v", err)
	}
	control.Close()
	next, err := endpoint.OpenControl(dir)
	if err != nil {
		t.Fatal(err)
	}
	next.Close()
}
