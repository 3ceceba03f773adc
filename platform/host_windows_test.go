package platform

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
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

// A whole tunnel, for networks that nobody has; it needs wintun.dll beside the test.
//
// Under wine it needs the stand-ins of testdata/windows, and IPHLPAPI_LOG set to a file that is not there: then what they read by
// Microsoft's structures is compared with standin.txt.
func TestWinHostTunnel(t *testing.T) {
	if !windows.GetCurrentProcessToken().IsElevated() {
		t.Skip("needs an administrator")
	}
	dir, log := t.TempDir(), slog.New(slog.NewTextHandler(t.Output(), nil))
	h, err := NewHost(HostConfig{JournalDir: dir, Name: "adit-test", Log: log})
	if err != nil {
		t.Fatal(err)
	}
	before, err := h.Facts(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	tun, err := h.OpenTUN("adit-test", 1400)
	if err != nil {
		t.Fatal(err)
	}
	plan := routes.Plan{
		MTU: 1200, Addresses: []netip.Prefix{prefix("192.0.2.129/25"), prefix("2001:db8:ffff::2/64")},
		Routes: []routes.Route{
			{Destination: prefix("198.51.100.0/24")}, {Destination: prefix("2001:db8:fffe::/48")}, {Destination: prefix("2001:db8:fffd::/48"), Unreachable: true},
		},
		DNS: routes.DNS{Servers: addrPorts("198.51.100.1", "2001:db8:fffe::1"), Search: []string{"a.invalid", "b.invalid"}, Split: []string{"adit-test.invalid"}},
	}
	way, ok := before.Way(netip.MustParseAddr("203.0.113.5"))
	if ok {
		plan.Around = []routes.Route{{Destination: prefix("203.0.113.5/32"), Gateway: way.Gateway, Device: way.Device}}
	}
	for range 2 {
		if err := h.Apply(context.Background(), plan); err != nil {
			t.Fatal(err)
		}
	}
	after, err := h.Facts(context.Background())
	if err != nil || !reflect.DeepEqual(before, after) {
		t.Errorf("the underlay was %+v, and is %+v, %v", before, after, err)
	}
	plan.MTU, plan.Addresses = 1300, plan.Addresses[1:]
	plan.Routes[0].Metric = 7
	plan.DNS.Split = nil
	if err := h.Apply(context.Background(), plan); err != nil {
		t.Error(err)
	}
	if err := errors.Join(h.Close(), tun.Close()); err != nil {
		t.Error(err)
	}
	select {
	case <-h.Changes():
		t.Error("our own changes were signalled")
	default:
	}
	if es, err := os.ReadDir(dir); err != nil || len(es) > 0 {
		t.Errorf("left: %v, %v", es, err)
	}
	name := os.Getenv("IPHLPAPI_LOG")
	if name == "" {
		return
	}
	got, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	got = bytes.ReplaceAll(got, []byte(" via "+way.Gateway.String()+" "), []byte(" via the router "))
	path := filepath.Join("testdata", "windows", "standin.txt")
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Errorf("the stand-in heard:\n%s\nwant:\n%s", got, strings.TrimSpace(string(want)))
	}
}
